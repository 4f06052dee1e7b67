"""`noah.Run`: a run from Python, with a method for each stage."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from export.artifact.manifest import MANIFEST_FILE
from noah.api.evaluating import evaluate_exported, evaluate_run, evaluation_layers, open_tested
from noah.api.exporting import export_run, plan_export
from noah.api.keywords import OWN, run_layers, seconds
from noah.api.process_state import as_found
from noah.api.results import Artifact, Evaluation, Retraining, Winner
from noah.api.retraining import begin_continued, open_retraining, run_retraining
from noah.api.searching import resume_search, share_search
from noah.api.watching import Progress, listener_for
from noah.errors import NoahError, UsageError
from noah.prepare.continued_run import continued_settings
from noah.progress import counted
from noah.runs.folder import Run as Folder
from noah.runs.run_subnet import chosen_subnet, given_subnet
from noah.runs.stored_results import read_test, read_winner
from noah.settings.option_layers import option_layers
from noah.settings.settings import Settings
from noah.space.subnet import Subnet

if TYPE_CHECKING:
    from export.artifact.records import Int8Calibration, Precision, Purpose

Track = str | Sequence[str] | None


class Run:
    """A run: a folder with everything about one subnet on one dataset. `noah.search` and `noah.open_run` give one.

    Each method is a stage, does what the command of that name does, and returns what it found as a value. A stage that
    is done is read from the folder, not repeated. `search` goes on where it was interrupted; `retrain` has to be told
    to. Errors are those of `noah.errors`, and their hints name the command or its option; a keyword argument is called
    as that option is.

    Args:
        folder: The run folder.
        progress: True prints what the commands print; a listener (`noah.progress.Listener`) receives it instead; False
            leaves only warnings, as Python warnings.
    """

    def __init__(self, folder: Folder, *, progress: Progress = False) -> None:
        self._folder = folder
        self.progress = progress

    def __repr__(self) -> str:
        return f"<Run {self.name}: {', '.join(self._state())}>"

    @property
    def name(self) -> str:
        """DATASET/ID, as `noah.open_run` and --run take it."""
        return self._folder.name

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._folder.folder

    @property
    def settings(self) -> Settings:
        """Every setting that the run was started with."""
        return self._folder.settings()

    @property
    def subnet(self) -> Subnet:
        """The subnet that the run trains: the winner of its search, or the one that was given.

        Raises:
            CommandOrderError: If the search has not finished.
        """
        return chosen_subnet(self._folder)

    @property
    def winner(self) -> Winner | None:
        """What the search found; None if it has not finished, or the subnet was given."""
        if not self._folder.path("search", "best.json").is_file():
            return None
        return Winner.from_json(read_winner(self._folder))

    @property
    def evaluation(self) -> Evaluation | None:
        """The accuracy on the test split; None if it has not been measured."""
        test = read_test(self._folder)
        return None if test is None else Evaluation.from_json(test)

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """What has been exported, by the names of the folders."""
        found = sorted(self._folder.path("export").glob(f"*/{MANIFEST_FILE}"))
        return {path.parent.name: Artifact.open(path.parent) for path in found if not path.parent.name.startswith(".")}

    def search(
        self,
        *,
        time_limit: str | float | timedelta | None = None,
        device: str | None = None,
        precision: str | None = None,
        threads: int | None = None,
        track: Track = None,
    ) -> Winner:
        """Go on with a search that was stopped; one that is finished is only read.

        Args:
            time_limit: Stop in time to have a winner after this long: "20m", seconds, or a timedelta.
            device: Device to compute on: auto, cpu, cuda or mps.
            precision: Precision to compute in: auto, fp32 or bf16.
            threads: CPU threads.
            track: tensorboard, wandb or none.

        Raises:
            UsageError: If the run's subnet was given.
            RunBusyError: If another process works on the run.
            NoahError: If anything else is wrong.
        """
        limit = seconds(time_limit)
        own = option_layers(device=device, precision=precision, threads=threads, track=track)
        with as_found():
            return Winner.from_json(resume_search(self._folder, listener_for(self.progress), own=own, time_limit=limit))

    def join(
        self,
        *,
        time_limit: str | float | timedelta | None = None,
        device: str | None = None,
        precision: str | None = None,
        threads: int | None = None,
        track: Track = None,
    ) -> Winner | None:
        """Work on a search together with the process that started it.

        Args:
            time_limit: As in `search`.
            device: As in `search`.
            precision: As in `search`.
            threads: As in `search`.
            track: As in `search`.

        Returns:
            The winner; None if the process that started the search is yet to choose it.

        Raises:
            NoahError: As in `search`.
        """
        limit = seconds(time_limit)
        own = option_layers(device=device, precision=precision, threads=threads, track=track)
        with as_found():
            found = share_search(self._folder, listener_for(self.progress), own=own, time_limit=limit)
        return None if found is None else Winner.from_json(found)

    def retrain(
        self,
        *,
        resume: bool = False,
        restart: bool = False,
        inherit: bool = False,
        data: str | os.PathLike[str] | None = None,
        device: str | None = None,
        precision: str | None = None,
        threads: int | None = None,
        track: Track = None,
    ) -> Retraining:
        """Train the subnet on training and validation images together, and keep it in the run.

        Args:
            resume: Go on with a stopped training.
            restart: Discard an earlier training and start again.
            inherit: Start from the supernet's weights instead of fresh modules.
            data: Where the run's images are now, if they have moved.
            device: As in `search`.
            precision: As in `search`.
            threads: As in `search`.
            track: As in `search`.

        Returns:
            What the training gave; that of an earlier training, if there is one.

        Raises:
            CommandOrderError: If the search has not finished.
            UsageError: If an earlier training was stopped, and neither `resume` nor `restart` is given.
            RunBusyError: If another process works on the run.
            NoahError: If anything else is wrong.
        """
        listener = listener_for(self.progress)
        own = option_layers(device=device, precision=precision, threads=threads, track=track)
        with as_found():
            materials = open_retraining(
                self._folder, listener, own, resume=resume, restart=restart, inherit=inherit, data=_path(data)
            )
            if materials is None:
                return Retraining.from_json(self._folder.read_json("retrain", "model.json"))
            return Retraining.from_json(run_retraining(self._folder, materials, listener, restart=restart))

    def retrain_on(
        self,
        data: str | os.PathLike[str],
        *,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Run:
        """Go on from this run in a new one, with images that have grown, as `noah retrain --from` does.

        The new run keeps the subnet and starts from the weights of this one; its head has fresh rows for new classes.

        Args:
            data: The images, those of this run among them.
            name: Name of the new run; None takes the date and time.
            settings: Settings that differ, nested or by dotted key.
            options: Any other option of `noah retrain` that is a setting, such as seed=1 or device="cpu".

        Returns:
            The new run, retrained.

        Raises:
            CommandOrderError: If this run has not been retrained.
            UsageError: If its images have a name instead of a place, or the new ones are others entirely.
            NoahError: If anything else is wrong.
        """
        listener = listener_for(self.progress)
        of_run = {name: value for name, value in options.items() if name not in OWN}
        own = option_layers(**{name: value for name, value in options.items() if name in OWN})
        chosen, origins = continued_settings(self._folder, [*run_layers({"data": data} | of_run, settings), *own])
        with as_found():
            runs = self._folder.folder.parent.parent
            made, materials = begin_continued(listener, runs, self._folder, name, chosen, origins)
            run_retraining(made, materials, listener)
        return Run(made, progress=self.progress)

    def evaluate(
        self,
        artifact: str | os.PathLike[str] | None = None,
        *,
        on: str | os.PathLike[str] | None = None,
        data: str | os.PathLike[str] | None = None,
        allow_copies: bool = False,
        damaged: Literal["stop", "skip"] | None = None,
        again: bool = False,
        device: str | None = None,
        precision: str | None = None,
        threads: int | None = None,
    ) -> Evaluation:
        """Measure the accuracy on the test split, which no other stage opens.

        Args:
            artifact: Measure this exported artifact; None measures the retrained subnet itself.
            on: Measure on another dataset with all or some of the same classes: a name or a folder.
            data: Where the run's images are now, if they have moved.
            allow_copies: Go on although every image of one split is also in another.
            damaged: What happens to test images that cannot be decoded: "stop", or "skip", which leaves out up to 10 %.
                None does as the run was started.
            again: Measure again, even if there is a result.
            device: As in `search`; on cpu, no GPU runs an artifact either.
            precision: As in `search`; an artifact has its own.
            threads: As in `search`.

        Raises:
            CommandOrderError: If the subnet has not been retrained.
            ArtifactError: If the artifact does not belong to this run.
            NoahError: If anything else is wrong.
        """
        listener = listener_for(self.progress)
        own = option_layers(device=device, precision=precision, threads=threads)
        own += evaluation_layers(self._folder, allow_copies=allow_copies, damaged=damaged)
        moved = _path(data)
        with as_found():
            if artifact is None:
                where = None if on is None else os.fspath(on)
                found = evaluate_run(self._folder, listener, own, on=where, again=again, data=moved)
                return Evaluation.from_json(found.result)
            if on is not None:
                raise UsageError("--on measures the retrained winner, not an artifact.", "Leave out one of them.")
            predictor, _ = open_tested(Path(artifact), device=device, precision=precision, threads=threads)
            found = evaluate_exported(self._folder, predictor, listener, own, again=again, data=moved)
            return Evaluation.from_json(found.result)

    def export(
        self,
        format: str = "onnx",  # noqa: A002  # the option's name
        *,
        precision: Precision | None = None,
        calibration: Int8Calibration | None = None,
        calibration_images: int | None = None,
        exclude_last_block: bool = False,
        smooth: bool = True,
        mixed: bool = True,
        input: Literal["float", "uint8", "image"] | None = None,  # noqa: A002  # the option's name
        input_size: int | None = None,
        output: Literal["logits", "probabilities"] | None = None,
        batch: str | int | None = None,
        target: str | None = None,
        opset: int | None = None,
        for_: Purpose | None = None,
        lose_at_most: float | None = None,
        data: str | os.PathLike[str] | None = None,
        device: str | None = None,
        threads: int | None = None,
    ) -> Artifact:
        """Merge the retrained subnet into a plain network, write it, and check that its outputs are the same.

        Args:
            format: onnx; openvino; trt, with an engine; triton; safetensors, for `noah.load`; timm, a plain timm model;
                pt2, for `torch.export.load`; coreml, for Apple's devices; or auto, which writes and times all that run
                on this machine and keeps the fastest.
            precision: fp32, fp16, bf16, int8 or int8-dynamic; None takes fp32, and fp16 for trt.
            calibration: How int8 finds the range of an activation: minmax, entropy or percentile; None tries all
                until little accuracy is lost.
            calibration_images: Number of training images to calibrate int8 on.
            exclude_last_block: Keep the last block in float32, with int8 or int8-dynamic.
            smooth: Try to move outliers of activations into the weights, with int8 or int8-dynamic.
            mixed: Leave the blocks that lose most in float32 if too much accuracy is lost, with int8 or int8-dynamic.
            input: "float", normalized NCHW; "uint8", raw NHWC pixels; or "image", decoded images of any size.
            input_size: Side of the input in pixels; None takes that of the search.
            output: "logits" or "probabilities".
            batch: Smallest, usual and largest batch, as in "1:32:256"; for auto the one to be fast at, as in "32".
            target: GPUs to build an engine for ahead of time, as in "sm89,sm120".
            opset: ONNX operator set, 18 or more.
            for_: What auto is to be fast for, as --for says: "latency", of single images, or "throughput".
            lose_at_most: Percentage points of accuracy that auto may lose; None takes 0.5.
            data: Where the run's images are now, if they have moved.
            device: Device of the reference in torch.
            threads: CPU threads.

        Raises:
            UsageError: If options contradict one another.
            CommandOrderError: If the subnet has not been retrained.
            ExportError: If a check of what was written fails; an earlier artifact of that name stays then.
            NoahError: If anything else is wrong.
        """
        wanted = plan_export(
            format,
            precision=precision,
            calibration=calibration,
            calibration_images=calibration_images,
            exclude_last_block=exclude_last_block,
            smooth=smooth,
            mixed=mixed,
            input=input,
            input_size=input_size,
            output=output,
            batch=batch,
            target=target,
            opset=opset,
            for_=for_,
            lose_at_most=lose_at_most,
        )
        own = option_layers(device=device, precision="fp32", threads=threads)
        with as_found():
            listener = listener_for(self.progress)
            return Artifact.open(export_run(self._folder, wanted, listener, own, data=_path(data)))

    def _state(self) -> list[str]:
        """What is known, in the order of the stages; what cannot be read is said, not raised."""
        try:
            return list(filter(None, [self._searched(), self._trained(), self._tested(), self._exported()]))
        except NoahError as error:
            return [f"damaged ({error.problem})"]

    def _searched(self) -> str:
        if given_subnet(self._folder) is not None:
            return "given subnet"
        winner = self.winner
        if winner is None:
            return "search not finished"
        state = "stopped" if winner.stopped else "searched"
        return f"{state}, {winner.accuracy:.1%} of {counted(winner.images, 'validation images')}"

    def _trained(self) -> str:
        return "retrained" if self._folder.path("retrain", "model.json").is_file() else ""

    def _tested(self) -> str:
        found = self.evaluation
        return "" if found is None else f"{found.accuracy:.2%} ± {found.standard_error:.2%} on the test split"

    def _exported(self) -> str:
        names = list(self.artifacts)
        return f"exported as {' and '.join(names)}" if names else ""


def _path(value: str | os.PathLike[str] | None) -> Path | None:
    return None if value is None else Path(value)
