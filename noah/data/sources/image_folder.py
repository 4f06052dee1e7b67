"""A Hugging Face image folder: images with a metadata.csv, .jsonl or .parquet beside them.

FOLDER/metadata.csv         lists images below FOLDER, whose first folder may be a split's: train/0001.jpg
FOLDER/train/metadata.csv   lists the images of one split, and so do those in the folders of the others
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from noah.data.dataset import Dataset
from noah.data.sources.class_folders import list_folder
from noah.data.sources.division import Labeled, divide, number_labels, order_labels, refuse_unknown
from noah.data.sources.source import Source
from noah.data.sources.split_names import Role, one_a_role, role_of
from noah.data.sources.table import given_roles
from noah.data.sources.tables.cells import TABLE_SUFFIXES, open_cells
from noah.data.sources.tables.columns import USUAL_NAMES, choose_columns
from noah.data.sources.tables.rows import Row, Rows, read_rows
from noah.data.split import FileSplit, Split, with_groups
from noah.errors import DataError
from noah.files.foreign_text import is_utf8, printable
from noah.settings.settings import ColumnSettings, DataSettings

_USUAL = {**USUAL_NAMES, "path": ("file_name", *USUAL_NAMES["path"])}


def load_image_folder(
    folder: Path,
    columns: ColumnSettings,
    *,
    seed: int,
    validation_fraction: float,
    test_fraction: float,
    groups: str | None = None,
) -> Dataset:
    """Load the images that metadata lists; no image is opened, and no metadata of test images before `load_test`.

    Args:
        folder: Where the metadata is, or the folders of the splits with theirs.
        columns: What the columns of the metadata are called.
        seed: Draws the splits that nobody gave.
        validation_fraction: The fraction of the images not for testing, if there are none for validation.
        test_fraction: The fraction of all images, if no split is given.
        groups: A regular expression that finds groups in paths below the folder, see `match_groups`.

    Raises:
        DataError: If something in the metadata is wrong, or it is missing for one of the splits.
        MissingPackageError: If it is a Parquet file, and pyarrow is not installed.
        UsageError: If a fraction is not between 0 and 1.
    """
    if not is_utf8(folder.resolve()):
        raise DataError(f"The path {printable(folder.resolve())} is not valid UTF-8.", "Rename the folder.")
    whole, tested = _metadata(folder), None
    if whole is not None:
        read, notes, group_column = _read(whole, columns)
        rows, roles = read.rows, given_roles(read.rows)
        if roles is None:
            roles = _roles_of_folders(folder, rows)
            notes += [f"The splits are the folders that the images of {folder} lie in."] if roles else []
    else:
        splits, unused = _split_folders(folder)
        read, notes, group_column = _read(_needed(splits["train"]), columns)
        if unused:
            names = ", ".join(printable(path.name) for path in unused)
            notes.append(f"Not used, because it lies beside {splits['train']}: {names}.")
        rows, roles = read.rows, ["train"] * len(read.rows)
        if "validation" in splits:
            more, told, _ = _read(_needed(splits["validation"]), columns)
            rows, roles, notes = rows + more.rows, roles + ["validation"] * len(more.rows), notes + told
        if "test" in splits:
            tested = splits["test"]
    classes, order = order_labels(row.label for row in rows)
    labeled = Labeled(
        name=folder.resolve().name or "images",
        where=str(folder),
        classes=classes,
        images=_images(rows, classes),
        roles=roles,
        groups=[row.group for row in rows],
        group_column=group_column,
        load_test=None if tested is None else partial(_load_test, tested, columns, classes),
        pattern=groups,
        root=folder,
        order=order,
    )
    return divide(labeled, seed, validation_fraction, test_fraction, notes)


def _read(metadata: Path, columns: ColumnSettings) -> tuple[Rows, list[str], str | None]:
    """The rows of metadata, notes on them, and the column of their groups."""
    cells = open_cells(metadata)
    chosen = choose_columns(cells.columns, columns, metadata, _USUAL)
    rows = read_rows(cells, chosen, metadata.parent)
    return rows, [chosen.note(metadata), *rows.notes], chosen.group


def _images(rows: tuple[Row, ...], classes: tuple[str, ...]) -> FileSplit:
    return FileSplit(tuple(row.path for row in rows), number_labels([row.label for row in rows], classes))


def _roles_of_folders(folder: Path, rows: tuple[Row, ...]) -> list[Role] | None:
    """The split of each image by the first folder of its path; None if some have no such folder."""
    roles: list[Role] = []
    for row in rows:
        below = row.path.relative_to(folder).parts if row.path.is_relative_to(folder) else ()
        role = role_of(below[0]) if len(below) > 1 else None
        if role is None:
            return None
        roles.append(role)
    return roles


def _split_folders(folder: Path) -> tuple[dict[Role, Path], list[Path]]:
    """The folder of each split, by their names alone as one of them has metadata, and the other folders.

    Raises:
        DataError: If two folders are named for one split.
    """
    folders = list_folder(folder)[0]
    found = [(role, path) for path in folders if (role := role_of(path.name))]
    one_a_role([(role, path.name) for role, path in found], str(folder))
    return dict(found), [path for path in folders if role_of(path.name) is None]


def _load_test(folder: Path, columns: ColumnSettings, classes: tuple[str, ...]) -> Split:
    metadata = _needed(folder)
    rows = _read(metadata, columns)[0].rows
    refuse_unknown(str(metadata), (row.label for row in rows), classes)
    return with_groups(_images(rows, classes), [row.group for row in rows])


def _metadata(folder: Path) -> Path | None:
    """The metadata that lies directly in a folder."""
    return next((path for suffix in sorted(TABLE_SUFFIXES) if (path := folder / f"metadata{suffix}").is_file()), None)


def _needed(folder: Path) -> Path:
    found = _metadata(folder)
    if found is None:
        raise DataError(
            f"{folder} has no metadata, which other splits have.",
            f"Write {folder / 'metadata.csv'} with the columns file_name and label.",
        )
    return found


def is_image_folder(data: DataSettings) -> bool:
    """Whether metadata with paths and labels lies in the folder, or in its folder of training images.

    Metadata without labels, as of captions beside class folders, is none; neither is any where --classes is given.
    """
    folder = Path(data.folder or "")
    if data.folder is None or data.classes is not None or not folder.is_dir():
        return False
    found = _metadata(folder)
    if found is None:
        trained = [path for path in list_folder(folder)[0] if role_of(path.name) == "train"]
        found = next(filter(None, map(_metadata, trained)), None)
    if found is None:
        return False
    names = {name.lower() for name in open_cells(found).columns}
    return all(getattr(data.columns, use) is not None or names & set(_USUAL[use]) for use in ("path", "label"))


def _load(data: DataSettings, seed: int) -> Dataset:
    return load_image_folder(
        Path(str(data.folder)),
        data.columns,
        seed=seed,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
        groups=data.groups,
    )


SOURCE = Source("a folder of images with metadata", is_image_folder, _load, takes=frozenset({"columns", "groups"}))
