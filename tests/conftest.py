"""How tests share the machine: one thread each, files that take longest first."""

import os

import pytest

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
