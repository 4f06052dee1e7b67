"""`noah datasets check`: opens every image of a dataset, and prints what is to be known of it on one page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from noah.api.new_settings import project_layers
from noah.errors import UsageError
from noah.progress import counted, first_of
from noah.settings.layers import Layer, flatten, resolve
from noah.settings.option_layers import option_layers
from noah_cli.options.completion import complete_dataset
from noah_cli.options.options import (
    AllowCopiesOption,
    AlphaOption,
    BackboneArchOption,
    BackboneArgOption,
    BackboneOption,
    BitDepthOption,
    ClassesOption,
    ColumnsOption,
    ConfigOption,
    DamagedOption,
    DataRootOption,
    DeviceOption,
    GroupsOption,
    ImageSizeOption,
    ListSeedOption,
    NearOption,
    SeedOption,
    ShotsOption,
    ThreadsOption,
)
from noah_cli.terminal import console

if TYPE_CHECKING:  # it takes its time to import
    from noah.checks.dataset_check import DatasetCheck
    from noah.settings.settings import DataSettings

_CLASSES = 12
"""How many classes the page shows: all, or the largest and the smallest."""
_EXAMPLES = 3
"""How many images it names of each kind."""
_PATHS = (".tar", ".csv", ".tsv", ".jsonl", ".parquet")


def check(
    context: typer.Context,
    images: Annotated[
        str | None,
        typer.Argument(
            help="Your images, as --data takes them, or the name of a dataset, as --dataset takes it; if not given, "
            "those of the settings file of this folder.",
            metavar="IMAGES",
            autocompletion=complete_dataset,
        ),
    ] = None,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="Also look for wrong labels: of images whose nearest neighbors, as the backbone sees them, have "
            "another label.",
        ),
    ] = False,
    near: NearOption = False,
    groups: GroupsOption = None,
    columns: ColumnsOption = None,
    classes: ClassesOption = None,
    damaged: DamagedOption = None,
    alpha: AlphaOption = None,
    bit_depth: BitDepthOption = None,
    allow_copies: AllowCopiesOption = False,
    data_root: DataRootOption = None,
    shots: ShotsOption = None,
    list_seed: ListSeedOption = None,
    seed: SeedOption = None,
    backbone: BackboneOption = None,
    backbone_arch: BackboneArchOption = None,
    backbone_arg: BackboneArgOption = None,
    image_size: ImageSizeOption = None,
    config: ConfigOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Open every image, those for testing too, and print classes, sizes, and what is damaged, unusual or there twice.

    Exit code 1 if there is something that a run would refuse. --json has all images by name.
    """
    from noah.settings.layers import file_layer

    listener = console.open_listener(context)
    dataset, folder = _which(images)
    options = option_layers(
        dataset=dataset,
        data=folder,
        data_root=data_root,
        shots=shots,
        list_seed=list_seed,
        backbone=backbone,
        backbone_arch=backbone_arch,
        backbone_arg=backbone_arg,
        image_size=image_size,
        seed=seed,
        classes=classes,
        groups=groups,
        near=near or None,
        allow_copies=allow_copies or None,
        damaged=damaged,
        alpha=alpha,
        bit_depth=bit_depth,
        columns=columns,
    )
    replaced = "folder" if dataset else "dataset"
    if images is not None:  # which replaces what a settings file names
        options.append(Layer(source="IMAGES", values={"data": {replaced: None}}))
    files = [*project_layers(listener), *map(file_layer, config or [])]
    settings, _ = resolve([*files, *options, *option_layers(device=device, threads=threads)])

    from noah.checks.dataset_check import check_dataset

    found = check_dataset(settings, listener, labels=labels)
    for line in _page(found, settings.data):
        if isinstance(line, str):
            listener.say(line)
        else:
            listener.console.print(line)
    if not found.refusals and images is not None:
        words = ["noah", "search", "--dataset" if dataset else "--data", images, *_typed_options(context)]
        named = dict(pair for layer in files for pair in flatten(layer.values))
        if named.get(f"data.{replaced}") is not None:
            words += ["--set", f"data.{replaced}=null"]
        listener.say_next(shlex.join(words))
    listener.result(found.to_json())
    if found.refusals:
        raise typer.Exit(1)


def _typed_options(context: typer.Context) -> list[str]:
    """The options that were typed, as they are typed again for `noah search`, which has all of them but --labels."""
    words: list[str] = []
    for option in context.command.params:
        value = context.params.get(str(option.name))
        if option.param_type_name != "option" or option.name == "labels":
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is True:
                words.append(option.opts[0])
            elif each is not None and each is not False:
                words += [option.opts[0], str(each)]
    return words


def _which(images: str | None) -> tuple[str | None, Path | None]:
    """The value of --dataset, or that of --data; what exists as a path is the path.

    Raises:
        UsageError: If the argument is empty.
    """
    if images is None:
        return None, None
    if not images:
        raise UsageError("IMAGES is empty.", "Type a folder, a table, or the name of a dataset.")
    path = Path(images)
    is_path = path.exists() or path.suffix.lower() in _PATHS or (len(path.parts) > 1 and not images.startswith("hf:"))
    return (None, path) if is_path else (images, None)


def _page(found: DatasetCheck, data: DataSettings) -> Iterator[str | Table]:
    """The lines of the page, and the table of classes."""
    from noah.checks.dataset_check import shorter

    def named(names: Sequence[str]) -> str:
        return first_of([shorter(name, data) for name in names], _EXAMPLES)

    counts = {name: len(part.split) for name, part in found.splits.items()}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    yield f"data      {found.dataset.name}: {len(found.dataset.classes):,} classes; {told} images"
    for note in found.dataset.notes:
        yield f"          {note}"
    if found.no_test:
        yield f"test      {found.no_test}"
    yield _classes(found)
    yield from _sizes(found)
    yield from _groups(found)
    for note in found.notes:
        yield f"images    {note}"
    for name, part in found.splits.items():
        if part.repeats:
            copies = sum(len(group) - 1 for group in part.repeats)
            twins = [part.split.name(index) for index in part.repeats[0]]
            images = counted(copies, f"{name} images")
            yield f"same      {images} more than once in that split, such as {named(twins)}."
        if part.contradictions:
            one, other = _contradiction(found, name)
            yield (
                f"labels    {counted(len(part.contradictions), f'{name} images')} with several labels: "
                f"{shorter(one[0], data)} is {one[1]} and {shorter(other[0], data)} {other[1]}."
            )
    for overlap in found.overlaps:
        both = (("same", overlap.exact, "also among the"), ("near", overlap.near, "in another form among the"))
        for label, pairs, how in both:
            if pairs is not None and len(pairs):
                first, second = found.names(overlap, pairs[:1])[0]
                images = counted(len(pairs), f"{overlap.second} images")
                yield (
                    f"{label:<10}WARNING: {images} {how} {overlap.first} images: {shorter(second, data)} is "
                    f"{shorter(first, data)}."
                )
    if found.suspicions is not None:
        suspicious = found.suspicious()
        end = ":" if suspicious else "."
        yield f"labels    {counted(len(suspicious), 'images')} with the looks of another class{end}"
        for name, image in suspicious[: 2 * _EXAMPLES]:
            label, nearest = (found.dataset.classes[place] for place in (image.label, image.other))
            votes = f"{image.agreeing} of its {image.neighbors} nearest are {nearest}"
            yield f"          {shorter(name, data)} is labeled {label}; {votes}"
        if len(suspicious) > 2 * _EXAMPLES:
            yield f"          and {len(suspicious) - 2 * _EXAMPLES:,} more, which --json lists"
    for refusal in found.refusals:
        first, *lines = refusal.problem.splitlines()
        yield f"refused   {first}"
        yield from (f"          {line.strip()}" for line in lines)
        yield f"          {refusal.hint}"
    if not found.refusals:
        yield "fine      A run would refuse nothing here."


def _classes(found: DatasetCheck) -> Table:
    """How many images each class has in each split."""
    from noah.data.dataset import class_counts

    names = found.dataset.classes
    counts = {name: class_counts(part.split, names) for name, part in found.splits.items()}
    totals = {name: sum(of_split[name] for of_split in counts.values()) for name in names}
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=36)
    for split in counts:
        table.add_column(split, justify="right", no_wrap=True)
    shown = list(names)
    if len(names) > _CLASSES:
        order = sorted(names, key=totals.__getitem__, reverse=True)
        shown = [*order[: _CLASSES // 2], *order[-(_CLASSES // 2) :]]
    for place, name in enumerate(shown):
        if len(names) > _CLASSES and place == _CLASSES // 2:
            table.add_row(f"... {len(names) - _CLASSES:,} others", style="dim")
        table.add_row(escape(name), *(f"{of_split[name]:,}" for of_split in counts.values()))
    return table


def _sizes(found: DatasetCheck) -> Iterator[str]:
    """The sizes and the shapes of the images."""
    import numpy as np

    from noah.checks.dataset_check import LONG

    sizes = found.sizes.astype(np.int64)
    if not len(sizes):
        return
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    smallest, middle, largest = (sizes[order[place]].tolist() for place in (0, len(order) // 2, -1))
    different = len(np.unique(sizes, axis=0))
    if different == 1:
        yield f"sizes     all are {smallest[0]:,} x {smallest[1]:,} pixels"
    else:
        told = [f"{width:,} x {height:,}" for width, height in (smallest, largest, middle)]
        yield f"sizes     from {told[0]} to {told[1]} pixels, {told[2]} in the middle; {different:,} different sizes"
    width, height = sizes.T
    shares = [(width > height).mean(), (width == height).mean(), (width < height).mean()]
    words = [
        f"{'all' if share == 1 else f'{share:.0%}'} {word}"
        for share, word in zip(shares, ("wide", "square", "tall"), strict=True)
        if share
    ]
    long = int((sizes.max(axis=1) > LONG * sizes.min(axis=1)).sum())
    thin = (
        f"; {counted(long, 'images')} more than {LONG} times as long as wide: a crop sees little of them"
        if long
        else ""
    )
    yield f"shapes    {', '.join(words)}{thin}"


def _groups(found: DatasetCheck) -> Iterator[str]:
    from noah.data.split import groups_of

    for name, part in found.splits.items():
        groups = groups_of(part.split)
        if groups is not None:
            known = {group for group in groups if group is not None}
            yield f"groups    {counted(len(known), 'groups')} in {counted(len(groups), f'{name} images')}"
    if found.parted:
        yield (
            f"          WARNING: {counted(found.parted, 'groups')} among the test images and the others: tests are "
            "then easier than what comes later."
        )


def _contradiction(found: DatasetCheck, name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two images that are the same, and their labels, which are not."""
    part = found.splits[name]
    group = part.contradictions[0]
    labels = part.split.labels
    other = next(index for index in group if labels[index] != labels[group[0]])
    one, another = ((part.split.name(index), found.dataset.classes[labels[index]]) for index in (group[0], other))
    return one, another
