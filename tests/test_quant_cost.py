"""Cost of a network: sums over layers, worked out by hand."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule
from quant.cost import Prices, relative_size
from quant.graph import Layer
from quant.operands import LayerSample
from synth.costs.activity import EnergyModel
from synth.table import (
    ArrayCost,
    ArrayFigures,
    ArrayParameters,
    CostTable,
    Library,
    ModuleCost,
    Provenance,
)

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
    total = Prices(table=table, layers=LAYERS).network_cost(BITS)
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
        Prices(table=table, layers=LAYERS)
        .network_cost(dict.fromkeys(BITS, mode), array=baseline)
        .cycles
        for mode in WeightMode
    }
    assert len(cycles) == 1


def test_costs_are_told_layer_by_layer(table: CostTable) -> None:
    assert list(Prices(table=table, layers=LAYERS).layer_costs(BITS)) == ["big", "small"]


def test_operands_decide_the_energy_where_the_table_has_a_model(table: CostTable) -> None:
    model = EnergyModel(
        base_pj=1.0, per_change_pj={"products": 0.5}, fit_error=0, largest_fit_error=0
    )
    array = table.array
    assert isinstance(array, ArrayFigures)
    modules = {name: m.model_copy(update={"model": model}) for name, m in array.modules.items()}
    modelled = table.model_copy(update={"array": array.model_copy(update={"modules": modules})})
    silent, busy = (
        LayerSample(
            act=act.astype(np.uint8),
            weight=dict.fromkeys(WeightMode, np.ones((24, 8), dtype=np.int8)),
        )
        for act in (np.zeros((64, 24)), np.random.default_rng(0).integers(0, 256, (64, 24)))
    )

    def energy_pj(samples: dict[str, LayerSample]) -> float:
        prices = Prices(table=modelled, layers=LAYERS[:1], samples=samples)
        spent = prices.network_cost(BITS).array_energy_pj
        assert spent is not None
        return spent

    plan = layer_schedule(LAYERS[0].shape, WeightMode.W2, CONFIG)
    assert plan.pe_utilisation == 1.0
    assert energy_pj({"big": silent}) == pytest.approx(plan.active_cycles * 1.0)
    assert energy_pj({"big": busy}) > 2 * energy_pj({"big": silent})
    # without operands, the energy of the table's own
    assert energy_pj({}) == pytest.approx(plan.active_cycles * plan.utilisation * 2.0)
