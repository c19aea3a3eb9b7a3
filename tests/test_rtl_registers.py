"""The accelerator's shell in Icarus, through cocotb and cocotbext-axi: registers and streams."""

import functools
import os
from itertools import product
from pathlib import Path

import pytest

from hw.accelerator import Accelerator
from hw.catalog import named
from hw.verilog import to_verilog
from sim.bench.echo_engine import EchoEngine
from sim.bench.job import RegisterJob
from sim.bench.pace import Pace
from sim.bench.runner import run_bench

PAIRS = (
    list(product(Pace, Pace))
    if os.environ.get("SIGMAQUANT_PACES") == "all"
    else list(zip(Pace, (Pace.NONE, *list(Pace)[:0:-1]), strict=True))
)
"""Each pace of the host and of the answers; ``SIGMAQUANT_PACES=all`` pairs all of them."""


@functools.cache
def _verilog(config: str) -> str:
    return to_verilog(Accelerator(named(config), engine=EchoEngine), name="accelerator")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rtl")


@pytest.mark.parametrize(
    ("idle", "back_pressure"),
    PAIRS,
    ids=[f"idle-{idle.name}-back-pressure-{back.name}" for idle, back in PAIRS],
)
def test_shell_does_what_the_register_map_says(
    idle: Pace, back_pressure: Pace, build: Path
) -> None:
    job = RegisterJob(config="tiny", idle=idle, back_pressure=back_pressure, seed=2026)
    report = run_bench(
        _verilog("tiny"),
        top="accelerator",
        bench="sim.bench.register_bench",
        job=job.to_json(),
        build=build,
    )
    assert report["seed"] == job.seed
