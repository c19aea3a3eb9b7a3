"""Job: run sampled tiles on the RTL of a column and record what its modules' ports see."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from hw.config import ArrayConfig
from hw.precision import WeightMode
from synth.activity import SimulationError
from synth.jobs import Job, Store
from synth.operands import Operands, load, sample_tiles
from synth.probe import record


def record_job(config: ArrayConfig, mode: WeightMode, operands: Operands, *, products: int) -> Job:
    """Run sampled tiles of a mode, layer by layer; gives a `synth.probe.Recording`'s fields."""
    return Job(
        function=_record,
        arguments={
            "config": config,
            "mode": mode.name,
            "products": products,
            "operands_sha256": operands.sha256,
        },
        where={"operands": str(operands.path)},
    )


@lru_cache
def _operands(path: str) -> Operands:
    return load(Path(path))


def _record(
    *,
    store: Store,
    config: ArrayConfig,
    mode: str,
    products: int,
    operands_sha256: str,
    operands: str,
) -> dict[str, Any]:
    sampled = _operands(operands)
    if sampled.sha256 != operands_sha256:
        raise SimulationError(f"{operands} must not change while it is in use")
    tiles = sample_tiles(sampled, WeightMode[mode], config, products=products)
    with tempfile.TemporaryDirectory(prefix="sigmaquant-") as folder:
        return asdict(record(config, list(tiles.values()), folder=Path(folder)))
