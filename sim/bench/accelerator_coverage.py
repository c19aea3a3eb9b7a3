"""Functional coverage of the accelerator's bench: what runs of layers must have met.

Every feature of a layer in every mode, every switch of modes between layers, every pair of paces.
"""

from __future__ import annotations

from itertools import pairwise, product

from cocotb_coverage.coverage import CoverCross, CoverPoint, coverage_db, coverage_section

from hw.accelerator_config import AcceleratorConfig
from hw.precision import WeightMode
from sim.bench.accelerator_job import AcceleratorJob
from sim.bench.coverage_report import Hits
from sim.bench.pace import Pace
from sim.program import Layer

FEATURES = (
    "plain",
    "kernel",
    "stride",
    "padding",
    "groups",
    "ragged pixels",
    "ragged channels",
    "kept acts",
    "kept weights",
    "wrap",
    "zero point in padding",
    "empty planes",
)
_MODES = [mode.name for mode in WeightMode]


def layer_features(layer: Layer, config: AcceleratorConfig) -> list[str]:
    """Name what is special about a layer."""
    shape = layer.shape
    padded = any((shape.pad_top, shape.pad_left, shape.pad_bottom, shape.pad_right))
    there = {
        "plain": shape.taps == 1 and shape.stride == 1 and shape.groups == 1,
        "kernel": shape.taps > 1,
        "stride": shape.stride > 1,
        "padding": padded,
        "groups": shape.groups > 1,
        "ragged pixels": shape.out_h * shape.out_w % config.array.rows != 0,
        "ragged channels": shape.out_channels % config.array.cols != 0,
        "kept acts": layer.keep_acts,
        "kept weights": layer.keep_weights,
        "wrap": layer.wrap,
        "zero point in padding": padded and layer.in_zero_point != 0,
        "empty planes": any(mode is not layer.mode for mode in layer.planes(config)),
    }
    return [name for name in FEATURES if there[name]]


def covered(layers: list[Layer], job: AcceleratorJob) -> Hits:
    """Sample a run of layers; return the hits of all bins."""
    sample_feature = coverage_section(
        CoverPoint("accelerator.feature", xf=lambda feature, mode: feature, bins=list(FEATURES)),
        CoverPoint("accelerator.mode", xf=lambda feature, mode: mode, bins=_MODES),
        CoverCross(
            "accelerator.layer",
            items=["accelerator.feature", "accelerator.mode"],
            ign_bins=[("empty planes", "W2")],  # the only plane
        ),
    )(lambda feature, mode: None)
    switches = [f"{a} to {b}" for a, b in product(_MODES, repeat=2)]
    sample_switch = CoverPoint("accelerator.switch", bins=switches)(lambda switch: None)
    paces = [f"idle {a.name}, back-pressure {b.name}" for a, b in product(Pace, repeat=2)]
    sample_pace = CoverPoint("accelerator.pace", bins=paces)(lambda pace: None)
    for layer in layers:
        for feature in layer_features(layer, job.config):
            sample_feature(feature, layer.mode.name)
    for before, after in pairwise(layers):
        sample_switch(f"{before.mode.name} to {after.mode.name}")
    sample_pace(f"idle {job.idle.name}, back-pressure {job.back_pressure.name}")
    return {
        point: {
            " ".join(key) if isinstance(key, tuple) else key: count
            for key, count in coverage_db[f"accelerator.{point}"].detailed_coverage.items()
        }
        for point in ("layer", "switch", "pace")
    }
