"""All settings of a run, with their defaults and their rules; `noah.layers` says where values come from."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from noah.budget_spelling import LATENCY_SPELLING, MACS_SPELLING, read_latency, read_macs

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Widths = tuple[Count, ...]
Tracker = Literal["tensorboard", "wandb"]

_LARGEST_RATE = 1e30
"""AdamW multiplies the learning rate by up to ten and then needs it in float32, which ends at 3.4e38."""
_RANDAUGMENT = re.compile(
    r"rand(-m([0-9]|10)|-n[1-9]|-p(0(\.[0-9]+)?|1(\.0+)?)|-mstd[0-9]{1,2}(\.[0-9]+)?|-inc[01])*", re.ASCII
)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Section):
    """Which images, and how they are split.

    `shots` makes the data set a few-shot set with so many training images a class; `list_seed` chooses among the
    published lists, the run's own seed where it is None.
    """

    dataset: str | None = None
    folder: str | None = None
    root: str = "data"
    shots: Literal[1, 2, 4, 8, 16] | None = None
    list_seed: Literal[0, 1, 2] | None = None
    validation_fraction: Fraction = 0.2
    test_fraction: Fraction = 0.2
    class_weights: Literal["none", "balanced"] = "none"


class BackboneSettings(_Section):
    """Which backbone, and what it sees.

    `mean` and `std` are those of red, green and blue, for pixel values scaled to 0..1. They and `interpolation` are the
    backbone's own where they are None.
    """

    name: str = "vit_base_patch16_224.orig_in21k"
    architecture: str | None = None
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


class SpaceSettings(_Section):
    """The search space: a preset, whose widths and depths can be replaced one by one.

    An empty list of widths leaves the module out. Depths are numbers of blocks that carry a module; the default is the
    quarters of the backbone's depth. With `placement` "first" these are the first blocks, as in the paper; with "any"
    any so many blocks.
    """

    preset: Literal["paper", "wide", "prompt", "lora", "adapter"] = "paper"
    prompt: Widths | None = None
    lora: Widths | None = None
    adapter: Widths | None = None
    depths: Widths | None = None
    placement: Literal["first", "any"] = "first"


class BudgetSettings(_Section):
    """Bounds on a subnet; None bounds nothing.

    `parameters` are the trainable ones of the modules. `macs` are the multiply-accumulates of the merged network for
    one image: a number, with k, M or G, or a multiple of the plain backbone's such as 1.1x. `latency` is the merged
    network's time for one image, such as 12ms, 800us or 0.1s, or a multiple of the plain backbone's: torch's time for a
    batch of `latency_batch_size` images on the device, in the precision and with the threads of the run, divided by
    their number, predicted from timings of single blocks (`noah.latency_table`).
    """

    parameters: Count | None = 640_000
    macs: int | str | None = None
    latency: str | None = None
    latency_batch_size: Count = 1

    @field_validator("macs", mode="before")
    @classmethod
    def _is_work(cls, value: object) -> object:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # 5e9 in YAML
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


class AugmentationSettings(_Section):
    """Random changes of the training images; all are off by default.

    Of one image, in this order: `random_resized_crop` cuts out a share of the area between two bounds and resizes it,
    `horizontal_flip` is a probability, `randaugment` is timm's spelling of RandAugment, such as rand-m9-mstd0.5-inc1:
    magnitude m (10), n changes an image (2), probability p of each (0.5), standard deviation mstd of the magnitude (0),
    and inc1 for changes that all grow with the magnitude. `color_jitter` is the largest relative change of brightness,
    contrast and saturation. Of a batch: `random_erasing` is the probability that a rectangle of an image becomes noise,
    `mixup` and `cutmix` are the a of Beta(a, a), from which the share of each image of a pair is drawn.
    """

    random_resized_crop: tuple[Share, Share] | None = None
    horizontal_flip: Probability = 0.0
    randaugment: str | None = None
    color_jitter: Probability = 0.0
    random_erasing: Probability = 0.0
    mixup: Annotated[float, Field(ge=0, le=100)] = 0.0
    cutmix: Annotated[float, Field(ge=0, le=100)] = 0.0

    @property
    def changes_images(self) -> bool:
        """Whether anything is done to single images, before they become a batch."""
        return bool(
            self.random_resized_crop is not None
            or self.horizontal_flip
            or self.randaugment is not None
            or self.color_jitter
        )

    @field_validator("random_resized_crop", mode="before")
    @classmethod
    def _is_two_shares(cls, values: object) -> object:
        if values is not None and not (isinstance(values, list | tuple) and len(values) == 2):
            raise PydanticCustomError("shares", "must be two shares of the area, such as [0.08, 1]")
        return values

    @field_validator("random_resized_crop")
    @classmethod
    def _grows(cls, shares: tuple[float, float] | None) -> tuple[float, float] | None:
        if shares and shares[0] > shares[1]:
            raise PydanticCustomError("shares", "the smaller share of the area must come first")
        return shares

    @field_validator("randaugment")
    @classmethod
    def _is_what_timm_reads(cls, text: str | None) -> str | None:
        """Refuse what makes timm fail an assertion, and what it silently leaves out."""
        parts = re.findall("-([a-z]+)", text or "")
        if text is not None and (not _RANDAUGMENT.fullmatch(text) or len(set(parts)) < len(parts)):
            raise PydanticCustomError(
                "randaugment",
                "must be rand, then any of -m0 to -m10, -n1 to -n9, -p0 to -p1, -mstd0 to -mstd99, -inc0 or -inc1, "
                "each once at most, as in rand-m9-mstd0.5-inc1",
            )
        return text


class TrainingSettings(_Section):
    """One training stage: AdamW, linear warm-up, then cosine decay, both per step.

    `prompt_dropout` draws the prompts' dropout once a batch, which allows keys and values of prompts to be computed
    once a batch, or for each image.

    `accumulation` cuts each batch into so many parts, whose gradients are added up before the optimiser's step, and
    `activation_checkpointing` computes what a block remembered for its backward pass anew there. Both save memory and
    change results by rounding alone, but that with `accumulation` each part has a dropout of its own; the second takes
    about a third more time.
    """

    epochs: Count
    batch_size: Count = 64
    learning_rate: Annotated[float, Field(gt=0, le=_LARGEST_RATE)]
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 1e-4
    warmup_epochs: Annotated[float, Field(ge=0, validate_default=True)] = 10
    warmup_learning_rate: Annotated[float, Field(ge=0, le=_LARGEST_RATE)] = 1e-6
    minimum_learning_rate: Annotated[float, Field(ge=0, le=_LARGEST_RATE)] = 1e-5
    dropout: Rate = 0.1
    drop_path: Rate = 0.1
    prompt_dropout: Literal["per_batch", "per_image"] = "per_batch"
    label_smoothing: Rate = 0.0
    accumulation: Count = 1
    activation_checkpointing: bool = False
    augmentation: AugmentationSettings = AugmentationSettings()

    @field_validator("warmup_epochs")
    @classmethod
    def _warms_up_in_time(cls, warmup_epochs: float, info: ValidationInfo) -> float:
        epochs = info.data.get("epochs")  # missing where it is wrong itself
        if epochs is not None and warmup_epochs >= epochs:
            raise PydanticCustomError("warmup", "must be fewer than the {epochs} epochs", {"epochs": epochs})
        return warmup_epochs


class SupernetSettings(TrainingSettings):
    """The training of the supernet, and how the subnets of its steps are drawn (`noah.subnet_draws`).

    `sampling` "uniform" draws one subnet a step at random, as the paper does. "fair" draws one a step as well, such
    that every depth and every width takes its turn equally often. "sandwich" trains the largest, the smallest and
    `sandwich_random` random subnets on the batch of each step, of which all but the largest learn from the largest; a
    step then costs `sandwich_random` + 2 forward and backward passes instead of one. `sandwich_random` means nothing
    to the other two.
    """

    sampling: Literal["uniform", "fair", "sandwich"] = "uniform"
    sandwich_random: Annotated[int, Field(ge=0)] = 2


class RetrainSettings(TrainingSettings):
    """The training of the winner; `inherit` starts it from the supernet's weights instead of fresh ones."""

    inherit: bool = False


class EvolutionSettings(_Section):
    """The evolutionary search of the paper (section 3.3), and how its candidates race (`noah.racing`).

    The `sampler` is "evolution", "random" for nothing but random subnets, Optuna's "nsga2" or "tpe", or "published" for
    the search of the published code (`noah.published_search`), which races no candidates.

    The `objective` is accuracy alone, or accuracy and a cost: trainable parameters, or multiply-accumulates or latency
    of an image. Two objectives give a Pareto front. `storage` is the URL of a database that holds the search; without
    one it is a file in the run's folder.

    The best `rerank` candidates are trained for `rerank_epochs` (a quarter of the retraining's where that is None) on
    the training images, each on its own, and the winner is chosen anew by what they are then (`noah.rerank`); with 0
    the search's own ranking decides.

    `racing` "exact" gives a candidate up once it provably cannot be among the best `top`, or among the `parents` where
    these are more; "paired" also one that a sign test finds worse; "off" shows every candidate every image.

    A mutation draws each width anew with `gene_probability` and each depth with `depth_probability`. A crossover takes
    each module whole from one parent with `module_crossover`, else each width from either.
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
    rerank: Annotated[int, Field(ge=0)] = 0
    rerank_epochs: Count | None = None
    racing: Literal["exact", "paired", "off"] = "exact"
    top: Count = 10

    @field_validator("sampler")
    @classmethod
    def _has_two_to_cross(cls, sampler: str, info: ValidationInfo) -> str:
        if sampler == "nsga2" and info.data.get("population") == 1:
            raise PydanticCustomError("population", "nsga2 needs a population of at least 2")
        return sampler


class HardwareSettings(_Section):
    """What the run computes on; "auto" is resolved, printed and stored.

    `evaluation_batch_size` is the number of images that are evaluated at once; where it is None it is 64, or on a GPU
    chosen by its free memory. `augmentation_workers` is the number of processes that augment training images beside the
    one that trains; it is chosen and printed where it is None, and has no influence on the result. `compile` has
    torch.compile make code of the blocks in training (`noah.compiled`), for GPUs; the first steps then take minutes.
    """

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Count | None = None
    evaluation_batch_size: Count | None = None
    augmentation_workers: Annotated[int, Field(ge=0, le=256)] | None = None
    compile: bool = False


class Settings(_Section):
    """Everything that, with the code and the data, decides a run.

    `trackers` are told its figures as they come (`noah_cli.trackers`), and decide nothing.
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
        """One name alone is a list of one, as in --set trackers=tensorboard; a name that stands twice counts once."""
        names = [names] if isinstance(names, str) else names
        return (
            list(dict.fromkeys(names)) if isinstance(names, list) and all(isinstance(n, str) for n in names) else names
        )
