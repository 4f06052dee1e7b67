"""Where an artifact comes from: the parts of a manifest that all formats share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.artifact.manifest import file_record
from export.artifact.records import BackboneRecord, RunRecord, SubnetWidths, TemperatureRecord
from noah.data.dataset import fingerprint
from noah.runs.folder import Run
from noah.runs.run_temperature import read_temperature
from noah.space.subnet import Subnet
from noah.training.checkpoint_file import CHECKPOINT_FILE

if TYPE_CHECKING:  # they import torch, which checking an artifact against its run does not need
    from noah.model.supernet import Supernet
    from noah.prepare.context import Materials


def origin(run: Run, materials: Materials) -> RunRecord:
    """Record the run, its data and the weights that its latest `noah retrain` wrote."""
    weights = file_record(run.path("retrain", CHECKPOINT_FILE)).sha256
    return RunRecord(name=run.name, data=fingerprint(materials.dataset), weights=weights)


def temperature_of(run: Run) -> TemperatureRecord | None:
    """Describe the temperature of the run's trained network, if it has one."""
    fitted, _ = read_temperature(run)
    if fitted is None:
        return None
    return TemperatureRecord(value=fitted.value, fitted_on=f"{fitted.images:,} {fitted.fitted_on}")


def describe_origin(run: Run, materials: Materials, model: Supernet, subnet: Subnet) -> dict[str, Any]:
    """Give the run, classes, preprocessing, decoding, subnet, backbone and temperature as fields of a manifest.

    To be called as soon as the network is loaded: writing an artifact takes minutes, in which the run may be retrained.
    """
    backbone = materials.backbone
    return {
        "run": origin(run, materials),
        "dataset": materials.dataset.name,
        "classes": materials.dataset.classes,
        "preprocessing": backbone.preprocessing.to_json(),
        "decoding": materials.intake.decoding.to_json(),
        "subnet": SubnetWidths.model_validate(subnet.to_json()),
        "parameters": subnet.parameter_count(model.sizes),
        "backbone": BackboneRecord(name=backbone.name, arch=backbone.architecture, image_size=backbone.image_size),
        "temperature": temperature_of(run),
    }
