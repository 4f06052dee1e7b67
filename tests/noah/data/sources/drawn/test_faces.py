from __future__ import annotations

import string
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from noah.data.sources.drawn import faces
from noah.data.sources.drawn.faces import COMPUTER_MODERN, FACES, MONO, SANS, SERIF, find_fonts, glyph, has_fonts
from noah.errors import MissingPackageError


def test_no_face_belongs_to_two_groups() -> None:
    assert len(set(FACES)) == len(FACES) == len(SANS) + len(SERIF) + len(MONO) + len(COMPUTER_MODERN) == 20


@pytest.mark.parametrize("face", FACES)
def test_every_face_has_its_own_letters_and_digits(face: str) -> None:
    drawn = {character: glyph(face, character) for character in string.ascii_uppercase + string.digits}
    pixels = {character: np.asarray(image) for character, image in drawn.items()}
    assert len({(image.size, image.tobytes()) for image in drawn.values()}) == 36
    for character, shown in pixels.items():
        assert shown.max() == 255 and shown[0].any() and shown[-1].any() and shown[:, 0].any() and shown[:, -1].any()
        assert 60 <= len(shown) <= 130 and shown.shape[1] < 180, character  # Neither tiny nor cut at the canvas.
    missing = glyph(face, "\ue000").tobytes()  # What a face shows for a character that it does not have.
    assert missing not in {image.tobytes() for image in drawn.values()}


def test_matplotlib_is_not_imported() -> None:
    program = "import sys; from noah.data.sources.drawn.letters import *; load_letters().train.open(0); "
    program += "assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_without_matplotlib_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="fonts of matplotlib, which is not installed") as caught:
        find_fonts()
    assert caught.value.hint == "Type: pip install matplotlib" and not has_fonts()


def test_a_matplotlib_without_its_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModuleSpec("matplotlib", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(faces, "find_spec", lambda name: spec)
    with pytest.raises(MissingPackageError, match=r"lacks DejaVuSans\.ttf") as caught:
        find_fonts()
    assert "--force-reinstall" in caught.value.hint
