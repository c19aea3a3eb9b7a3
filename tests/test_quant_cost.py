"""Cost of a network: sums over layers, worked out by hand."""

import pytest

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule
from quant.cost import layer_costs, network_cost, relative_size
from quant.graph import Layer
from synth.table import ArrayCost, ArrayParameters, CostTable, Library, ModuleCost, Provenance

CONFIG = ArrayConfig(rows=4, cols=4, lanes=8)
LAYERS = (
    Layer(name="big", shape=GemmShape(pixels=16, depth=24, outputs=8), source="x"),
    Layer(name="small", shape=GemmShape(pixels=4, depth=8, outputs=4), source="y"),
)
BITS = {"big": WeightMode.W2, "small": WeightMode.W8}


@pytest.fixture
def table() -> CostTable:
    module = ModuleCost(
        count=1,
        area_um2=1.0,
        sequential_area_um2=0.5,
        min_period_ns=1.0,
        leakage_nw=1000.0,
        energy_pj={mode.name: float(mode.bits) for mode in WeightMode},
        idle_energy_pj=0.0,
    )
    parameters = ArrayParameters.of(CONFIG)
    array = ArrayCost(parameters=parameters, modules={"pe": module})
    baseline = ArrayCost(
        parameters=ArrayParameters.of(CONFIG.int8_equivalent()), modules={"pe": module}
    )
    return CostTable(
        name="made up",
        library=Library(
            name="none", node_nm=45, voltage_v=1.1, temperature_c=25.0, corner="typical"
        ),
        clock_period_ns=2.0,
        array=array,
        baselines={"int8_mac": baseline},
        provenance=Provenance(command="none"),
    )


def test_relative_size_counts_weights_only() -> None:
    big, small = 24 * 8, 8 * 4
    assert relative_size(LAYERS, BITS) == (2 * big + 8 * small) / (8 * (big + small))


def test_all_at_2_bit_is_a_quarter() -> None:
    assert relative_size(LAYERS, dict.fromkeys(BITS, WeightMode.W2)) == 0.25


def test_a_network_costs_the_sum_of_its_layers(table: CostTable) -> None:
    total = network_cost(LAYERS, BITS, table)
    plans = [layer_schedule(layer.shape, BITS[layer.name], CONFIG) for layer in LAYERS]
    assert total.cycles == sum(plan.cycles for plan in plans)
    assert total.size_bits == 2 * 24 * 8 + 8 * 8 * 4
    assert total.latency_ns == 2.0 * total.cycles
    array_pj = 2.0 * plans[0].active_cycles + 8.0 * plans[1].active_cycles
    assert total.array_energy_pj == pytest.approx(array_pj)
    assert total.energy_pj == pytest.approx(array_pj + 1e-3 * total.latency_ns)


def test_the_baseline_array_takes_as_many_cycles_at_every_precision(table: CostTable) -> None:
    baseline = table.baseline("int8_mac")
    cycles = {
        network_cost(LAYERS, dict.fromkeys(BITS, mode), table, array=baseline).cycles
        for mode in WeightMode
    }
    assert len(cycles) == 1


def test_costs_are_told_layer_by_layer(table: CostTable) -> None:
    assert list(layer_costs(LAYERS, BITS, table)) == ["big", "small"]
