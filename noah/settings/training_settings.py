"""The settings for training the supernet or the winner, including the augmentation of their images.

The building blocks of all settings sections come first: bounded values, and what a section refuses.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Depth = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Widths = tuple[Count, ...]


class Section(BaseModel):
    """A part of the settings: it is immutable, and refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_LARGEST_RATE = 1e30
"""AdamW multiplies the learning rate by up to ten and then needs it in float32, whose range ends at 3.4e38."""
_RANDAUGMENT = re.compile(
    r"rand(-m([0-9]|10)|-n[1-9]|-p(0(\.[0-9]+)?|1(\.0+)?)|-mstd[0-9]{1,2}(\.[0-9]+)?|-inc[01])*", re.ASCII
)


class AugmentationSettings(Section):
    """Random changes to the training images; all are off by default.

    For single images, in this order: `random_resized_crop` cuts out a share of the area between two bounds and resizes
    it; `horizontal_flip` is a probability; `randaugment` is timm's spelling of RandAugment, such as
    rand-m9-mstd0.5-inc1, with magnitude m (10 by default), n changes per image (2), probability p of each (0.5),
    standard deviation mstd of the magnitude (0), and inc1 for changes that all grow with the magnitude; `color_jitter`
    is the largest relative change in brightness, contrast and saturation. For batches: `random_erasing` is the
    probability that a rectangle of an image becomes noise; `mixup` and `cutmix` are the a of Beta(a, a), from which the
    share of each image in a pair is drawn.
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
        """Whether single images are changed, before they become a batch."""
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
        """Refuse spellings that make timm fail an assertion, or that it silently ignores."""
        parts = re.findall("-([a-z]+)", text or "")
        if text is not None and (not _RANDAUGMENT.fullmatch(text) or len(set(parts)) < len(parts)):
            raise PydanticCustomError(
                "randaugment",
                "must be rand, then any of -m0 to -m10, -n1 to -n9, -p0 to -p1, -mstd0 to -mstd99, -inc0 or -inc1, "
                "each once at most, as in rand-m9-mstd0.5-inc1",
            )
        return text


class TrainingSettings(Section):
    """One training stage: AdamW, linear warm-up, then cosine decay, both per step.

    `prompt_dropout` draws the prompts' dropout either once per batch, so that the prompts' keys and values are computed
    only once per batch, or for each image.

    `accumulation` cuts each batch into so many parts, whose gradients are added up before the optimizer's step.
    `activation_checkpointing` recomputes a block's activations in the backward pass instead of storing them, which
    takes about a third more time. Both save memory and change results by rounding alone, except that `accumulation`
    draws dropout separately for each part.

    With `average_epochs` the trained weights are an exponential average that reaches back about so many epochs; 0 keeps
    those of the last step.
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
    average_epochs: Annotated[float, Field(ge=0, le=1000)] = 0.0
    accumulation: Count = 1
    activation_checkpointing: bool = False
    augmentation: AugmentationSettings = AugmentationSettings()

    @field_validator("warmup_epochs")
    @classmethod
    def _warms_up_in_time(cls, warmup_epochs: float, info: ValidationInfo) -> float:
        epochs = info.data.get("epochs")  # missing if it is itself wrong
        if epochs is not None and warmup_epochs >= epochs:
            raise PydanticCustomError("warmup", "must be fewer than the {epochs} epochs", {"epochs": epochs})
        return warmup_epochs


class SupernetSettings(TrainingSettings):
    """The training of the supernet, and how the subnets of its steps are drawn (`noah.training.subnet_draws`).

    `sampling` "uniform" draws one random subnet per step, as the paper does. "fair" also draws one per step, such that
    every depth and every width takes its turn equally often. "sandwich" trains the largest, the smallest and
    `sandwich_random` random subnets on the batch of each step, and all others learn from the largest; a step then costs
    `sandwich_random` + 2 forward and backward passes instead of one. The other two ignore `sandwich_random`.
    """

    sampling: Literal["uniform", "fair", "sandwich"] = "uniform"
    sandwich_random: Annotated[int, Field(ge=0)] = 2


class RetrainSettings(TrainingSettings):
    """The training of the winner; with `inherit` it starts from the supernet's weights instead of fresh ones.

    `hold_out` is the share of the images that it leaves out, class by class (`noah.prepare.held_out`): half to stop by,
    and half for what is measured before an artifact is accepted. With a `patience` the training ends once the
    cross-entropy on the images to stop by has not fallen for so many epochs, and the best epoch's weights are kept
    (`noah.stages.early_stopping`); with 0 it never ends early.

    With `teachers` "finalists" the winner learns from what the finalists of the search know together, too
    (`noah.stages.teaching`): their mean prediction at `teacher_temperature` makes `teacher_share` of each label.
    """

    inherit: bool = False
    hold_out: Rate = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    teachers: Literal["none", "finalists"] = "none"
    teacher_share: Share = 0.5
    teacher_temperature: Annotated[float, Field(gt=0, le=100)] = 2.0

    @field_validator("patience")
    @classmethod
    def _has_images_to_stop_by(cls, patience: int, info: ValidationInfo) -> int:
        if patience and not info.data.get("hold_out", 1):  # missing if it is itself wrong
            raise PydanticCustomError("patience", "needs images to stop by: set retrain.hold_out, such as to 0.1")
        if patience and info.data.get("average_epochs"):
            raise PydanticCustomError("patience", "cannot go back to an epoch of averaged weights; use one of the two")
        return patience

    @field_validator("teachers")
    @classmethod
    def _teaches_single_images(cls, teachers: str, info: ValidationInfo) -> str:
        augmentation = info.data.get("augmentation")  # missing if it is itself wrong
        if teachers != "none" and augmentation is not None and (augmentation.mixup or augmentation.cutmix):
            raise PydanticCustomError("teachers", "cannot teach images that mixup or cutmix mixes")
        return teachers


Training = TypeVar("Training", bound=TrainingSettings)


def shortened(settings: Training, epochs: int) -> Training:
    """The same settings for another number of epochs, at least 1; the warm-up keeps its share of them."""
    if epochs < 1:
        raise ValueError(f"a training of {epochs} epochs trains nothing")
    warmup_epochs = settings.warmup_epochs * epochs / settings.epochs
    return settings.model_copy(update={"epochs": epochs, "warmup_epochs": warmup_epochs})
