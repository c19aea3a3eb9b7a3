"""Activations of fewer bits: their costs, how they are chosen with the weights, options, maps."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape
from quant.allocation import Allocation
from quant.budget import Budget
from quant.cost import Prices
from quant.errors import QuantError
from quant.graph import Layer
from quant.greedy import greedy
from quant.map_file import check_acts, read_map
from quant.menu import Menu, Policy, menu_of, most_act_bits
from quant.milp import cheapest, exact, total_loss
from quant.operands import LayerSample
from quant.options import Options
from quant.quantizer import IMAGE_RANGE, ActRange
from quant.resources import Limit, Resource
from quant.wishes import Wishes
from synth.costs.activity import EnergyModel
from synth.table import ArrayFigures, ArrayParameters, CostTable, EngineFigures, ModuleFigures

torch.set_num_threads(1)

W2, W4, W6, W8 = WeightMode


LAYERS = (
    Layer(name="stem", shape=GemmShape(pixels=16, depth=9, outputs=8), source="x"),
    Layer(name="left", shape=GemmShape(pixels=16, depth=72, outputs=8), source="sum"),
    Layer(name="right", shape=GemmShape(pixels=16, depth=8, outputs=8), source="sum"),
    Layer(name="fc", shape=GemmShape(pixels=1, depth=8, outputs=10), source="pool"),
)


TENSORS = ("x", "bn", "sum", "pool")


CHOICE = Policy(modes=(W2, W8), act_bits=(4, 8))


def table(act_bits: int = 8, *, modelled: bool = True) -> CostTable:
    model = EnergyModel(
        base_pj=1.0,
        per_change_pj={"products": 0.01, "acts": 0.02},
        fit_error=0,
        largest_fit_error=0,
    )
    pe = ModuleFigures(
        area_um2=1.0,
        leakage_nw=0.0,
        idle_energy_pj=0.0,
        energy_pj={mode.name: float(mode.bits) for mode in WeightMode},
        model=model if modelled else None,
    )
    config = ArrayConfig(rows=4, cols=4, lanes=8, act_bits=act_bits)
    array = ArrayFigures(
        parameters=ArrayParameters.of(config), modules={"pe": pe}, source="made up"
    )
    return CostTable(name="t", clock_period_ns=1.0, array=array)


def prices(made_of: CostTable) -> Prices:
    random = np.random.default_rng(0)
    samples = {}
    for layer in LAYERS:
        act = random.integers(0, 256, (64, layer.shape.depth), dtype=np.uint8)
        weight = {
            mode: random.integers(mode.min, mode.max + 1, (layer.shape.depth, 8)).astype(np.int8)
            for mode in WeightMode
        }
        samples[layer.name] = LayerSample(act=act, weight=weight, fewer={4: act // np.uint8(16)})
    return Prices(table=made_of, layers=LAYERS, samples=samples)


def menu(policy: Policy = CHOICE, made_of: CostTable | None = None) -> Menu:
    hardware = made_of or table()
    return menu_of(
        LAYERS, prices(hardware), policy.on(hardware), tensors=TENSORS, images=frozenset({"x"})
    )


def test_4_bits_halve_bops_spare_energy_and_take_the_same_time() -> None:
    bits = dict.fromkeys((layer.name for layer in LAYERS), W8)
    found = menu()
    full, low = found.total(bits), found.total(bits, {"sum": 4})
    macs = {layer.name: layer.shape.macs for layer in LAYERS}
    assert full[Resource.BOPS] == 64 * sum(macs.values())
    assert full[Resource.BOPS] - low[Resource.BOPS] == 32 * (macs["left"] + macs["right"])
    assert low[Resource.ENERGY] < full[Resource.ENERGY]
    assert low[Resource.LATENCY] == full[Resource.LATENCY]
    assert low[Resource.SIZE] == full[Resource.SIZE]
    cost = prices(table()).network_cost(bits, acts={"sum": 4})
    assert cost.energy_pj == pytest.approx(low[Resource.ENERGY])
    assert found.total_price(bits, {"sum": 4}) == pytest.approx(low[Resource.ENERGY])


def test_nothing_is_spared_where_no_model_tells_what() -> None:
    bits = dict.fromkeys((layer.name for layer in LAYERS), W8)
    found = menu(made_of=table(modelled=False))
    full, low = found.total(bits), found.total(bits, {"sum": 4, "pool": 4})
    assert low[Resource.ENERGY] == full[Resource.ENERGY]
    assert low[Resource.BOPS] < full[Resource.BOPS]


def test_the_image_keeps_its_bits_and_tensors_that_no_layer_reads_have_no_choice() -> None:
    found = menu()
    assert found.act_choices == {"sum": (4, 8), "pool": (4, 8)}
    assert found.acts == found.most_acts == {}
    one = menu(Policy(act_bits=(4,)))
    assert one.act_choices == {}
    assert one.most_acts == {"sum": 4, "pool": 4}
    names = dict.fromkeys((layer.name for layer in LAYERS), W2)
    # a share is of uniform 8 bit, activations included
    half = Wishes(limits={Resource.BOPS: Limit(value=0.5, relative=True)})
    assert half.budget(one).limits == half.budget(found).limits
    assert one.total(names) == found.total(names, {"sum": 4, "pool": 4})


def test_an_array_of_4_bits_has_no_others_for_the_image_either() -> None:
    narrow = table(4)
    assert most_act_bits(narrow) == 4
    found = menu(Policy(), narrow)
    assert found.most_acts == dict.fromkeys(TENSORS, 4)
    assert menu(CHOICE, narrow).most_acts == found.most_acts
    names = dict.fromkeys((layer.name for layer in LAYERS), W8)
    assert found.total(names)[Resource.BOPS] == 32 * sum(y.shape.macs for y in LAYERS)
    with pytest.raises(QuantError) as caught:
        Policy(act_bits=(8,)).on(narrow)
    assert str(caught.value) == "act_bits must be at most 4 (those of t), not 8"
    assert IMAGE_RANGE.at(4) == ActRange(scale=1 / 15, zero_point=0, bits=4)


def test_hardware_of_more_bits_counts_the_8_of_the_integers() -> None:
    wide = CostTable(
        name="t",
        array=EngineFigures(name="e", source="a book", macs_per_cycle={"W8": 1.0}, act_bits=16),
    )
    assert most_act_bits(wide) == 8


LOSS = {
    name: {W2: two, W8: 0.0}
    for name, two in zip(("stem", "left", "right", "fc"), (0.9, 0.3, 0.5, 0.2), strict=True)
}


ACT_LOSS = {"sum": {4: 0.25, 8: 0.0}, "pool": {4: 0.01, 8: 0.0}}


def every(found: Menu) -> list[Allocation]:
    weights = itertools.product(*found.choices.values())
    acts = list(itertools.product(*found.act_choices.values()))
    return [
        Allocation(
            bits=dict(zip(found.choices, modes, strict=True)),
            acts=found.with_acts(dict(zip(found.act_choices, bits, strict=True))),
        )
        for modes in weights
        for bits in acts
    ]


def loss_of(found: Allocation) -> float:
    acts: Mapping[str, int] = {"sum": 8, "pool": 8} | dict(found.acts)
    return sum(LOSS[n][m] for n, m in found.bits.items()) + sum(
        ACT_LOSS[t][bits] for t, bits in acts.items()
    )


@pytest.mark.parametrize("share", [0.15, 0.2, 0.3, 0.45, 0.6, 0.9])
@pytest.mark.parametrize("resource", [Resource.BOPS, Resource.ENERGY])
def test_the_integer_program_chooses_both_as_exhaustive_search_does(
    resource: Resource, share: float
) -> None:
    found = menu()
    reference = Wishes(limits={resource: Limit(value=share, relative=True)}).budget(found)
    within = [a for a in every(found) if reference.uses_met(found.total(a.bits, a.acts))]
    best = exact(found, reference, LOSS, acts=ACT_LOSS)
    least = min(found.total(a.bits, a.acts)[resource] for a in every(found))
    assert found.smallest(resource) == pytest.approx(least)
    rough = greedy(found, reference, LOSS, acts=ACT_LOSS)
    if not within:
        assert best is None
        assert rough is None
        return
    assert best is not None
    assert rough is not None
    assert best in within
    assert rough in within
    assert loss_of(best) == pytest.approx(min(loss_of(a) for a in within))
    most = 1.2 * loss_of(best)
    spare = cheapest(found, reference, LOSS, acts=ACT_LOSS, max_loss=most)
    good = [a for a in within if loss_of(a) <= most]
    assert spare is not None
    assert spare in good
    assert total_loss(spare, LOSS, ACT_LOSS) == pytest.approx(loss_of(spare))
    prices = [found.total_price(a.bits, a.acts) for a in good]
    assert found.total_price(spare.bits, spare.acts) == pytest.approx(min(prices))
    cap = 0.8 * found.total_price(best.bits, best.acts)
    cheap = [a for a in within if found.total_price(a.bits, a.acts) <= cap]
    capped = exact(found, reference, LOSS, acts=ACT_LOSS, max_price=cap)
    assert (capped is None) is (not cheap)
    if capped is not None:
        assert loss_of(capped) == pytest.approx(min(loss_of(a) for a in cheap))


def test_a_limit_beyond_8_bit_activations_needs_4() -> None:
    found = menu(Policy(modes=(W2,), act_bits=(4, 8)))
    fewest = dict.fromkeys(found.names, W2)
    below = found.total(fewest)[Resource.BOPS] * 0.99
    budget = Budget(limits={Resource.BOPS: below})
    best = exact(found, budget, LOSS, acts=ACT_LOSS)
    assert best == Allocation(bits=fewest, acts={"sum": 4})  # the pooled tensor spares too little
    assert exact(menu(Policy(modes=(W2,))), budget, LOSS) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"act_bits": "8,3"}, "act_bits must be some of 4,5,6,7,8, such as 8,4, not 8,3"),
        (
            {"act_bits": "8,4"},
            "act_bits must be one number, or come with max_bops, max_energy or --pareto energy, "
            "which fewer bits serve, not 8,4 alone",
        ),
        (
            {"act_bits": "8,4", "max_bops": "0.3", "method": "milp", "sensitivity": "fisher"},
            "act_bits must be one number with this sensitivity, which activations have not; take "
            "logit-kl, not fisher",
        ),
    ],
)
def test_wrong_options_are_refused_in_a_line(given: dict[str, str], text: str) -> None:
    with pytest.raises(QuantError) as caught:
        Options.model_validate(given).request(command="")
    assert str(caught.value) == text


def test_options_allow_what_they_name() -> None:
    def allowed(**given: str) -> tuple[int, ...]:
        return Options.model_validate(given).request(command="").policy.act_bits

    assert allowed() == ()
    assert allowed(act_bits="4") == (4,)
    assert allowed(act_bits="8,4", max_bops="0.3") == (4, 8)
    assert allowed(act_bits="4, 8", pareto="energy") == (4, 8)


def test_a_map_may_have_activations(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"allocation": {"a": 2}, "activations": {"x": 8, "t": 4}}))
    assert read_map(path) == ({"a": W2}, {"x": 8, "t": 4})
    assert Options(map=path).request(command="").policy.act_bits == (4, 8)
    check_acts({"x": 8, "t": 4}, {"t"}, table())
    for acts, text in (
        ({"u": 4}, "map: activations must be those that layers read, the image left out, not u"),
        ({"x": 4}, "map: activations must be those that layers read, the image left out, not x"),
    ):
        with pytest.raises(QuantError) as caught:
            check_acts(acts, {"t"}, table())
        assert str(caught.value) == text
    with pytest.raises(QuantError) as caught:
        check_acts({"t": 8}, {"t"}, table(4))
    assert str(caught.value) == "map: bits of activation t must be at most 4 (t), not 8"
    path.write_text(json.dumps({"allocation": {"a": 2}, "activations": {"t": 3}}))
    with pytest.raises(QuantError) as caught:
        read_map(path)
    assert str(caught.value) == f"{path}: bits of activation t must be from 4 to 8, not 3"
