"""`model_card.md`: describes an artifact in words, for whoever finds the folder later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from export.artifact.manifest import ENGINE_FILE, MODEL_FILE, Manifest
from export.artifact.records import (
    ChoiceRecord,
    EngineRecord,
    ExecutionRecord,
    Parity,
    QuantizationRecord,
    ResizedRecord,
)
from noah.data.decoding import AS_STORED, Decoding
from noah.files.foreign_text import markdown_text
from noah.progress import first_of
from noah.runs.folder import Run
from noah.runs.stored_results import read_test

_LABELS_SHOWN = 40


def write_card(manifest: Manifest, run: Run, path: Path, folder: Path, *, form: str, usage: str) -> None:
    """Write the card of an artifact.

    Args:
        manifest: Describes the artifact.
        run: The run that it comes from; the card gives its test accuracy if that was measured.
        path: The file to write.
        folder: The folder that the artifact will end up in.
        form: How the subnet's modules are in the artifact.
        usage: How to run it, Markdown.

    Raises:
        RunError: If the result of the test is damaged.
    """
    path.write_text(
        model_card(manifest, read_test(run), folder, form=form, usage=usage), encoding="utf-8", newline="\n"
    )


def model_card(manifest: Manifest, test: dict[str, Any] | None, folder: Path, *, form: str, usage: str) -> str:
    """The text of the card, Markdown.

    Args:
        manifest: Describes the artifact.
        test: The content of `eval/test.json`; None if the test split has not been opened yet.
        folder: The folder that the artifact will end up in.
        form: How the subnet's modules are in the artifact.
        usage: How to run it, Markdown.
    """
    sections = [
        f"# {markdown_text(folder.name)} of {markdown_text(manifest.run.name)}\n",
        _what(manifest, form),
        "## Subnet\n",
        _subnet(manifest),
        "## Accuracy\n",
        _accuracy(manifest, test),
        "## Parity\n",
        _parity(manifest.parity),
        "## Precision\n",
        _precision(manifest),
        *(["## Engine\n", _engine(manifest.engine)] if manifest.engine else []),
        *(["## Choice\n", _choice(manifest.choice)] if manifest.choice else []),
        "## How to run it\n",
        usage,
        "## Written by\n",
        _table(("package", "version"), sorted(manifest.versions.items())),
    ]
    return "\n".join(sections)


def _what(manifest: Manifest, form: str) -> str:
    labels = first_of([markdown_text(name) for name in manifest.classes], _LABELS_SHOWN)
    height, width = manifest.input.image_size
    takes = {
        "normalized": f"normalized float32 images (batch, 3, {height}, {width}), RGB",
        "raw": f"raw uint8 pixels (batch, {height}, {width}, 3), RGB; the normalization is inside",
        "image": "decoded uint8 images (batch, height, width, 3), RGB, of any size that all of a batch have; resizing "
        "and normalization are inside",
    }[manifest.input.values]
    arch, name = markdown_text(manifest.backbone.arch), markdown_text(manifest.backbone.name)
    preprocessing = ", ".join(markdown_text(f"{key} {value}") for key, value in manifest.preprocessing.items())
    return (
        f"An image classifier: the vision transformer {arch} ({name}), frozen, "
        f"with added modules of {manifest.parameters:,} parameters, {form}. "
        f"Trained on {markdown_text(manifest.dataset)}.\n\n"
        f"- Classes ({len(manifest.classes):,}): {labels}\n"
        f"- Takes `{manifest.input.name}`: {takes}\n"
        f"- Gives `{manifest.output.name}`: {manifest.output.type} (batch, {len(manifest.classes)}), "
        f"{manifest.output.values}\n"
        f"- Preprocessing: {preprocessing}\n"
        f"- Image files: {_decoding(manifest)}\n"
        f"{_temperature(manifest)}"
    )


def _temperature(manifest: Manifest) -> str:
    """How probabilities are made of logits, if a temperature was fitted."""
    fitted = manifest.temperature
    if fitted is None:
        return ""
    does = "this artifact does so itself" if manifest.output.values == "probabilities" else "`noah predict` does so"
    return (
        f"- Temperature: {fitted.value:.6g}, fitted on {markdown_text(fitted.fitted_on)}. Probabilities are the "
        f"softmax of the logits divided by it; {does}\n"
    )


def _decoding(manifest: Manifest) -> str:
    """How image files are read, for programs that read them without noah."""
    decoding = AS_STORED if manifest.decoding is None else Decoding.from_json(manifest.decoding)
    ground = f"laid on {decoding.alpha}" if decoding.alpha != "ignore" else "read as the colors stored under them"
    return f"transparent pixels are {ground}; of 16-bit files, {2**decoding.bit_depth - 1:,} is white"


def _subnet(manifest: Manifest) -> str:
    """A drawing with blocks across and modules down; a dot is an absent module."""
    widths = manifest.subnet.root
    head = ("", *(str(block + 1) for block in range(len(widths["lora"]))))
    rows = [(name, *(str(width or "·") for width in row)) for name, row in widths.items()]
    return _table(head, rows)


def _accuracy(manifest: Manifest, test: dict[str, Any] | None) -> str:
    if manifest.resized is not None:
        return _resized(manifest.resized, manifest.preprocessing)
    if test is None:
        return "Not measured on the test split when this was written; `noah eval` measures it.\n"
    return (
        f"{test['accuracy']:.2%} ± {test['standard_error']:.2%} of {test['total']:,} test images right, cross-entropy "
        f"{test['cross_entropy']:.4f}; measured on the torch model that this artifact was proved against.\n"
    )


def _resized(record: ResizedRecord, preprocessing: Mapping[str, JsonValue]) -> str:
    """What is known if the artifact takes images of another size than the run was measured on."""
    height, width = preprocessing["height"], preprocessing["width"]  # which an input for any size does not tell
    searched_height, searched_width = record.searched_size
    return (
        f"Searched and trained on images of {searched_width} x {searched_height} px, and made for {width} x {height} "
        f"px. Of {record.images}, {record.correct / record.total:.2%} are right at this size and "
        f"{record.correct_at_searched_size / record.total:.2%} at the original size. `noah eval` measures this "
        "artifact on the test split.\n"
    )


def _parity(parities: Sequence[Parity]) -> str:
    parts = []
    for parity in parities:
        unit = "of the largest logit" if parity.values == "logits" else "absolute"
        how = "run" if parity.method == "run" else "simulated, not run"
        parts.append(
            f"Against {parity.reference}, on {parity.images}. {how[0].upper()}{how[1:]} ({parity.runs_on}). Allowed: "
            f"{parity.tolerance.max_difference:.0e} at most and {parity.tolerance.mean_difference:.0e} in the mean, "
            f"{unit}.\n"
        )
        rows = [
            (
                str(batch.batch),
                f"{batch.max_difference:.1e}",
                f"{batch.mean_difference:.1e}",
                f"{batch.top1_agreement:.1%}",
            )
            for batch in parity.batches
        ]
        parts.append(_table(("batch", "largest difference", "mean difference", "top-1 agreement"), rows))
    return "\n".join(parts)


def _precision(manifest: Manifest) -> str:
    rows = [
        (name, ", ".join(f"{count} x {kind}" for kind, count in counts.items()))
        for name, counts in manifest.types.items()
    ]
    opset = "" if manifest.opset is None else f", opset {manifest.opset}"
    found = f"{manifest.precision}{opset}. Types found in the file after writing:\n\n"
    executed = f"\n{_execution(manifest.execution, manifest.quantization)}" if manifest.execution else ""
    converted = "Of the ONNX file that it was converted from: " if manifest.execution else ""
    eight_bits = f"\n{converted}{_quantization(manifest.quantization)}" if manifest.quantization else ""
    return found + _table(("operator", "types"), rows) + executed + eight_bits


def _execution(record: ExecutionRecord, quantization: QuantizationRecord | None) -> str:
    """What it is computed in where it was exported."""
    layers = "; ".join(
        f"{kind} {', '.join(f'{count} in {type_}' for type_, count in counts.items())}"
        for kind, counts in record.layers.items()
    )
    right = ""
    if record.correct is not None and quantization is not None:
        right = f" So run, it gets {record.correct:,} of {quantization.images} right."
    return (
        f"{record.package} {record.version} compiled it for this machine's {record.device}, told to compute in "
        f"{record.hint}. Its layers: {layers or 'none that are counted'}.{right}\n"
    )


def _quantization(record: QuantizationRecord) -> str:
    kept = ", ".join(f"{count} {why}" for why, count in record.kept.items()) or "none"
    smoothed = ", ".join(f"{count} {where}" for where, count in record.smoothed.items())
    outliers = f"Outliers of activations were moved into the weights: {smoothed}. " if smoothed else ""
    blocks = ", ".join(str(block) if block else "what is outside the blocks" for block in record.float_blocks)
    mixed = f"Blocks in float32, as they lose too much in 8 bits: {blocks}. " if blocks else ""
    return (
        f"{record.products} products are in 8 bits; others stay in float32: {kept}. Ranges of activations: "
        f"{record.ranges}. {outliers}{mixed}"
        f"Of {record.images}, it gets {record.correct:,} right, and the same network in float32 "
        f"{record.correct_in_float32:,}; both predict the same class for {record.top1_agreement:.1%}.\n"
    )


def _engine(engine: EngineRecord) -> str:
    profile = engine.profile
    return (
        f"`{ENGINE_FILE}` was built from `{MODEL_FILE}` by {engine.package} {engine.version} ({engine.reason}) for "
        f"{', '.join(engine.targets)}; it takes batches of {profile.minimum} to {profile.maximum} images and is "
        f"optimized for {profile.optimum}. {engine.verified[0].upper()}{engine.verified[1:]}.\n"
    )


def _choice(choice: ChoiceRecord) -> str:
    """Why this format and precision, with every candidate."""
    rows = []
    for one in choice.candidates:
        lost = choice.points_lost(one)
        ratio = "" if one.times_as_fast is None else f"{one.times_as_fast[1]:.2f}"
        rows.append((one.name, "" if lost is None else f"{lost:.2f}", ratio, one.refused or ""))
    machine, images = markdown_text(choice.gpu or choice.processor), markdown_text(choice.images)
    return (
        f"Chosen for {choice.purpose}, in batches of {choice.batch}, on {machine}, threads: {choice.threads}. "
        f"Of all, {choice.reason}. Points of accuracy are lost on {images}; speed is beside that of the plain backbone "
        "in float32, by onnxruntime.\n\n" + _table(("candidate", "points lost", "times as fast", "rejected"), rows)
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(markdown_text, line)) + " |\n" for line in lines)
