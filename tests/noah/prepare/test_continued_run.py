"""What may change when a run goes on from another: one rule, for the command and for Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noah.errors import UsageError
from noah.files.bounded import dump_yaml, parse_yaml
from noah.prepare.continued_run import continued_settings
from noah.runs.folder import RUN_FILE, Run
from noah.settings.layers import Layer, assignment_layer, nested
from noah.settings.option_layers import option_layers
from tests.conftest import TinySettings
from tests.noah.tiny_run import make_materials, start_run


@pytest.fixture
def earlier(tiny_settings: TinySettings, tmp_path: Path) -> Run:
    return start_run(tmp_path, make_materials(tiny_settings()))


def redescribe(run: Run, **changes: Any) -> None:
    """Change single values of run.yaml."""
    value = parse_yaml(run.path(RUN_FILE).read_text())
    run.path(RUN_FILE).write_text(dump_yaml(run.path(RUN_FILE), value | changes))


def test_everything_about_images_may_change(earlier: Run) -> None:
    layers = option_layers(
        columns=["path=a,label=b"],
        classes="leaf",
        damaged="skip",
        alpha="black",
        bit_depth="12",
        groups="(x)",
        near=True,
        allow_copies=True,
    )
    settings, origins = continued_settings(
        earlier, [*layers, Layer(source="--data", values=nested("data.folder", "z"))]
    )
    data = settings.data
    assert (data.folder, data.classes, data.damaged, data.groups) == ("z", "leaf", "skip", "(x)")
    assert (data.alpha, data.bit_depth, data.near_duplicates, data.allow_copies) == ("black", 12, True, True)
    assert (data.columns.path, data.columns.label) == ("a", "b")
    assert origins["data.damaged"] == "--damaged" and origins["seed"] == f"run {earlier.name}"
    changed, _ = continued_settings(earlier, [assignment_layer("data.damaged_share=0.5"), assignment_layer("seed=3")])
    assert (changed.data.damaged_share, changed.seed) == (0.5, 3)


def test_what_belongs_to_the_weights_may_not_and_all_is_told(earlier: Run) -> None:
    backbone = str(earlier.settings().backbone.name)
    layers = option_layers(shots=2, backbone="other", backbone_arg=["depth=2"], image_size=64)
    layers.append(assignment_layer("space.preset=wide"))
    with pytest.raises(UsageError) as caught:
        continued_settings(earlier, [*layers, assignment_layer("seed=1")])
    told = caught.value.problem
    assert told.endswith("cannot stand beside --from, which keeps backbone, subnet and weights.")
    named = set(told.partition(" cannot ")[0].split(" and "))
    assert named == {"--backbone", "--backbone-arg", "--image-size", "--shots", "--set space.preset"}
    same, _ = continued_settings(earlier, [assignment_layer(f"backbone.name={backbone}")])
    assert same.backbone == earlier.settings().backbone


@pytest.mark.parametrize(
    ("images", "alpha", "depth"),
    [
        ({"decoding": {"alpha": "white", "bit_depth": 16}}, "white", "auto"),
        ({"decoding": {"alpha": "white", "bit_depth": 12}}, "white", 12),
        ({}, "ignore", "auto"),
    ],
)
def test_images_are_decoded_as_the_weights_have_learned_them(
    earlier: Run, images: dict[str, Any], alpha: str, depth: int | str
) -> None:
    """The last is a run of a version that recorded nothing of it."""
    redescribe(earlier, images=images)
    data = continued_settings(earlier, [])[0].data
    assert (data.alpha, data.bit_depth) == (alpha, depth)
    asked = continued_settings(earlier, option_layers(columns=[], alpha="black", bit_depth="auto"))[0].data
    assert (asked.alpha, asked.bit_depth) == ("black", "auto")
