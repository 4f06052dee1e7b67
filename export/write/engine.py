"""Builds an engine into an artifact that is being written, and runs it if there is a GPU that can."""

from __future__ import annotations

from export.artifact.manifest import ENGINE_FILE
from export.artifact.records import NOT_VERIFIED, EngineRecord, Parity
from export.convert.to_tensorrt import build_engine
from export.runtime.engine import open_engine, why_not_run
from export.write.onnx_artifact import Draft
from export.write.proof import prove_engine


def add_engine(draft: Draft) -> tuple[EngineRecord, tuple[Parity, ...]]:
    """Build the engine with the builder of the request, and prove it; without a GPU there is no proof.

    Raises:
        ExportError: If it cannot be built.
        ParityError: If it was run and does not agree with the torch model.
        ValueError: If the request names no builder.
    """
    builder, listener, evidence = draft.request.builder, draft.listener, draft.evidence
    if builder is None:
        raise ValueError("the request names nothing that builds an engine")
    file = draft.folder / ENGINE_FILE
    listener.say(f"builder   {builder.package} {builder.version} ({builder.reason})")
    listener.say(f"building  {file.name} for {', '.join(builder.targets)}, batches {evidence.profile}")
    cache = draft.run.path("export", f"{builder.package}-{builder.version}-timing.cache")
    record = build_engine(draft.file, file, builder, evidence.profile, evidence.precision, cache)
    listener.say(f"built     {file.name} in {record.build_seconds:.1f} s; timing cache: {record.timing_cache}")
    for warning in record.warnings:
        listener.say(f"          {builder.package} warns: {warning}")
    missing = why_not_run(record)
    if missing:
        listener.say(f"          The engine was {NOT_VERIFIED}: {missing}. Its ONNX file was checked.")
        return record.model_copy(update={"verified": f"{NOT_VERIFIED}: {missing}"}), ()
    parity = prove_engine(open_engine(file, record), evidence, listener)
    return record.model_copy(update={"verified": f"run by {parity.runs_on}"}), (parity,)
