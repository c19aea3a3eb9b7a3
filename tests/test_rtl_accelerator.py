"""The accelerator's RTL in Icarus: layers in through AXI, results, counters and errors compared."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from hw.accelerator import Accelerator
from hw.accelerator_config import AcceleratorConfig
from hw.config import ArrayConfig, PEKind
from hw.descriptor import ErrorCode
from hw.mapping import ConvShape
from hw.precision import WeightMode
from hw.verilog import to_verilog
from sim.bench import coverage_report
from sim.bench.accelerator_job import AcceleratorJob
from sim.bench.hollow import HollowPE
from sim.bench.layers import LayerSpec, random_specs
from sim.bench.pace import Pace
from sim.bench.runner import run_bench

COVERAGE = Path(__file__).parents[1] / "build" / "coverage"
SCRATCHPADS: dict[str, int] = {
    "bank_channels": 8,
    "act_words": 72,
    "weight_words": 256,
    "channel_tiles": 32,
}
SMALL = AcceleratorConfig(
    array=ArrayConfig(rows=4, cols=4, lanes=8, drain_rows=2, max_depth=144), **SCRATCHPADS
)
LAYERS = 9
RANDOM_LAYERS = int(os.environ.get("SIGMAQUANT_LAYERS", "50"))
"""More of them by ``SIGMAQUANT_LAYERS=200 pytest tests/test_rtl_accelerator.py``."""
Run = Callable[[AcceleratorJob], dict[str, Any]]


@functools.cache
def _verilog(config: AcceleratorConfig, *, hollow: bool) -> str:
    """Hollow PEs where only cycles count: everything around them takes what it takes."""
    if not hollow:
        return to_verilog(Accelerator(config), name="accelerator")
    with mock.patch("hw.array.make_pe", HollowPE):
        return to_verilog(Accelerator(config), name="accelerator")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return what runs a job, each job once."""
    build = tmp_path_factory.mktemp("rtl")

    @functools.cache
    def run_job(job: AcceleratorJob) -> dict[str, Any]:
        return run_bench(
            _verilog(job.config, hollow=not job.compare),
            top="accelerator",
            bench="sim.bench.accelerator_bench",
            job=job.to_json(),
            build=build,
        )

    return run_job


def _paced(idle: Pace, back_pressure: Pace) -> AcceleratorJob:
    seed = 3 + 10 * list(Pace).index(idle) + list(Pace).index(back_pressure)
    specs = tuple(random_specs(SMALL, count=LAYERS, seed=seed, most_pixels=24))
    return AcceleratorJob(
        config=SMALL, specs=specs, idle=idle, back_pressure=back_pressure, seed=seed
    )


@pytest.mark.parametrize("back_pressure", Pace, ids=lambda pace: f"back-pressure-{pace.name}")
@pytest.mark.parametrize("idle", Pace, ids=lambda pace: f"idle-{pace.name}")
def test_layers_equal_the_golden_model_and_take_the_cycles_of_the_timeline(
    idle: Pace, back_pressure: Pace, run: Run
) -> None:
    assert run(_paced(idle, back_pressure))["layers"] == LAYERS


def test_every_bin_of_the_functional_coverage_is_hit(run: Run) -> None:
    hits = coverage_report.merged(
        run(_paced(idle, back_pressure))["covered"] for idle in Pace for back_pressure in Pace
    )
    coverage_report.write(COVERAGE, "accelerator", hits)
    assert coverage_report.missing(hits) == []


@pytest.mark.parametrize("pace", [Pace.NONE, Pace.RANDOM], ids=lambda pace: f"pace-{pace.name}")
def test_every_kind_of_error_is_told_and_a_flush_ends_what_hangs(pace: Pace, run: Run) -> None:
    shape = ConvShape.gemm(pixels=5, depth=20, outputs=3)
    specs = tuple(
        LayerSpec(shape=shape, mode=mode, seed=5) for mode in (WeightMode.W2, WeightMode.W6)
    )
    job = AcceleratorJob(
        config=SMALL, specs=specs, idle=pace, back_pressure=pace, seed=5, malformed=True
    )
    errors = run(job)["errors"]
    assert set(errors) == {code.name for code in ErrorCode} - {"NONE"}


ARRAYS: dict[str, dict[str, Any]] = {
    "booth": {"rows": 4, "lanes": 16, "pe": PEKind.BOOTH_DIGIT, "drain_rows": 4},
    "bits": {"rows": 2, "lanes": 8, "pe": PEKind.BIT_PLANE, "drain_rows": 1},
    "radix4": {"rows": 4, "lanes": 8, "pe": PEKind.RADIX4_DIGIT, "drain_rows": 2},
    "planes": {"rows": 2, "lanes": 8, "pe": PEKind.DIGIT_PLANES, "drain_rows": 2},
    "shift-add": {"rows": 4, "lanes": 1, "pe": PEKind.SHIFT_ADD, "drain_rows": 1},
    "int8": {
        "rows": 4,
        "lanes": 1,
        "pe": PEKind.INT8_MAC,
        "drain_rows": 1,
        "double_buffered": False,
    },
    "dot": {"rows": 2, "lanes": 2, "pe": PEKind.INT8_DOT, "drain_rows": 2},
    "signed": {"rows": 4, "lanes": 8, "act_signed": True, "act_bits": 6, "drain_rows": 2},
    "one-row": {"rows": 1, "lanes": 4, "drain_rows": 1},
}


@pytest.mark.parametrize("name", ARRAYS)
def test_every_kind_of_pe_runs_layers(name: str, run: Run) -> None:
    pace = list(Pace)[list(ARRAYS).index(name) % len(Pace)]
    array = ArrayConfig(cols=4, max_depth=144, **ARRAYS[name])
    config = AcceleratorConfig(array=array, **SCRATCHPADS | {"weight_words": 640})
    specs = tuple(random_specs(config, count=4, seed=11, most_pixels=12))
    job = AcceleratorJob(config=config, specs=specs, idle=pace, back_pressure=pace, seed=11)
    assert run(job)["layers"] == 4


def test_random_layers_take_the_cycles_of_the_timeline(run: Run) -> None:
    array = ArrayConfig(rows=8, cols=2, lanes=8, drain_rows=2, max_depth=160)
    config = AcceleratorConfig(array=array, **SCRATCHPADS)
    specs = tuple(random_specs(config, count=RANDOM_LAYERS, seed=200, most_pixels=40))
    job = AcceleratorJob(config=config, specs=specs, compare=False)
    counters = run(job)["counters"]
    assert counters["LAYERS"] == RANDOM_LAYERS


def test_a_deep_product_keeps_the_array_busy(run: Run) -> None:
    shape = ConvShape.gemm(pixels=72, depth=32, outputs=24)
    for mode in WeightMode:
        spec = LayerSpec(shape=shape, mode=mode, seed=1)
        counters = run(AcceleratorJob(config=SMALL, specs=(spec,), compare=False))["counters"]
        work = counters["STEP_CYCLES"] / (counters["STEP_CYCLES"] + counters["STALL_CYCLES"])
        assert work > 0.95, mode
