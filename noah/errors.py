"""The one exception tree of the project.

Every error that a person can cause or fix is a `NoahError`: it says what is wrong and where, then what to type or do
next.

    NoahError                        exit code 1
    ├── UsageError                   exit code 2: what was typed cannot be done
    │   ├── SettingsError            one or more settings are wrong; all are reported at once
    │   ├── DatasetNotFoundError     there is no dataset of that name or at that path
    │   ├── UnknownBackboneError     there is no backbone of that name or at that path
    │   ├── EmptySpaceError          the budget admits no subnet of the search space
    │   ├── RunExistsError           the run folder is already in use
    │   ├── CommandOrderError        another command has to come first
    │   └── StorageNotSeenError      a machine of a cluster does not see the place that all of them need
    ├── DataError                    the dataset was found, and something in it is wrong
    │   ├── NoTestSplitError         there are no images to test on
    │   └── UnreadableImageError     one or more image files cannot be decoded
    ├── BackboneError                the backbone was found and cannot be used
    │   ├── UnsupportedBackboneError the architecture is not one that the method covers
    │   ├── CheckpointError          the keys or shapes of a checkpoint do not fit
    │   └── DownloadError            the model hub or a data server cannot be reached
    ├── TrainingError                training went wrong; for example, the loss is not finite
    ├── ProcessError                 another process started by the same launcher has stopped
    ├── RunError                     a file of the run folder is missing or damaged
    │   └── RunBusyError             another process is working on the run
    ├── ExportError                  an artifact could not be written
    │   └── ParityError              an artifact does not agree with the model it was made from
    ├── ArtifactError                an artifact cannot be read or run
    │   └── NotHereError             nothing is wrong with it, but this machine cannot run it
    └── MissingPackageError          an optional package is not installed
"""

from __future__ import annotations

from typing import ClassVar


class NoahError(Exception):
    """An error that is reported in one or two lines.

    Args:
        problem: What is wrong, and where.
        hint: What to type or do next; may be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem}\n{self.hint}" if self.hint else self.problem


class UsageError(NoahError):
    """What was typed cannot be done."""

    exit_code: ClassVar[int] = 2


class SettingsError(UsageError):
    """One or more settings are wrong; `problems` holds a line for each."""

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("\n".join(problems), hint)
        self.problems = problems

    def __reduce__(self) -> tuple[type[SettingsError], tuple[list[str], str]]:
        return (type(self), (self.problems, self.hint))


class DatasetNotFoundError(UsageError):
    """There is no dataset of that name or at that path."""


class UnknownBackboneError(UsageError):
    """There is no backbone of that name or at that path."""


class EmptySpaceError(UsageError):
    """The budget admits no subnet of the search space."""


class RunExistsError(UsageError):
    """The run folder is already in use."""


class CommandOrderError(UsageError):
    """Another command has to come first."""


class StorageNotSeenError(UsageError):
    """A machine of a cluster does not see the place that all of them need, so that whatever it took would fail."""


class DataError(NoahError):
    """The dataset was found, and something in it is wrong."""


class NoTestSplitError(DataError):
    """There are no images to test on."""


class UnreadableImageError(DataError):
    """One or more image files cannot be decoded.

    Args:
        problem: What is wrong, and where.
        hint: What to type or do next; may be empty.
        cause: What is wrong, without the file's name, for places that name the file themselves; defaults to `problem`.
    """

    def __init__(self, problem: str, hint: str = "", cause: str = "") -> None:
        super().__init__(problem, hint)
        self.cause = cause or problem


class BackboneError(NoahError):
    """The backbone was found and cannot be used."""


class UnsupportedBackboneError(BackboneError):
    """The architecture is not one that the method covers."""


class CheckpointError(BackboneError):
    """The keys or shapes of a checkpoint do not fit."""


class DownloadError(BackboneError):
    """The model hub or a data server cannot be reached."""


class TrainingError(NoahError):
    """Training went wrong; for example, the loss is not finite."""


class ProcessError(NoahError):
    """Another process started by the same launcher has stopped."""


class RunError(NoahError):
    """A file of the run folder is missing or damaged."""


class RunBusyError(RunError):
    """Another process is working on the run."""


class ExportError(NoahError):
    """An artifact could not be written."""


class ParityError(ExportError):
    """An artifact does not agree with the model it was made from."""


class ArtifactError(NoahError):
    """An artifact cannot be read or run."""


class NotHereError(ArtifactError):
    """Nothing is wrong with an artifact, but this machine cannot run it."""


class MissingPackageError(NoahError):
    """An optional package is not installed."""


def inside_sentence(message: str) -> str:
    """Adapt a message that begins with a capital letter to the middle of a sentence.

    Only its first letter changes, and not that of a word such as URL: the rest may quote what the user typed.
    """
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]


def system_cause(error: OSError) -> str:
    """The operating system's message, for the middle of a sentence; if there is none, the text of the error itself.

    That text is not adapted, because it may begin with a path.
    """
    return inside_sentence(error.strerror) if error.strerror else str(error) or type(error).__name__
