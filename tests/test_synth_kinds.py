"""The comparison of all kinds of PE: the committed one, and how waiting columns are counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode
from synth.characterise import designs_sha256
from synth.kinds import entry, kinds, markdown
from synth.operands import LayerOperands, Operands
from synth.table import ArrayCost, ArrayParameters, ModuleCost

COMMITTED = Path(__file__).parents[1] / "docs" / "pe-kinds.json"


def _cost(config: ArrayConfig) -> ArrayCost:
    module = ModuleCost(
        count=config.rows * config.cols,
        area_um2=100.0,
        sequential_area_um2=50.0,
        min_period_ns=1.0,
        leakage_nw=1.0,
        energy_pj={mode.name: 1.0 for mode in WeightMode},
        idle_energy_pj=0.25,
    )
    return ArrayCost(parameters=ArrayParameters.of(config), modules={"pe": module})


def _operands(weights: list[list[int]]) -> Operands:
    weight = np.array(weights, dtype=np.int8)
    act = np.zeros((4, weight.shape[0]), dtype=np.uint8)
    layer = LayerOperands(act=act, weight=dict.fromkeys(WeightMode, weight), share=1.0)
    return Operands(name="by-hand", sha256="", layers={"layer": layer})


def test_columns_of_shift_add_wait_for_the_slowest() -> None:
    config = ArrayConfig(
        pe=PEKind.SHIFT_ADD, rows=2, cols=2, lanes=1, drain_rows=1, double_buffered=False
    )
    # 1, 0: a cycle each; 5 = 4 + 1: two; so each row of two columns takes two cycles
    figures = entry(_cost(config), _operands([[1, 5], [5, 0]]))
    assert figures["steps"]["W8"] == 2.0
    assert figures["waiting"]["W8"] == pytest.approx(0.5, abs=0.01)
    assert figures["um2_per_mac_per_cycle"]["W8"] == 200.0
    # a step and a half at 1 pJ, half a cycle of waiting at 0.25 pJ
    assert figures["fj_per_mac"]["W8"] == pytest.approx(1625.0, abs=10)


def test_serial_kinds_take_a_step_a_digit_and_never_wait() -> None:
    config = ArrayConfig(pe=PEKind.BIT_PLANE, rows=2, cols=2, lanes=4)
    figures = entry(_cost(config), _operands([[1, 5]]))
    assert figures["steps"] == {"W8": 8.0, "W6": 6.0, "W4": 4.0, "W2": 2.0}
    assert set(figures["waiting"].values()) == {0.0}
    assert figures["um2_per_mac_per_cycle"]["W8"] == 200.0
    assert figures["fj_per_mac"]["W2"] == 500.0


def _committed() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
    return document


def test_committed_comparison_is_of_all_kinds_as_they_are_now() -> None:
    found = {name: kind["design_sha256"] for name, kind in _committed()["kinds"].items()}
    wanted = {name: designs_sha256([config]) for name, config in kinds().items()}
    assert found == wanted, "run `make kinds`"
    assert {config.pe for config in kinds().values()} == set(PEKind)


def test_committed_comparison_favours_the_default_among_arrays_of_no_more_lanes() -> None:
    measured = _committed()["kinds"]
    default = measured[ArrayConfig().pe.value]["fj_per_mac"]
    for name, kind in measured.items():
        if kind["parameters"]["lanes"] <= ArrayConfig().lanes:
            for mode in WeightMode:
                assert default[mode.name] <= kind["fj_per_mac"][mode.name], (name, mode)


def test_markdown_has_a_line_for_every_kind() -> None:
    lines = markdown(_committed()).splitlines()
    assert lines[0].startswith(
        "| kind | array | registers | min period ns | um2 per MAC/cycle W8 |"
    )
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {name}" for name in kinds()]
