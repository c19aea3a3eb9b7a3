"""The comparison of all kinds of PE: variants, ratios, goals, waiting columns."""

import json
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from hw.catalog import named
from hw.config import ArrayConfig, Multiplier, PEKind, Stage
from hw.precision import WeightMode
from synth.characterise import Characterised
from synth.compare import entry
from synth.compare import main as command
from synth.compare_report import PAPER, goals, markdown, ratios
from synth.designs import baselines, designs_sha256
from synth.kinds import described, kinds, variants
from synth.operands import LayerOperands, Operands
from synth.plot_front import plot_front
from synth.table import ArrayCost, ArrayParameters, ModuleCost

COMMITTED = Path(__file__).parents[1] / "docs" / "compare.json"


def _found(config: ArrayConfig) -> Characterised:
    module = ModuleCost(
        count=config.rows * config.cols,
        area_um2=100.0,
        sequential_area_um2=50.0,
        min_period_ns=1.0,
        leakage_nw=1.0,
        energy_pj={mode.name: 1.0 for mode in WeightMode},
        idle_energy_pj=0.25,
    )
    cost = ArrayCost(parameters=ArrayParameters.of(config), modules={"pe": module})
    return Characterised(cost=cost, chosen={}, tried={})


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
    figures = entry(_found(config), _operands([[1, 5], [5, 0]]))
    assert figures["steps"]["W8"] == 2.0
    assert figures["waiting"]["W8"] == pytest.approx(0.5, abs=0.01)
    assert figures["um2_per_mac_per_cycle"]["W8"] == 200.0
    # a step and a half at 1 pJ, half a cycle of waiting at 0.25 pJ
    assert figures["fj_per_mac"]["W8"] == pytest.approx(1625.0, abs=10)


def test_serial_kinds_take_a_step_a_digit_and_never_wait() -> None:
    config = ArrayConfig(pe=PEKind.BIT_PLANE, rows=2, cols=2, lanes=4)
    figures = entry(_found(config), _operands([[1, 5]]))
    assert figures["steps"] == {"W8": 8.0, "W6": 6.0, "W4": 4.0, "W2": 2.0}
    assert set(figures["waiting"].values()) == {0.0}
    assert figures["um2_per_mac_per_cycle"]["W8"] == 200.0
    assert figures["fj_per_mac"]["W2"] == 500.0


def test_every_kind_is_there_at_one_throughput() -> None:
    assert {config.pe for config in kinds().values()} == set(PEKind)
    eight = WeightMode.W8
    for name, config in kinds().items():
        if name != "shift_add":
            products = config.rows * config.cols * config.chunk_depth(eight) / config.steps(eight)
            assert products == 512, name


def test_variants_are_all_places_of_registers_and_all_multipliers() -> None:
    pairs = list(variants(ArrayConfig()))
    chosen = chain.from_iterable(combinations(Stage, n) for n in range(len(Stage) + 1))
    assert {config.stages for config in pairs} == set(chosen)
    assert {config.group for config in pairs} == {4, 8, 16}
    assert ArrayConfig().stages in {config.stages for config in pairs}
    macs = list(variants(kinds()["int8_mac"]))
    assert {config.multiplier for config in macs} == set(Multiplier)
    assert len(macs) == 5
    assert described(macs[-1]) == "product, product by Yosys"
    dots = list(variants(kinds()["int8_dot"]))
    assert {config.group for config in dots} == {2, 4, 8}
    assert kinds()["int8_dot"] in [replace(config, registers=None) for config in dots]
    assert described(ArrayConfig()) == "group of 16, sum"


def _kind(fj: float, um2: float, period: float) -> dict[str, Any]:
    return {
        "fj_per_mac": dict.fromkeys(("W8", "W6", "W4", "W2"), fj),
        "um2_per_mac_per_cycle": dict.fromkeys(("W8", "W6", "W4", "W2"), um2),
        "min_period_ns": period,
    }


def test_goals_are_met_or_missed_by_the_ratio() -> None:
    document = {
        "kinds": {
            "bit_pair": _kind(40.0, 60.0, 1.0),
            "int8_mac": _kind(100.0, 100.0, 1.0),
            "int8_dot": _kind(80.0, 50.0, 0.9),
        },
        "fronts": {
            "bit_pair": [{"min_period_ns": 0.9}, {"min_period_ns": 0.7}],
            "int8_mac": [{"min_period_ns": 1.0}],
            "int8_dot": [{"min_period_ns": 0.7}, {"min_period_ns": 0.8}],
        },
    }
    assert ratios(document, "bit_pair", "int8_mac")["fj_per_mac_on_8_bit"]["W2"] == 0.4
    found = {(goal["baseline"], goal["figure"], goal["mode"]): goal for goal in goals(document)}
    assert found["int8_mac", "fj_per_mac", "W8"]["met"]
    assert not found["int8_mac", "fj_per_mac", "W2"]["met"]
    assert found["int8_mac", "min_period_ns", ""]["met"]
    assert not found["int8_dot", "min_period_ns", ""]["met"]
    assert found["int8_mac", "fastest_pe_ns", ""]["found"] == 0.7
    assert found["int8_dot", "fastest_pe_ns", ""]["found"] == 1.0
    assert found["int8_dot", "um2_per_mac_per_cycle", "W8"]["found"] == 1.2


def test_unknown_kind_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as error:
        command(only=["abacus"])
    assert error.value.exit_code == 2
    line = capsys.readouterr().err
    assert line.startswith("synth.compare: kind must be one of booth_digit, ")
    assert line.endswith(", not 'abacus'\n")


def _committed() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
    return document


def test_committed_comparison_is_of_all_kinds_as_they_are_now() -> None:
    measured = _committed()["kinds"]
    assert measured.keys() == kinds().keys()
    for name, kind in measured.items():
        config = ArrayParameters.model_validate(kind["parameters"]).config()
        assert config.pe.value == name
        assert kind["design_sha256"] == designs_sha256([config]), "run `make compare`"


def test_cost_tables_are_of_the_variants_that_the_comparison_chose() -> None:
    edge = named("edge").array
    for default in (edge, *baselines(edge).values()):
        chosen = _committed()["kinds"][default.pe.value]["parameters"]
        config = ArrayParameters.model_validate(chosen).config()
        assert (config.stages, config.multiplier) == (default.stages, default.multiplier)
        assert Stage.GROUP not in config.stages or config.group == default.group


def test_committed_comparison_favours_the_default_among_arrays_of_no_more_lanes() -> None:
    measured = _committed()["kinds"]
    default = measured[named("edge").array.pe.value]["fj_per_mac"]
    better = {
        (name, mode.name)
        for name, kind in measured.items()
        for mode in WeightMode
        if kind["parameters"]["lanes"] <= ArrayConfig().lanes
        and kind["fj_per_mac"][mode.name] < default[mode.name]
    }
    assert better == {("int8_dot", "W8")}


def test_goals_that_the_committed_comparison_misses_are_those_that_the_readme_names() -> None:
    missed = {
        (goal["baseline"], goal["figure"], goal["mode"])
        for goal in _committed()["goals"]
        if not goal["met"]
    }
    energies = {("int8_dot", "fj_per_mac", mode) for mode in ("W8", "W4", "W2")}
    assert missed == energies | {("int8_dot", "min_period_ns", "")}


def test_markdown_has_all_kinds_the_paper_and_the_goals(tmp_path: Path) -> None:
    document = _committed()
    text = markdown(document)
    lines = text.splitlines()
    for name in kinds():
        assert any(line.startswith(f"| {name} | ") for line in lines)
    assert "**as the paper says**" in text
    assert PAPER["source"] in text
    verdicts = [line for line in lines if line.endswith(("| met |", "| **missed** |"))]
    assert len(verdicts) == len(goals(document))
    plot_front(document, tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
