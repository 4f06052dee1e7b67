"""WebDataset shards: tar archives that hold, for each KEY, an image KEY.jpg and its label in KEY.cls or KEY.json.

    FOLDER/train-000.tar        the first word of every name may be a split's
    FOLDER/train/000.tar        or the folders are those of the splits
    'FOLDER/train-{000..099}.tar', 'FOLDER/*.tar'   a pattern, of which the shell has to keep its hands off

Nothing is unpacked: the archives are read once for the places of their images, which are then read one by one.
"""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from noah.data.dataset import Dataset
from noah.data.decode import open_image
from noah.data.formats import IMAGE_SUFFIXES
from noah.data.sources.archives import StoredFile, list_tar, read_stored
from noah.data.sources.class_folders import list_folder
from noah.data.sources.division import Labeled, divide, number_labels, order_labels, refuse_unknown
from noah.data.sources.mistakes import Mistakes, quoted
from noah.data.sources.names import composed, group_name, plain_value
from noah.data.sources.source import Source
from noah.data.sources.split_names import Role, first_word, one_a_role, role_of
from noah.data.sources.tables.columns import USUAL_NAMES
from noah.data.split import Split, with_groups
from noah.errors import DataError, DatasetNotFoundError, UnreadableImageError, UsageError, system_cause
from noah.files.bounded import parse_json
from noah.progress import counted, first_of
from noah.settings.settings import ColumnSettings, DataSettings

_LARGEST_LABEL = 2**20
"""In bytes, of a KEY.cls or KEY.json."""
_MOST_NAMES = 100_000
_LABELS = (*USUAL_NAMES["label"], "cls")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class _Sample:
    """An image in an archive, with what its other files say."""

    key: str
    archive: Path
    image: StoredFile
    label: str
    group: str | None


@dataclass(frozen=True, slots=True, eq=False)
class ShardSplit:
    """Images in archives.

    Attributes:
        archives: The archive of each image.
        images: Where each image lies in its archive.
        labels: int64 (n,).
    """

    archives: tuple[Path, ...]
    images: tuple[StoredFile, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def open(self, index: int) -> Image.Image:
        """Read the image's bytes from its archive, and decode them."""
        return open_image(self.source(index))

    def source(self, index: int) -> BytesIO:
        """The image's bytes, read from its archive."""
        try:
            content = read_stored(self.archives[index], self.images[index])
        except OSError as error:
            cause = f"{system_cause(error)}."
            raise UnreadableImageError(f"Cannot read {self.name(index)}: {cause}", "", cause) from error
        return BytesIO(content)

    def name(self, index: int) -> str:
        """The archive and the image's name in it, such as shards/000.tar/0012.jpg."""
        return f"{self.archives[index]}/{self.images[index].name}"


def load_shards(path: str, data: DataSettings, seed: int) -> Dataset:
    """Load the shards in a folder or of a pattern; no image is opened, and no shard of test images before `load_test`.

    Args:
        path: The folder, pattern or single archive.
        data: Names the fields of KEY.json, and how splits are drawn that the shards' names do not tell.
        seed: Draws them.

    Raises:
        DatasetNotFoundError: If there are no such archives.
        DataError: If one is damaged, or samples lack an image or label; all of these are told together. If some lie in
            folders of splits, and the others do not say what they are for; or if a folder of a split holds none, two
            are named for one split, or no sample has the group that was asked for.
        UsageError: If a fraction is not between 0 and 1.
    """
    shards = find_shards(path)
    roles = shard_roles(path, shards)
    if roles is None:
        _refuse_split_folders(Path(path), shards)
    role_of_shard = dict(zip(shards, roles, strict=True)) if roles else {}
    tested = [shard for shard in shards if role_of_shard.get(shard) == "test"]
    read = [shard for shard in shards if role_of_shard.get(shard) != "test" and not shard.is_dir()]
    samples, keys = _read(path, read, data.columns)
    group_key = _group_key(data.columns)
    if data.columns.group and group_key not in keys:
        raise DataError(
            f"The samples of {path} have no {quoted(data.columns.group)}; the names in their KEY.json are: "
            f"{first_of([quoted(name) for name in keys], 20) or 'none'}.",
            "Type one of these names as --columns group=NAME, or give --groups a regular expression whose first group, "
            "in parentheses, is the part of the path that names the patient, animal or video: "
            "--groups '(patient[0-9]+)'.",
        )
    classes, order = order_labels(sample.label for sample in samples)
    labeled = Labeled(
        name=_folder(path).resolve().name or "images",
        where=path,
        classes=classes,
        images=_split(samples, classes),
        roles=[role_of_shard[sample.archive] for sample in samples] if roles else None,
        groups=[sample.group for sample in samples],
        group_column=group_key if group_key in keys else None,
        load_test=partial(_load_test, path, tested, data.columns, classes) if tested else None,
        pattern=data.groups,
        root=_folder(path),
        order=order,
    )
    notes = [f"{path} is read as {counted(len(read), 'WebDataset shards')}, from {read[0].name} to {read[-1].name}."]
    if len(read) < len(shards):
        notes.append(f"For testing: {', '.join(quoted(shard.name) for shard in tested[:5])}.")
    if roles:
        notes.append("The splits are told by the shards' names or folders.")
    return divide(labeled, seed, data.validation_fraction, data.test_fraction, notes)


def find_shards(path: str) -> list[Path]:
    """The archives in a folder, in its folders of splits, or of a pattern, sorted; a folder of test images as it is.

    Raises:
        DatasetNotFoundError: If there is none, or one that a range of numbers names is missing.
        DataError: If a folder for training or validation holds none.
        UsageError: If the braces of a pattern make too many names.
    """
    folder = Path(path)
    if folder.is_file():
        return [folder]  # whatever signs of a pattern its name holds
    if folder.is_dir():
        folders, files = list_folder(folder)
        of_splits = [path for path in folders if role_of(path.name) in ("train", "validation")]
        tests = [path for path in folders if role_of(path.name) == "test"]
        return [
            *_archives(files),
            *(shard for split in of_splits for shard in _archives_of_split(split)),
            *tests,
        ]
    found: list[Path] = []
    for spelled in spell_out(path):
        is_pattern = re.search(r"[*?\[]", spelled)
        found += map(Path, sorted(glob.glob(spelled)) if is_pattern else [spelled])  # noqa: PTH207  # that refuses /*
    missing = [shard for shard in found if not shard.is_file()]
    if missing or not found:
        raise DatasetNotFoundError(
            f"{quoted(str(missing[0]))} does not exist." if missing else f"No file is called {quoted(path)}.",
            "Check the path, and put a pattern in quotation marks.",
        )
    return list(dict.fromkeys(found))


def _archives(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() == ".tar"]


def _archives_of_split(folder: Path) -> list[Path]:
    """The archives that lie directly in the folder of a split.

    Raises:
        DataError: If there are none.
    """
    archives = _archives(list_folder(folder)[1])
    if not archives:
        raise DataError(
            f"{folder} holds no shards.",
            f"Put its .tar archives directly into {folder}, or remove that folder. If the folders hold the images "
            "themselves, put the archives that they came in elsewhere.",
        )
    return archives


def spell_out(pattern: str) -> list[str]:
    """Spell out braces as a shell does: {00..11} and {train,val}.

    Raises:
        UsageError: If that makes more names than anyone means.
    """
    names = list(itertools.islice(_expand(pattern), _MOST_NAMES + 1))
    if len(names) > _MOST_NAMES:
        raise UsageError(
            f"{quoted(pattern)} stands for more than {_MOST_NAMES:,} names.", "Check the numbers in the braces."
        )
    return names


def _expand(pattern: str) -> Iterator[str]:
    brace = _CHOICE.search(pattern)
    if brace is None:
        yield pattern
        return
    numbers = _RANGE.fullmatch(brace[0])
    if numbers:
        first, last = numbers.groups()
        width = len(first) if first.startswith("0") or len(first) == len(last) else 0
        choices: Iterator[str] = (str(number).zfill(width) for number in range(int(first), int(last) + 1))
    else:
        choices = iter(brace[1].split(","))
    for choice in choices:
        yield from _expand(pattern[: brace.start()] + choice + pattern[brace.end() :])


def shard_roles(where: str, shards: Sequence[Path]) -> list[Role] | None:
    """The split of each shard by the first word of its name or its folder's; None if not all tell one of several.

    Args:
        where: The folder or pattern of the shards, for the error.
        shards: The archives, and folders of test shards.

    Raises:
        DataError: If several names tell the same split, such as val and dev.
    """
    told: list[tuple[Role, str]] = []
    for shard in shards:
        word, folder = first_word(shard.name), shard.parent.name.lower()
        role = role_of(word) or role_of(folder)
        if role is not None:
            told.append((role, folder if role_of(folder) == role else word))
    one_a_role(list(dict.fromkeys(told)), where)
    named = [role for role, _ in told]
    return named if len(named) == len(shards) and "train" in named and len(set(named)) > 1 else None


def _refuse_split_folders(folder: Path, shards: Sequence[Path]) -> None:
    """Refuse folders of validation or test shards beside shards that are not said to be for training.

    Raises:
        DataError: It names one of each.
    """
    beside = [shard.name for shard in shards if shard.parent == folder and not shard.is_dir()]
    places = dict.fromkeys(shard if shard.is_dir() else shard.parent for shard in shards)
    split = next((place.name for place in places if place != folder and role_of(place.name) != "train"), None)
    if folder.is_dir() and beside and split is not None:
        raise DataError(
            f"{folder} holds a folder {split}, and beside it shards whose names do not say that they are for training, "
            f"such as {quoted(beside[0])}.",
            f"Put the training shards into {folder / 'train'}, or let their names begin with train. If the folders "
            "hold the images themselves, put what they came in elsewhere.",
        )


def _group_key(columns: ColumnSettings) -> str | None:
    """The name in KEY.json that groups are taken from; None if there shall be none."""
    return "group" if columns.group is None else columns.group or None


def _read(where: str, shards: Sequence[Path], columns: ColumnSettings) -> tuple[list[_Sample], Collection[str]]:
    """Read the places of all images, what is said of them, and the names in all KEY.json."""
    mistakes = Mistakes(where)
    samples: list[_Sample] = []
    keys: dict[str, None] = {}
    group_key = _group_key(columns)
    for shard in shards:
        images: dict[str, StoredFile] = {}
        texts: dict[str, dict[str, bytes]] = {}
        for stored in list_tar(shard):
            name = PurePosixPath(stored.name)
            key, _, ending = name.name.partition(".")
            if not key or any(part.startswith(".") and part != "." for part in name.parts):
                continue  # what macOS adds to archives
            key = (name.parent / key).as_posix()
            ending = ending.lower()
            if f".{ending}" in IMAGE_SUFFIXES:
                if key in images:
                    mistakes.add(f"{shard.name}/{quoted(key)}", "two images", "A sample is one image with its label.")
                images[key] = stored
            elif ending in ("cls", "json"):
                if stored.size > _LARGEST_LABEL:
                    mistakes.add(f"{shard.name}/{quoted(stored.name)}", f"{stored.size:,} bytes are no label")
                    continue
                texts.setdefault(key, {})[ending] = read_stored(shard, stored)
        for key, image in images.items():
            place = f"{shard.name}/{quoted(key)}"
            record = _record(texts.get(key, {}), place, mistakes)
            label = None if record is None else _label(texts.get(key, {}), record, columns, place, mistakes)
            if record is not None and label is not None:
                keys |= dict.fromkeys(record)
                group = None if group_key is None else group_name(record.get(group_key))
                samples.append(_Sample(key, shard, image, label, group))
    mistakes.refuse()
    if not samples:
        raise DataError(f"{where} holds no image with a label.", "Samples are KEY.jpg with KEY.cls or KEY.json.")
    return samples, keys


def _record(texts: dict[str, bytes], place: str, mistakes: Mistakes) -> dict[str, object] | None:
    """What the .json of a sample says; None, and the mistake noted, if it is no JSON."""
    if "json" not in texts:
        return {}
    try:
        found = parse_json(texts["json"])
    except ValueError as error:
        mistakes.add(place, f"its .json is no JSON: {quoted(' '.join(str(error).split()))}")
        return None
    return found if isinstance(found, dict) else {"label": found}


def _label(
    texts: dict[str, bytes], record: dict[str, object], columns: ColumnSettings, place: str, mistakes: Mistakes
) -> str | None:
    """The label of a sample; None, and the mistake noted, if there is none."""
    if columns.label is not None or "cls" not in texts:
        names = _LABELS if columns.label is None else (columns.label,)
        value = next((found for name in names if (found := plain_value(record.get(name))) is not None), None)
    else:
        value = plain_value(texts["cls"].decode(errors="replace"))
    wrong = isinstance(value, str) and (len(value) > 1000 or not value.isprintable())
    if wrong or not isinstance(value, str | int):
        what = "no label" if value is None else "its label is neither a short text nor a whole number"
        mistakes.add(place, what, f"A label is the text of KEY.cls, or one of {', '.join(_LABELS)} in KEY.json.")
        return None
    return composed(str(value))


def _split(samples: Sequence[_Sample], classes: tuple[str, ...]) -> ShardSplit:
    return ShardSplit(
        tuple(sample.archive for sample in samples),
        tuple(sample.image for sample in samples),
        number_labels([sample.label for sample in samples], classes),
    )


def _load_test(where: str, shards: Sequence[Path], columns: ColumnSettings, classes: tuple[str, ...]) -> Split:
    archives = [path for shard in shards for path in (_archives_of_split(shard) if shard.is_dir() else [shard])]
    where = str(shards[0]) if len(shards) == 1 else where
    samples, _ = _read(where, archives, columns)
    refuse_unknown(where, (sample.label for sample in samples), classes)
    return with_groups(_split(samples, classes), [sample.group for sample in samples])


def _folder(path: str) -> Path:
    """The folder of the shards, or that of their pattern."""
    folder = Path(path)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def is_shards(data: DataSettings) -> bool:
    """Whether the path is an archive or a pattern of some, or a folder with archives and no class folders."""
    if data.folder is None:
        return False
    folder = Path(data.folder)
    if not folder.is_dir():
        return data.folder.lower().endswith(".tar")
    folders, files = list_folder(folder)
    if _archives(files) and all(role_of(path.name) for path in folders):
        return True
    trained = [path for path in folders if role_of(path.name) == "train"]
    return any(_archives(list_folder(place)[1]) for place in trained)


def _load(data: DataSettings, seed: int) -> Dataset:
    return load_shards(str(data.folder), data, seed)


SOURCE = Source(
    "WebDataset shards",
    is_shards,
    _load,
    takes=frozenset({"columns", "groups"}),
    without=frozenset({"path", "split"}),
)
