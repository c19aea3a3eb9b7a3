"""Tables by hand with only some figures: what they still give, and what they say is missing."""

import json
from pathlib import Path
from typing import Any

import pytest

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule
from synth.memory import DDR3, HBM2, LPDDR4, MEMORY_45_NM
from synth.report import markdown
from synth.table import ArrayParameters, CostTable, CostTableError, complete

UNPU = Path(__file__).parents[1] / "docs" / "examples" / "unpu.json"
SHAPE = GemmShape(pixels=4, depth=6, outputs=2)
CONFIG = ArrayConfig(rows=2, cols=2, lanes=4, drain_rows=1)


def ours(*, clock_ns: float | None = None, **module: Any) -> CostTable:
    """An array of ours of which some figures are known."""
    array = {
        "parameters": ArrayParameters.of(CONFIG).model_dump(mode="json"),
        "modules": {"pe": {"count": 4, **module}},
        "source": "a datasheet",
    }
    return CostTable.model_validate({"name": "t", "clock_period_ns": clock_ns, "array": array})


def theirs(**fields: Any) -> CostTable:
    """Hardware of others, known by totals."""
    clock_ns = fields.pop("clock_period_ns", None)
    array = {"name": "engine", "source": "a datasheet", **fields}
    return CostTable.model_validate({"name": "t", "clock_period_ns": clock_ns, "array": array})


def needs(table: CostTable) -> set[str]:
    return {gap.needs for gap in table.unavailable if not gap.needs.startswith("memory.")}


def test_an_array_with_only_its_area_knows_cycles_and_traffic() -> None:
    table = ours(area_um2=10.0)
    assert table.array.area_um2 == 40
    assert table.modes == tuple(WeightMode)
    cost = table.layer_cost(SHAPE, WeightMode.W4)
    plan = layer_schedule(SHAPE, WeightMode.W4, CONFIG)
    assert cost.cycles == plan.cycles
    assert cost.scratchpad_read_bits == plan.weight_bits + plan.act_bits
    unknown = (cost.latency_ns, cost.array_energy_pj, cost.leakage_energy_pj, cost.energy_pj)
    assert unknown == (None,) * 4
    energies = {f"array.modules.pe.energy_pj.{mode.name}" for mode in WeightMode}
    others = {f"array.modules.pe.{n}" for n in ("min_period_ns", "leakage_nw", "idle_energy_pj")}
    assert needs(table) == energies | others | {"clock_period_ns"}
    lines = {str(gap) for gap in table.unavailable}
    assert "latency_ns, leakage_energy_pj, energy_pj: needs clock_period_ns" in lines


def test_energy_for_some_modes_leaves_the_others_out() -> None:
    table = ours(
        clock_ns=2.0, energy_pj={"W4": 1.0, "W8": 2.0}, idle_energy_pj=0.5, leakage_nw=1000.0
    )
    assert table.modes == (WeightMode.W4, WeightMode.W8)
    cost = table.layer_cost(SHAPE, WeightMode.W4)
    plan = layer_schedule(SHAPE, WeightMode.W4, CONFIG)
    step = 4 * (0.5 + plan.utilisation * 0.5)
    assert cost.array_energy_pj == pytest.approx(plan.active_cycles * step + plan.idle_cycles * 2)
    assert cost.leakage_energy_pj == pytest.approx(4e3 * 2.0 * plan.cycles * 1e-6)
    with pytest.raises(CostTableError) as error:
        table.layer_cost(SHAPE, WeightMode.W2)
    assert str(error.value) == "t: mode of bit_pair-2x2x4 must be one of W4, W8, not W2"


def test_modes_that_are_named_count_even_without_figures() -> None:
    table = theirs(modes=["W8", "W2"], energy_per_mac_pj={"W8": 1.0})
    assert table.modes == (WeightMode.W2, WeightMode.W8)
    assert table.layer_cost(SHAPE, WeightMode.W2).energy_pj is None
    assert "array.energy_per_mac_pj.W2" in needs(table)
    assert "array.energy_per_mac_pj.W8" not in needs(table)


def test_other_hardware_with_all_totals() -> None:
    table = theirs(
        macs_per_cycle={"W4": 20, "W8": 10},
        energy_per_mac_pj={"W4": 0.25, "W8": 0.5},
        area_um2=1000.0,
        min_period_ns=1.5,
        clock_period_ns=2.0,
    )
    cost = table.layer_cost(SHAPE, WeightMode.W8)
    assert SHAPE.macs == 48
    assert (cost.cycles, cost.latency_ns, cost.energy_pj) == (5, 10.0, 24.0)
    assert cost.array_energy_pj is cost.leakage_energy_pj is cost.scratchpad_energy_pj is None
    assert (cost.size_bits, cost.dram_read_bits) == (96, 96)
    assert (cost + cost).energy_pj == 48.0
    assert table.array.area_per_throughput_um2(WeightMode.W4) == 50
    assert needs(table) == {"array.modules", "array.parameters"}


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ({"macs_per_cycle": {"W8": 10}}, {"cycles": 5}),
        ({"energy_per_mac_pj": {"W8": 0.5}}, {"energy_pj": 24.0}),
        ({"area_um2": 9.0}, {}),
        ({"clock_period_ns": 2.0}, {}),
    ],
    ids=["throughput", "energy", "area", "clock"],
)
def test_any_subset_of_totals_is_a_table(given: dict[str, Any], known: dict[str, float]) -> None:
    table = theirs(**given)
    cost = table.layer_cost(SHAPE, WeightMode.W8)
    costs = {n: getattr(cost, n) for n in ("cycles", "latency_ns", "energy_pj")}
    assert {n: v for n, v in costs.items() if v is not None} == known
    assert table.array.area_um2 == given.get("area_um2")
    missing = {str(gap) for gap in table.unavailable}
    assert ("latency_ns: needs clock_period_ns" in missing) == ("clock_period_ns" not in given)


def test_a_map_beyond_the_buffer_needs_the_width_of_activations() -> None:
    memory = MEMORY_45_NM.model_copy(update={"activation_buffer_bits": 8})
    table = theirs(macs_per_cycle={"W8": 1}).model_copy(update={"memory": memory})
    assert table.layer_cost(SHAPE, WeightMode.W8).dram_write_bits is None
    assert "array.act_bits" in needs(table)
    wide = theirs(act_bits=16).model_copy(update={"memory": memory})
    assert wide.layer_cost(SHAPE, WeightMode.W8).dram_write_bits == 4 * 2 * 16


def test_the_example_in_docs_gives_time_and_area_and_says_what_else_it_needs() -> None:
    table = CostTable.load(UNPU)
    cost = table.layer_cost(GemmShape(pixels=100, depth=864, outputs=10), WeightMode.W8)
    assert (cost.cycles, cost.latency_ns, cost.energy_pj) == (500, 2500.0, None)
    assert {str(gap) for gap in table.unavailable} >= {
        "energy_pj at W4: needs array.energy_per_mac_pj.W4",
        "energy_pj at W8: needs array.energy_per_mac_pj.W8",
        "dram_read_energy_pj, memory_energy_pj: needs memory.dram.read_pj_per_bit",
    }


def test_other_hardware_survives_saving_and_loading(tmp_path: Path) -> None:
    table = CostTable.load(UNPU)
    table.save(tmp_path / "again.json")
    assert CostTable.load(tmp_path / "again.json") == table
    saved = json.loads((tmp_path / "again.json").read_text())
    assert saved["array"]["macs_per_cycle"] == {"W4": 3456, "W8": 1728}


def test_a_report_shows_what_is_missing_as_a_dash() -> None:
    lines = markdown(CostTable.load(UNPU)).splitlines()
    assert lines[2] == "| UNPU | 16000000 | 5.00 | 9259 | - | 4630 | - | - | - | - | - |"
    assert "unavailable: energy_pj at W4: needs array.energy_per_mac_pj.W4" in lines


def test_complete_names_the_first_missing_figure() -> None:
    with pytest.raises(CostTableError) as error:
        complete(ours(area_um2=1.0).array)
    assert str(error.value) == (
        "bit_pair-2x2x4: modules.pe.sequential_area_um2: must be a valid number, not None"
    )
    with pytest.raises(CostTableError, match=r"^engine: parameters: must be given$"):
        complete(theirs().array)


def test_cited_memories_name_source_and_node_or_say_that_there_is_none() -> None:
    scratchpad, dram = MEMORY_45_NM.scratchpad, MEMORY_45_NM.dram
    assert scratchpad.read_pj_per_access == scratchpad.write_pj_per_access == 10
    assert dram.read_pj_per_access == 640
    for level in (scratchpad, dram, LPDDR4, DDR3, HBM2):
        for cited in (level.read_pj_per_bit, level.write_pj_per_bit, level.area_um2_per_bit):
            if cited is not None:
                assert (cited.node_nm is None) == ("states no node" in cited.source)
