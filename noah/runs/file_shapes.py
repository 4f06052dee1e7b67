"""What later commands rely on in a run's files; a file with anything else leads to an error, not to a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, ValidationError
from typing_extensions import TypedDict

from noah.errors import RunError
from noah.files.packed import unpack_images
from noah.files.record import adapter, first_problem

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Texts = dict[str, Any]


def _check_images(text: str) -> str:
    unpack_images(text)
    return text


Images = list[Count] | Annotated[str, AfterValidator(_check_images)]
"""Numbers of images, plain as earlier versions wrote them or packed (`noah.files.packed`)."""


class ToldChoice(TypedDict):
    """An automatic choice (`noah.hardware.choice.Choice`)."""

    what: str
    value: str
    reason: str


class Description(TypedDict):
    """The content of run.yaml."""

    settings: Texts
    data: NotRequired[Texts]
    given: NotRequired[Texts | None]
    backbone: NotRequired[Texts]
    versions: NotRequired[Texts]
    classes: NotRequired[list[str]]
    images: NotRequired[Texts]
    choices: NotRequired[list[ToldChoice]]


class LeftOut(TypedDict):
    """The images of a test split that could not be read and so were not measured."""

    of: Size
    images: list[str]


class Calibrated(TypedDict):
    """What a test gives once logits are divided by the run's temperature."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    cross_entropy: float
    calibration_error: float


class TestedTwice(TypedDict):
    """What the test images have in common with those that the run began with (`noah.prepare.common_images`)."""

    checked: bool
    reason: NotRequired[str]
    exact: NotRequired[Count]
    near: NotRequired[Count]
    groups: NotRequired[Count]
    accuracy_without: NotRequired[Share | None]
    images: NotRequired[list[list[str]]]


class Result(TypedDict):
    """The content of eval/test.json, eval/artifact/<name>.json and eval/on/<name>.json."""

    correct: Count
    total: Size
    accuracy: Share
    standard_error: float
    cross_entropy: float
    calibration_error: float
    calibrated: NotRequired[Calibrated]
    class_accuracy: Annotated[dict[str, Share | None], Field(min_length=1)]
    top5_accuracy: NotRequired[Share]
    split: NotRequired[str]
    duplicates: NotRequired[TestedTwice]
    left_out: NotRequired[LeftOut]
    repaired: NotRequired[Size]


class Sure(TypedDict):
    """How certain a choice is (`noah.nas.certainty`)."""

    wins: Annotated[list[Share], Field(min_length=1)]
    images: Size
    resamples: Size
    lead: float | None
    lead_error: float | None
    indices: Annotated[list[Count], Field(min_length=1)]


class Finalist(TypedDict):
    """A line of search/rerank.jsonl."""

    index: Count
    subnet: dict[str, list[Count]]
    correct: Count
    total: Size
    accuracy: Share
    standard_error: float
    cross_entropy: Finite
    calibrated_cross_entropy: NotRequired[Finite | None]
    losses: list[float]


class BestSingle(TypedDict):
    """The best single module of a final, whether it was handed over, and the lead of the first finalist over it.

    There is no lead where it is itself the first. `others` counts the finalists that are no single modules.
    """

    index: Count
    kind: str
    won: NotRequired[bool]
    others: NotRequired[Count]
    lead: NotRequired[Finite]
    lead_error: NotRequired[Finite]


class Finalists(TypedDict):
    """The final choice among the best candidates (`noah.stages.rerank`)."""

    finalists: Annotated[list[Finalist], Field(min_length=1)]
    by: NotRequired[str]
    certainty: Sure
    single: NotRequired[BestSingle]


class Typical(TypedDict):
    """What random subnets of the budget give on average."""

    subnets: Size
    accuracy: Share
    standard_error: Finite


class Winner(TypedDict):
    """The content of search/best.json."""

    index: Count
    origin: str
    subnet: dict[str, list[Count]]
    parameters: Count
    correct: Count
    total: Size
    accuracy: Share
    standard_error: float
    cross_entropy: float
    wrong: Images
    shown: NotRequired[Images | None]
    evaluated: Size
    planned: Size
    stopped: str | None
    exhausted: NotRequired[bool]
    as_good: Count
    given_up: Count
    images_shown: Count
    budget: dict[str, Finite]
    costs: dict[str, Finite]
    objective: str
    certainty: NotRequired[Sure | None]
    rerank: NotRequired[Finalists | None]
    typical: NotRequired[Typical | None]


class FrontCandidate(TypedDict):
    """An entry of search/pareto.json."""

    subnet: dict[str, list[Count]]
    accuracy: Share
    cost: Finite


class Plan(TypedDict):
    """The content of supernet/plan.json."""

    epochs: Size


class Study(TypedDict):
    """The content of search/study.json."""

    name: str


class Trained(TypedDict):
    """The content of retrain/model.json."""

    subnet: dict[str, list[Count]]
    losses: list[float]


def check_shape(value: Any, shape: Any, path: Path, hint: str) -> Any:
    """Check the shape of a value that was read from a file, and return it.

    Args:
        value: The value that was read.
        shape: One of the classes of this module, or a list of one; additional keys are allowed.
        path: The file that the error names.
        hint: What to type if the value is wrong.

    Raises:
        RunError: If it has another shape; it names the first place that does not fit.
    """
    try:
        adapter(shape).validate_python(value, strict=True)
    except (ValidationError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {first_problem(error)}.", hint) from error
    return value


def check_winner(value: Any, path: Path, hint: str) -> dict[str, Any]:
    """Check the shape of search/best.json, and that its parts agree with each other."""
    winner: dict[str, Any] = check_shape(value, Winner, path, hint)
    if winner["correct"] > winner["total"] or not winner["budget"].keys() - {"parameters"} <= winner["costs"].keys():
        raise RunError(f"{path} is damaged: its figures contradict each other.", hint)
    finalists = (winner.get("rerank") or {}).get("finalists")
    if finalists is not None and all(finalist["index"] != winner["index"] for finalist in finalists):
        raise RunError(f"{path} is damaged: the winner is no finalist.", hint)
    sures = [winner.get("certainty"), (winner.get("rerank") or {}).get("certainty")]
    if any(sure and len(sure["wins"]) != len(sure["indices"]) for sure in sures):
        raise RunError(f"{path} is damaged: its certainty belongs to other candidates.", hint)
    return winner
