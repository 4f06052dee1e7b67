"""What the stages of a run give back: small values, each with the figures that matter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.artifact.manifest import Manifest, read_manifest
from export.artifact.records import Parity
from noah.evaluation.significance import wilson_interval
from noah.runs.stored_results import chosen_by
from noah.space.subnet import Subnet

if TYPE_CHECKING:
    from noah.api.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Winner:
    """The subnet that a search chose, and what the choice rests on.

    Attributes:
        subnet: Its widths.
        parameters: Its trainable parameters, without the head.
        accuracy: Its accuracy on the validation images, 0..1: after its own training in a final, or with the supernet's
            weights if there was none. They chose it, so expect less elsewhere.
        standard_error: The standard error of the accuracy.
        images: Number of validation images.
        evaluated: How many subnets were evaluated.
        planned: How many were planned.
        stopped: What ended the search early, such as "time limit"; None if nothing did.
        costs: What the subnet costs in each bounded quantity.
        budget: The bounds.
    """

    subnet: Subnet
    parameters: int
    accuracy: float
    standard_error: float
    images: int
    evaluated: int
    planned: int
    stopped: str | None
    costs: Mapping[str, float]
    budget: Mapping[str, float]

    def __repr__(self) -> str:
        return (
            f"<Winner: {self.parameters:,} parameters, {self.accuracy:.1%} ± {self.standard_error:.1%} of "
            f"{self.images:,} validation images, of {self.evaluated:,} subnets>"
        )

    @classmethod
    def from_json(cls, result: Mapping[str, Any]) -> Winner:
        """Read the content of search/best.json."""
        names = ("parameters", "evaluated", "planned", "stopped", "costs", "budget")
        score = chosen_by(result)
        return cls(
            subnet=Subnet.from_json(result["subnet"]),
            accuracy=score["accuracy"],
            standard_error=score["standard_error"],
            images=score["total"],
            **{name: result[name] for name in names},
        )


@dataclass(frozen=True, slots=True)
class Retraining:
    """A finished final training.

    Attributes:
        subnet: The widths that were trained.
        parameters: Trainable parameters of the modules.
        head_parameters: Trainable parameters of the head.
        images: Number of training images.
        losses: The mean loss of each epoch.
    """

    subnet: Subnet
    parameters: int
    head_parameters: int
    images: int
    losses: tuple[float, ...]

    def __repr__(self) -> str:
        return (
            f"<Retraining: {self.parameters:,} parameters and a head of {self.head_parameters:,} on {self.images:,} "
            f"images, final loss {self.loss:.3f}>"
        )

    @property
    def loss(self) -> float:
        """The mean loss of the last epoch."""
        return self.losses[-1]

    @classmethod
    def from_json(cls, result: Mapping[str, Any]) -> Retraining:
        """Read the content of retrain/model.json."""
        names = ("parameters", "head_parameters", "images")
        return cls(
            subnet=Subnet.from_json(result["subnet"]),
            losses=tuple(result["losses"]),
            **{name: result[name] for name in names},
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A measured accuracy.

    Attributes:
        split: Which images: "test", or the name of another dataset.
        correct: How many are right.
        total: How many there are.
        cross_entropy: Mean over all images, in nats.
        calibration_error: How far probabilities are from the share that is right, on average, 0..1.
        class_accuracy: The accuracy of each class; None for a class without images.
        top5_accuracy: The share of images whose class is among the five most likely; None with five classes or fewer.
        temperature: What logits are divided by before they become probabilities; None if none was fitted.
        calibrated_error: The calibration error at that temperature.
        left_out: How many images could not be read, and were not measured.
        seen: How many of the images the network has seen in training, exactly or nearly; None if that is not known.
        accuracy_unseen: The accuracy without these; None if there are none, or nothing else.
        earlier: For a run that goes on from another (`Run.retrain_on`), how many of the images the other was tested
            on, and how many of these it had right and this one has right.
    """

    split: str
    correct: int
    total: int
    cross_entropy: float
    calibration_error: float
    class_accuracy: Mapping[str, float | None]
    top5_accuracy: float | None = None
    temperature: float | None = None
    calibrated_error: float | None = None
    left_out: int = 0
    seen: int | None = None
    accuracy_unseen: float | None = None
    earlier: tuple[int, int, int] | None = None

    def __repr__(self) -> str:
        return f"<Evaluation: {self}>"

    @property
    def accuracy(self) -> float:
        """The share of images that are right, 0..1."""
        return self.correct / self.total

    @property
    def standard_error(self) -> float:
        """The binomial standard error of the accuracy."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.total)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the accuracy."""
        return wilson_interval(self.correct, self.total)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.accuracy:.2%} of {self.total:,} images right, 95% interval {low:.1%} to {high:.1%} ({self.split})"
        )

    @classmethod
    def from_json(cls, result: Mapping[str, Any]) -> Evaluation:
        """Read the content of a result's file."""
        cross_entropy, calibrated = result["cross_entropy"], result.get("calibrated", {})
        duplicates, earlier = result.get("duplicates") or {}, result.get("earlier")
        return cls(
            split=result.get("split", "test"),
            correct=result["correct"],
            total=result["total"],
            cross_entropy=math.inf if cross_entropy is None else cross_entropy,
            calibration_error=result["calibration_error"],
            class_accuracy=result["class_accuracy"],
            top5_accuracy=result.get("top5_accuracy"),
            temperature=calibrated.get("temperature"),
            calibrated_error=calibrated.get("calibration_error"),
            left_out=len(result.get("left_out", {}).get("images", [])),
            seen=duplicates.get("exact", 0) + duplicates.get("near", 0) if duplicates.get("checked") else None,
            accuracy_unseen=duplicates.get("accuracy_without"),
            earlier=earlier and (earlier["images"], earlier["right_before"], earlier["right_after"]),
        )


@dataclass(frozen=True, slots=True)
class Artifact:
    """An exported network in a folder; stands for its path wherever one is expected.

    Attributes:
        path: The folder.
        manifest: What `manifest.json` in it says.
    """

    path: Path
    manifest: Manifest

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return (
            f"<Artifact {self.path}: {self.format}, {self.precision}, {self.bytes / 2**20:.1f} MiB, "
            f"differs by at most {self.max_difference:.1g} from the model>"
        )

    @property
    def format(self) -> str:
        """The kind of artifact: onnx, openvino, trt, triton, safetensors, timm, pt2 or coreml."""
        return self.manifest.format

    @property
    def precision(self) -> str:
        """The number format: fp32, fp16, bf16, int8 or int8-dynamic."""
        return self.manifest.precision

    @property
    def bytes(self) -> int:
        """The size of all files in the folder."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    @property
    def proofs(self) -> tuple[Parity, ...]:
        """The comparisons with the model in torch that the artifact passed, at least one."""
        return self.manifest.parity

    @property
    def max_difference(self) -> float:
        """The largest difference of a logit or probability that a comparison found, as `proofs` measures it."""
        return max(batch.max_difference for proof in self.proofs for batch in proof.batches)

    def predictor(self, **options: Any) -> Predictor:
        """Open the artifact; options are those of `noah.Predictor`.

        Raises:
            NoahError: As `noah.Predictor` does.
        """
        from noah.api.predictor import Predictor

        return Predictor(self.path, **options)

    @classmethod
    def open(cls, path: Path) -> Artifact:
        """Read an artifact's manifest.

        Raises:
            ArtifactError: If there is none, or it is damaged.
        """
        return cls(path, read_manifest(path))
