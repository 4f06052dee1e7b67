"""All settings of a run, with their defaults and rules; `noah.settings.layers` says where their values come from."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from noah.settings.keyword_text import Value, read_keywords
from noah.settings.training_settings import (
    Count,
    Depth,
    Fraction,
    Probability,
    RetrainSettings,
    Section,
    Share,
    SupernetSettings,
    Widths,
)
from noah.space.budget_text import LATENCY_SPELLING, MACS_SPELLING, read_latency, read_macs
from noah.space.kinds import GROUPS, KINDS

Tracker = Literal["tensorboard", "wandb"]


class ColumnSettings(Section):
    """What the columns of a table, or the fields of a record, are called.

    None means the first with a usual name (`noah.data.sources.tables.columns`); an empty split or group means that
    there shall be none.
    """

    path: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None


def is_group_pattern(text: str) -> bool:
    """Whether `DataSettings.groups` is a pattern on paths, rather than the name of a column: it has a parenthesis."""
    return "(" in text


class DataSettings(Section):
    """Which images, and how they are split.

    `shots` turns the dataset into a few-shot dataset with so many training images per class; `list_seed` chooses among
    the published lists, or which images of a dataset that noah draws itself. If it is None, the run's own seed does.

    `folder` is the path of a person's own images: a folder, a table, or whatever else a source of
    `noah.data.sources.registry` knows. `columns` names the parts of a table. `classes` says which of its folders name
    the classes: those at the top, which is the default, or the leaves that images lie in.

    `groups` says which images belong together, such as those of a patient, an animal or a video, so that every split
    that noah draws has each group on one side: a column of a table or, if it has a parenthesis, a regular expression
    whose first group is that part of an image's path.

    With `near_duplicates` images in several splits that are nearly the same are looked for, besides those that are
    exactly the same. A dataset in which every image of one split is also in another is refused unless `allow_copies`.

    `damaged` says what happens to images that cannot be decoded as they are (`noah.data.intake`): "stop"; "skip", which
    leaves out up to `damaged_share` of all images; or "repair", which uses as much as can be decoded and stops at the
    others. None repairs what can be and leaves out up to 1 % of the images. `damaged_share` is 1 % if None, or 10 %
    with "skip".

    `alpha` is what transparent pixels are laid on; "ignore" takes the colors stored under them. `bit_depth` is the
    number of bits that the values of 16-bit files use; "auto" tells it from the largest value of all images.
    """

    dataset: str | None = None
    folder: str | None = None
    root: str = "data"
    shots: Literal[1, 2, 4, 8, 16] | None = None
    list_seed: Literal[0, 1, 2] | None = None
    columns: ColumnSettings = ColumnSettings()
    classes: Literal["leaf", "top"] | None = None
    groups: str | None = None
    near_duplicates: bool = False
    allow_copies: bool = False
    damaged: Literal["stop", "skip", "repair"] | None = None
    damaged_share: Share | None = None
    alpha: Literal["white", "black", "ignore"] = "white"
    bit_depth: Literal["auto"] | int = "auto"
    validation_fraction: Fraction = 0.2
    test_fraction: Fraction = 0.2
    class_weights: Literal["none", "balanced"] = "none"

    @field_validator("groups")
    @classmethod
    def _finds_groups(cls, text: str | None) -> str | None:
        if text is not None and not text:
            raise PydanticCustomError("groups", "must name a column, or be a regular expression with a group")
        if text is not None and is_group_pattern(text):
            try:
                found = re.compile(text).groups
            except re.error as error:
                problem = f"is not a regular expression: {error}"
                raise PydanticCustomError("groups", "{problem}", {"problem": problem}) from error
            if not found:
                raise PydanticCustomError("groups", "needs a group in parentheses, as in (patient[0-9]+)")
        return text

    @field_validator("bit_depth", mode="before")
    @classmethod
    def _is_auto_or_bits(cls, value: object) -> object:
        if value != "auto" and not (type(value) is int and 8 <= value <= 16):
            raise PydanticCustomError("bits", "must be auto or a whole number from 8 to 16")
        return value


class BackboneSettings(Section):
    """Which backbone, and what it sees.

    `arguments` are passed to the constructor of the architecture, each as NAME=VALUE, such as init_values=1e-5; they
    change the network, and so the run.

    `mean` and `std` are those of red, green and blue, for pixel values scaled to 0..1. If they or `interpolation`
    are None, the backbone's own are used.
    """

    name: str = "vit_base_patch16_224.orig_in21k"
    architecture: str | None = None
    arguments: tuple[str, ...] = ()
    image_size: Count | None = None
    resize: Literal["backbone", "squash", "crop"] = "backbone"
    mean: tuple[Probability, Probability, Probability] | None = None
    std: tuple[Share, Share, Share] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] | None = None

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _is_one_a_channel(cls, values: object) -> object:
        if values is not None and not (isinstance(values, list | tuple) and len(values) == 3):
            raise PydanticCustomError("channels", "must be three numbers, one for each of red, green and blue")
        return values

    @property
    def keywords(self) -> dict[str, Value]:
        """The arguments by name."""
        return read_keywords(self.arguments)

    @field_validator("arguments", mode="before")
    @classmethod
    def _is_a_list(cls, texts: object) -> object:
        """Turn a single argument into a list, as in --set backbone.arguments=init_values=1e-5."""
        return [texts] if isinstance(texts, str) else texts

    @field_validator("arguments")
    @classmethod
    def _are_read(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        try:
            read_keywords(texts)
        except ValueError as error:
            raise PydanticCustomError("keyword", "{problem}", {"problem": str(error)}) from error
        return texts


_LARGEST_STRENGTH = 100.0


def _read_strengths(text: str) -> dict[str, float]:
    """Read `lora:2+adapter:0.5`: kinds of module with the factors of what they change."""
    strengths: dict[str, float] = {}
    for part in text.split("+") if text.strip() else ():
        name, _, number = (piece.strip() for piece in part.partition(":"))
        kinds = GROUPS.get(name, (name,))
        try:
            strength = float(number)
        except ValueError:
            strength = math.nan
        if not set(kinds) <= set(KINDS) or not 0 < strength <= _LARGEST_STRENGTH or set(kinds) & set(strengths):
            raise PydanticCustomError(
                "strength",
                "must be kinds of module, each once, with numbers above 0 and up to {largest}, as in "
                "lora:2+adapter:0.5; the kinds are {kinds}",
                {"largest": f"{_LARGEST_STRENGTH:g}", "kinds": ", ".join((*KINDS, *GROUPS))},
            )
        strengths |= dict.fromkeys(kinds, strength)
    return strengths


class SpaceSettings(Section):
    """The search space: a preset, whose widths and depths can be replaced one by one.

    Each kind of module has a list of widths; an empty one leaves it out, and what is on or off takes 1 alone. Depths
    are numbers of blocks that carry a module; the default is the quarters of the backbone's depth, and 0, which leaves
    the module out, with the presets `mixed` (LoRA, adapters and biases), `mergeable` (whatever folds into the
    backbone's weights) and `full` (every kind). With `placement` "first" these are the first blocks, as in the paper;
    with "last" the last, so that the blocks before the deepest module are computed once for all epochs; with "any" any
    so many blocks.

    `strength` multiplies what kinds of module change by fixed factors, such as lora:2+adapter:0.5; a merge folds them.
    """

    preset: Literal["paper", "wide", "prompt", "lora", "adapter", "mixed", "mergeable", "full"] = "paper"
    prompt: Widths | None = None
    lora: Widths | None = None
    adapter: Widths | None = None
    lora_proj: Widths | None = None
    lora_fc1: Widths | None = None
    lora_fc2: Widths | None = None
    bias: Widths | None = None
    scale_shift: Widths | None = None
    linear_adapter_attention: Widths | None = None
    linear_adapter_mlp: Widths | None = None
    adapter_plus: Widths | None = None
    depths: tuple[Depth, ...] | None = None
    placement: Literal["first", "last", "any"] = "first"
    strength: str | None = None

    @property
    def strengths(self) -> dict[str, float]:
        """The strength of each kind of module that has another than 1."""
        return _read_strengths(self.strength or "")

    @field_validator("depths")
    @classmethod
    def _is_not_empty(cls, depths: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if depths == ():
            raise PydanticCustomError("no_depth", "it needs at least one number of blocks; 0 leaves modules out")
        return depths

    @field_validator("strength")
    @classmethod
    def _is_read(cls, text: str | None) -> str | None:
        _read_strengths(text or "")
        return text


class BudgetSettings(Section):
    """Bounds on a subnet; None bounds nothing.

    `parameters` are the modules' trainable parameters. `macs` are the multiply-accumulates of the merged network for
    one image: a number, with k, M or G, or a multiple of the plain backbone's such as 1.1x. `latency` is the merged
    network's time for one image, such as 12ms, 800us or 0.1s, or a multiple of the plain backbone's. It is torch's time
    for a batch of `latency_batch_size` images divided by their number, with the run's device, precision and threads,
    and it is predicted from timings of single blocks (`noah.cost.latency_table`).
    """

    parameters: Count | None = 640_000
    macs: int | str | None = None
    latency: str | None = None
    latency_batch_size: Count = 1

    @field_validator("macs", mode="before")
    @classmethod
    def _is_work(cls, value: object) -> object:
        value = int(value) if isinstance(value, float) and value.is_integer() else value  # 5e9 in YAML
        if value is None or (
            isinstance(value, int | str) and not isinstance(value, bool) and read_macs(value) is not None
        ):
            return value
        raise PydanticCustomError("macs", "must be {spelling}", {"spelling": MACS_SPELLING})

    @field_validator("latency", mode="before")
    @classmethod
    def _is_time(cls, value: object) -> object:
        if value is None or (isinstance(value, str) and read_latency(value) is not None):
            return value
        raise PydanticCustomError("latency", "must be {spelling}", {"spelling": LATENCY_SPELLING})


class EvolutionSettings(Section):
    """The evolutionary search of the paper (section 3.3), and how its candidates race (`noah.nas.racing`).

    The `sampler` is "evolution", "random" for nothing but random subnets, Optuna's "nsga2" or "tpe", or "published" for
    the search of the published code (`noah.nas.published_search`), which does not race its candidates.

    The `objective` is accuracy alone, or accuracy and a cost: trainable parameters, or the multiply-accumulates or
    latency of one image. Two objectives give a Pareto front. `storage` is the URL of a database that holds the search;
    without one, a file in the run folder holds it.

    The best `rerank` candidates are each trained on the training set for `rerank_epochs` (a quarter of the retraining's
    epochs if None), and the winner is the best of them afterwards (`noah.stages.rerank`); with 0 the search's own
    ranking decides. With several `rungs` all are first trained for fewer epochs, and the better half goes on to twice
    as many, until the last rung has `rerank_epochs` (successive halving). `rerank_by` says what they are compared by;
    the calibrated cross-entropy is that at the temperature that fits the validation images best. By either of these the
    best of the search, too, are those with the lowest cross-entropy, of all that were shown every image.

    With `baselines` the search begins with the single modules of the space at the budget's size, with none at all, and
    with even mixtures (`noah.space.baselines`). Those that are `invited`, such as lora or lora+bias, are always among
    the subnets that are trained in the end; if None, these are all single modules.

    `racing` "exact" gives up on a candidate once it provably cannot be among the best `top`, or among the `parents` if
    there are more of these; "paired" also gives up on one that a sign test finds worse; "off" evaluates every candidate
    on every image.

    A mutation redraws each width with `gene_probability` and each depth with `depth_probability`. With probability
    `module_crossover` a crossover takes each module whole from one parent; otherwise it takes each width from either.
    """

    generations: Annotated[int, Field(ge=0)] = 15
    population: Count = 50
    parents: Count = 10
    mutations: Annotated[int, Field(ge=0)] = 25
    crossovers: Annotated[int, Field(ge=0)] = 25
    gene_probability: Probability = 0.2
    depth_probability: Probability = 0.4
    module_crossover: Probability = 0.5
    sampler: Literal["evolution", "nsga2", "tpe", "random", "published"] = "evolution"
    objective: Literal["accuracy", "accuracy,params", "accuracy,macs", "accuracy,latency"] = "accuracy"
    storage: str | None = None
    baselines: bool = False
    invited: tuple[str, ...] | None = None
    rerank: Annotated[int, Field(ge=0)] = 0
    rerank_epochs: Count | None = None
    rungs: Count = 1
    rerank_by: Literal["accuracy", "cross_entropy", "calibrated_cross_entropy"] = "accuracy"
    racing: Literal["exact", "paired", "off"] = "exact"
    top: Count = 10

    @field_validator("sampler")
    @classmethod
    def _has_two_to_cross(cls, sampler: str, info: ValidationInfo) -> str:
        if sampler == "nsga2" and info.data.get("population") == 1:
            raise PydanticCustomError("population", "nsga2 needs a population of at least 2")
        return sampler


class HardwareSettings(Section):
    """What the run computes on; "auto" is resolved, printed and stored.

    `evaluation_batch_size` is the number of images that are evaluated at once; if None it is 64, or on a GPU as many as
    its free memory allows. `augmentation_workers` is the number of processes that augment training images alongside the
    one that trains; if None it is chosen and printed, and it never changes the result. `compile` compiles the blocks
    with torch.compile in training (`noah.model.compiled`). It is meant for GPUs, and the first steps then take minutes.
    `trainers` is the number of processes of a Ray cluster that train the supernet together; if None, one for each GPU
    where there are several, and otherwise the process that searches trains it alone.
    """

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Count | None = None
    evaluation_batch_size: Count | None = None
    augmentation_workers: Annotated[int, Field(ge=0, le=256)] | None = None
    compile: bool = False
    trainers: Count | None = None


class Settings(Section):
    """Everything that determines a run, together with the code and the data.

    `trackers` receive its figures as they come (`noah.trackers`) and change nothing.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    trackers: tuple[Tracker, ...] = ()
    data: DataSettings = DataSettings()
    backbone: BackboneSettings = BackboneSettings()
    space: SpaceSettings = SpaceSettings()
    budget: BudgetSettings = BudgetSettings()
    supernet: SupernetSettings = SupernetSettings(epochs=500, learning_rate=5e-4)
    search: EvolutionSettings = EvolutionSettings()
    retrain: RetrainSettings = RetrainSettings(epochs=100, learning_rate=1e-3)
    hardware: HardwareSettings = HardwareSettings()

    @field_validator("trackers", mode="before")
    @classmethod
    def _is_a_list(cls, names: object) -> object:
        """Turn a single name into a list, as in --set trackers=tensorboard, and drop names given twice."""
        names = [names] if isinstance(names, str) else names
        return (
            list(dict.fromkeys(names)) if isinstance(names, list) and all(isinstance(n, str) for n in names) else names
        )


def has_final(search: EvolutionSettings) -> bool:
    """Whether a search ends with a final of several subnets, each trained on its own."""
    return search.rerank > 1 or (search.rerank == 1 and search.baselines and search.invited != ())


def rerank_epochs(settings: Settings) -> int:
    """Epochs of each finalist's training: as set, or else a quarter of the retraining's."""
    return settings.search.rerank_epochs or max(1, settings.retrain.epochs // 4)
