"""How tests share the machine: one thread each, files that take longest first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from quant.bench.work import Setup

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""There is a process of tests for each core; here and in what tests start."""

LONGEST_FIRST = (
    "test_quant_search",
    "test_rtl_accelerator",
    "test_rtl_array",
    "test_synth_jobs",
    "test_quant_stop",
    "test_quant_team",
    "test_quant_bench",
    "test_synth_command",
    "test_quant_cluster",
    "test_sim_cosim",
    "test_synth_parts",
    "test_wheel",
    "test_sim_mutate",
    "test_sim_formal",
)
"""So that no process is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort files; tests of a file stay in their order."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="module")
def bench_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few digits and an untrained network."""
    from tests.bench_cells import fill  # with torch, which other tests do without

    return fill(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def bench_setup(bench_folder: Path, tmp_path: Path) -> Setup:
    """Where a benchmark on these has everything from."""
    from tests.bench_cells import setup_of

    return setup_of(bench_folder, tmp_path / "out")
