"""The RTL that is characterised: the modules of an array, and of its INT8 baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hw.config import ArrayConfig
from hw.control import Control
from hw.edge import ActEdge, WeightEdge
from hw.pe import make_pe
from hw.verilog import to_rtlil


def designs(config: ArrayConfig) -> dict[str, str]:
    """RTLIL of one of each module that `synth.probe.watched` records."""
    components = {
        "pe": make_pe(config),
        "weight_edge": WeightEdge(config),
        "act_edge": ActEdge(config),
        "control": Control(config),
    }
    return {name: to_rtlil(component, name=name) for name, component in components.items()}


def counts(config: ArrayConfig) -> dict[str, int]:
    """How many of each module an array has."""
    return {
        "pe": config.rows * config.cols,
        "weight_edge": config.cols,
        "act_edge": config.rows,
        "control": 1,
    }


def baselines(config: ArrayConfig) -> dict[str, ArrayConfig]:
    """INT8 arrays of the same throughput at 8-bit weights, by their names in a cost table."""
    return {"int8_mac": config.int8_equivalent(), "int8_dot": config.int8_dot_equivalent()}


def design_sha256(config: ArrayConfig) -> str:
    """Hash of the RTL of all modules, of the array and of its baselines."""
    return designs_sha256([config, *baselines(config).values()])


def designs_sha256(arrays: Sequence[ArrayConfig]) -> str:
    """Hash of the RTL of all modules of some arrays."""
    texts = [text for array in arrays for text in designs(array).values()]
    return hashlib.sha256("".join(texts).encode()).hexdigest()
