"""Limits and their syntax; exact and greedy allocation against exhaustive search; hardware."""

import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape
from quant.budget import Budget
from quant.cost import Prices
from quant.errors import QuantError
from quant.graph import Layer
from quant.greedy import greedy
from quant.hardware import Candidate, area_limit_um2, pick
from quant.map_file import check_map, check_names, read_map
from quant.menu import Menu, Policy, menu_of
from quant.milp import cheapest, exact, total_loss
from quant.objective import Objective
from quant.options import Options
from quant.resources import Limit, Resource, parse_limit, shown
from quant.wishes import Wishes
from synth.table import ArrayFigures, ArrayParameters, CostTable, EngineFigures, ModuleFigures

ROOT = Path(__file__).parent.parent
W2, W4, W6, W8 = WeightMode
NAMES = "abcde"


@pytest.mark.parametrize(
    ("text", "resource", "limit"),
    [
        ("0.4", Resource.SIZE, Limit(value=0.4, relative=True)),
        ("40%", Resource.ENERGY, Limit(value=0.4, relative=True)),
        ("1", Resource.BOPS, Limit(value=1.0, relative=True)),
        ("200kbit", Resource.SIZE, Limit(value=200_000, relative=False)),
        ("25 kB", Resource.SIZE, Limit(value=200_000, relative=False)),
        ("1KiB", Resource.SIZE, Limit(value=8192, relative=False)),
        ("2.5uJ", Resource.ENERGY, Limit(value=2.5e6, relative=False)),
        ("15us", Resource.LATENCY, Limit(value=15_000, relative=False)),
        ("3e-3s", Resource.LATENCY, Limit(value=3e6, relative=False)),
        ("300MBOPs", Resource.BOPS, Limit(value=3e8, relative=False)),
        ("0.2mm2", Resource.AREA, Limit(value=200_000, relative=False)),
        ("1.5", Resource.AREA, Limit(value=1.5, relative=True)),
    ],
)
def test_limits_are_shares_or_have_a_unit(text: str, resource: Resource, limit: Limit) -> None:
    found = parse_limit(text, resource)
    assert found.relative is limit.relative
    assert found.value == pytest.approx(limit.value, rel=1e-12)


RULE = "must be a share of 8 bit such as 0.4 or 40%, or have a unit of"
RANGE = "must be above 0 and at most 1 (uniform 8 bit), or have a unit of"


@pytest.mark.parametrize(
    ("text", "resource", "message"),
    [
        ("2.5uJ", Resource.LATENCY, f"max_latency {RULE} ns, us, ms, s, not 2.5uJ"),
        ("much", Resource.ENERGY, f"max_energy {RULE} pJ, nJ, uJ, mJ, not much"),
        ("1.2.3", Resource.ENERGY, f"max_energy {RULE} pJ, nJ, uJ, mJ, not 1.2.3"),
        ("", Resource.ENERGY, f"max_energy {RULE} pJ, nJ, uJ, mJ, not "),
        ("1.01", Resource.ENERGY, f"max_energy {RANGE} pJ, nJ, uJ, mJ, not 1.01"),
        ("nan", Resource.LATENCY, f"max_latency {RANGE} ns, us, ms, s, not nan"),
        ("-0.5", Resource.LATENCY, f"max_latency {RANGE} ns, us, ms, s, not -0.5"),
        ("0ns", Resource.LATENCY, "max_latency must be above 0 ns, not 0ns"),
        ("infus", Resource.LATENCY, "max_latency must be above 0 us, not infus"),
        ("0", Resource.AREA, "max_area must be above 0 of the INT8 MAC array's area, not 0"),
    ],
)
def test_wrong_limits_are_refused_in_a_line(text: str, resource: Resource, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        parse_limit(text, resource)
    assert str(caught.value) == message


def test_values_are_shown_with_a_fitting_unit() -> None:
    assert shown(246_630, Resource.SIZE) == "246.6 kbit"
    assert shown(2.5e6, Resource.ENERGY) == "2.5 uJ"
    assert shown(0.5, Resource.LATENCY) == "0.5 ns"
    assert shown(3e8, Resource.BOPS) == "300 MBOPs"


def made_up(seed: int) -> tuple[Menu, dict[str, dict[WeightMode, float]]]:
    """Uses that rise with the bits, sensitivities that fall; one layer has one choice."""
    random = np.random.default_rng(seed)
    sizes, speeds = random.integers(1, 20, len(NAMES)), random.uniform(1, 5, len(NAMES))
    choices = dict.fromkeys(NAMES, (W2, W4, W8)) | {"c": (W4,)}
    use = {
        name: {
            m: {Resource.SIZE: float(size * m.bits), Resource.ENERGY: float(speed * m.bits**0.5)}
            for m in WeightMode
        }
        for name, size, speed in zip(NAMES, sizes, speeds, strict=True)
    }
    price = {name: {m: use[name][m][Resource.ENERGY] for m in WeightMode} for name in NAMES}
    loss = {
        name: {m: float(random.uniform(0.5, 2) * 4.0 ** (4 - m.value)) for m in WeightMode}
        for name in NAMES
    }
    return Menu(choices=choices, use=use, price=price, objective=Objective.ENERGY), loss


def every(menu: Menu) -> list[dict[str, WeightMode]]:
    options = itertools.product(*(menu.choices[name] for name in menu.names))
    return [dict(zip(menu.names, modes, strict=True)) for modes in options]


def total(loss: dict[str, dict[WeightMode, float]], bits: Mapping[str, WeightMode]) -> float:
    return sum(loss[name][mode] for name, mode in bits.items())


@pytest.mark.parametrize("seed", range(6))
def test_the_integer_program_finds_what_exhaustive_search_finds(seed: int) -> None:
    menu, loss = made_up(seed)
    full = menu.total(menu.uniform(W8))
    limits = {
        Resource.SIZE: 0.55 * full[Resource.SIZE],
        Resource.ENERGY: 0.8 * full[Resource.ENERGY],
    }
    budget = Budget(limits=limits)
    within = [bits for bits in every(menu) if budget.uses_met(menu.total(bits))]
    found = exact(menu, budget, loss)
    assert found is not None
    assert found.acts == {}
    assert found.bits in within
    assert total(loss, found.bits) == pytest.approx(min(total(loss, bits) for bits in within))
    least = min(menu.total_price(bits) for bits in within)
    low = cheapest(menu, budget)
    assert low is not None
    assert menu.total_price(low.bits) == pytest.approx(least)
    most = 1.5 * total(loss, found.bits)
    good = [bits for bits in within if total(loss, bits) <= most]
    spare = cheapest(menu, budget, loss, max_loss=most)
    assert spare is not None
    assert spare.bits in good
    assert menu.total_price(spare.bits) == pytest.approx(min(map(menu.total_price, good)))
    assert total_loss(spare, loss) == pytest.approx(total(loss, spare.bits))
    assert cheapest(menu, budget, loss, max_loss=0.9 * total(loss, found.bits)) is None
    cap = 0.7 * menu.total_price(found.bits)
    cheap = [bits for bits in within if menu.total_price(bits) <= cap]
    capped = exact(menu, budget, loss, max_price=cap)
    if not cheap:
        assert capped is None
    else:
        assert capped is not None
        assert capped.bits in cheap
        assert total(loss, capped.bits) == pytest.approx(min(total(loss, bits) for bits in cheap))


@pytest.mark.parametrize("seed", range(6))
def test_greedy_keeps_the_limits_and_is_never_better_than_exact(seed: int) -> None:
    menu, loss = made_up(seed)
    budget = Budget(limits={Resource.SIZE: 0.5 * menu.total(menu.uniform(W8))[Resource.SIZE]})
    found, best = greedy(menu, budget, loss), exact(menu, budget, loss)
    assert found is not None
    assert best is not None
    assert budget.uses_met(menu.total(found.bits))
    assert total(loss, found.bits) >= total(loss, best.bits) - 1e-9
    # no smaller threshold would do: raising the worst layer's bits breaks the limit
    levels = sorted({loss[n][m] for n in menu.names for m in menu.choices[n]})
    reached = max(loss[n][found.bits[n]] for n in menu.names if len(menu.choices[n]) > 1)
    lower = max((x for x in levels if x < reached), default=None)
    if lower is not None:
        tighter = {
            n: next((m for m in ms if loss[n][m] <= lower), ms[-1])
            for n, ms in menu.choices.items()
        }
        assert tighter == found.bits or not budget.uses_met(menu.total(tighter))


def test_limits_that_nothing_keeps_give_none_and_the_smallest_is_known() -> None:
    menu, loss = made_up(0)
    smallest = menu.smallest(Resource.SIZE)
    assert smallest == min(menu.total(bits)[Resource.SIZE] for bits in every(menu))
    budget = Budget(limits={Resource.SIZE: smallest * 0.999})
    assert exact(menu, budget, loss) is None
    assert greedy(menu, budget, loss) is None
    tight = Budget(limits={Resource.SIZE: smallest})
    assert exact(menu, tight, loss) == greedy(menu, tight, loss) == menu.leanest(Resource.SIZE)


LAYERS = tuple(
    Layer(name=name, shape=GemmShape(pixels=16, depth=24, outputs=8), source="x")
    for name in ("first", "middle", "last")
)


def array(name: str, area_um2: float | None, rows: int = 4, **figures: Any) -> CostTable:
    config = ArrayConfig(rows=rows, cols=4, lanes=8)
    pe = ModuleFigures(
        area_um2=area_um2, leakage_nw=0.0, idle_energy_pj=0.0, energy_pj={"W2": 1.0, "W8": 4.0}
    )
    record = ArrayFigures(
        parameters=ArrayParameters.of(config), modules={"pe": pe}, source="made up", **figures
    )
    return CostTable(name=name, clock_period_ns=1.0, array=record, baselines={"int8_mac": record})


def candidate(table: CostTable, policy: Policy | None = None) -> Candidate:
    prices = Prices(table=table, layers=LAYERS)
    menu = menu_of(LAYERS, prices, (policy or Policy()).on(table))
    return Candidate(path=Path(table.name), table=table, prices=prices, menu=menu)


def test_the_menu_knows_every_resource_and_shares_are_of_uniform_8_bit() -> None:
    menu = candidate(array("t", 1.0)).menu
    eight = menu.total(menu.uniform(W8))
    assert eight[Resource.SIZE] == 3 * 24 * 8 * 8
    assert eight[Resource.BOPS] == 3 * 8 * 8 * 16 * 24 * 8
    assert menu.smallest(Resource.ENERGY) < eight[Resource.ENERGY]
    wishes = Wishes(limits={Resource.ENERGY: Limit(value=0.5, relative=True)})
    assert wishes.budget(menu).limits == {Resource.ENERGY: 0.5 * eight[Resource.ENERGY]}


def test_first_and_last_layer_can_be_pinned_and_modes_chosen() -> None:
    table = array("t", 1.0)
    menu = candidate(table, Policy(modes=(W2,), first_last=W8)).menu
    assert menu.choices == {"first": (W8,), "middle": (W2,), "last": (W8,)}
    assert menu.uniform(W2) == {"first": W8, "middle": W2, "last": W8}
    with pytest.raises(QuantError, match=r"^modes must be some of 2, 8 \(those of t\), not 4$"):
        Policy(modes=(W4,)).on(table)


def test_the_smallest_array_that_fits_is_picked() -> None:
    small, large = candidate(array("small", 10.0)), candidate(array("large", 30.0, rows=16))
    area = Wishes(limits={Resource.AREA: Limit(value=40.0, relative=False)})
    assert pick([large, small], area) is small
    fast = large.menu.smallest(Resource.LATENCY)
    quick = Limit(value=fast, relative=False)
    assert small.unreachable(Wishes(limits={Resource.LATENCY: quick})) == {
        Resource.LATENCY: small.menu.smallest(Resource.LATENCY)
    }
    assert pick([small, large], Wishes(limits={**area.limits, Resource.LATENCY: quick})) is large
    tight = Wishes(limits={Resource.AREA: Limit(value=5.0, relative=False)})
    assert pick([large, small], tight) is small


def test_a_share_of_area_is_of_the_int8_macs() -> None:
    share = Limit(value=0.5, relative=True)
    assert area_limit_um2(share, array("t", 30.0)) == 15.0
    bare = array("t", 30.0).model_copy(update={"baselines": {}})
    with pytest.raises(QuantError) as caught:
        area_limit_um2(share, bare)
    assert str(caught.value) == (
        "max_area cannot be priced: t misses baselines.int8_mac, of whose area it is a share; "
        "give it in um2 or mm2"
    )


def engine(**figures: Any) -> CostTable:
    record = EngineFigures(name="e", source="a book", **figures)
    return CostTable(name="t", array=record)


@pytest.mark.parametrize(
    ("table", "limit", "text"),
    [
        (
            engine(throughput={"W4": 2.0, "W8": 1.0}),
            (Resource.ENERGY, "10uJ"),
            "max_energy cannot be priced: t misses array.energy_per_mac_pj.W4",
        ),
        (
            engine(mac_energy_pj={"W4": 2.0, "W8": 1.0}),
            (Resource.LATENCY, "10us"),
            "max_latency cannot be priced: t misses array.macs_per_cycle.W4",
        ),
        (
            engine(throughput={"W8": 1.0}),
            (Resource.LATENCY, "0.5"),
            "max_latency cannot be priced: t misses clock_period_ns",
        ),
        (
            engine(mac_energy_pj={"W4": 2.0}),
            (Resource.ENERGY, "0.5"),
            "max_energy must be absolute, such as 10pJ, since t has no 8-bit mode to compare with",
        ),
        (
            engine(throughput={"W8": 1.0}),
            (Resource.AREA, "1mm2"),
            "max_area cannot be priced: t misses array.area_um2",
        ),
    ],
)
def test_a_budget_without_a_price_names_the_missing_field(
    table: CostTable, limit: tuple[Resource, str], text: str
) -> None:
    resource, given = limit
    wishes = Wishes(limits={resource: parse_limit(given, resource)})
    with pytest.raises(QuantError) as caught:
        wishes.check_priced(table, Policy().on(table).used)
    assert str(caught.value) == text


def test_a_map_is_read_from_plain_json_or_a_result(tmp_path: Path) -> None:
    path = tmp_path / "bits.json"
    for text in ('{"a": 2, "b": 8}', '{"allocation": {"a": 2, "b": 8}, "seed": 0}'):
        path.write_text(text)
        assert read_map(path) == ({"a": W2, "b": W8}, {})
    path.write_text('{"a": 3}')
    with pytest.raises(QuantError) as caught:
        read_map(path)
    assert str(caught.value) == f"{path}: bits of a must be one of 2, 4, 6, 8, not 3"
    with pytest.raises(QuantError, match=r"^map must have every layer, not leave out or add b$"):
        check_names({"a": W2}, ("a", "b"))
    with pytest.raises(QuantError, match=r"^map: bits of a must be one of 2, 8 \(t\), not 4$"):
        check_map({"a": W4}, array("t", 1.0))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"method": "magic"},
            "method must be one of sigmaquant, milp, greedy, uniform, auto, not magic",
        ),
        (
            {"sensitivity": "kl"},
            "sensitivity must come with --method milp, not with another method",
        ),
        (
            {"method": "milp", "sensitivity": "gut"},
            "sensitivity must be one of kl, logit-kl, hessian, fisher, not gut",
        ),
        ({"pareto": "area"}, "pareto must be one of energy, size, latency, not area"),
        ({"modes": "2,3"}, "modes must be some of 2,4,6,8 with commas between, not 2,3"),
        ({"first_last": "9"}, "first-last must be free or one of 2, 4, 6, 8, not 9"),
    ],
)
def test_wrong_options_are_refused_in_a_line(given: dict[str, Any], text: str) -> None:
    with pytest.raises(QuantError) as caught:
        Options(**given).request(command="")
    assert str(caught.value) == text


def test_the_size_is_limited_only_where_nothing_else_is() -> None:
    limits = Options().request(command="").wishes.limits
    assert limits == {Resource.SIZE: Limit(value=0.4, relative=True)}
    limits = Options(max_latency="15us").request(command="").wishes.limits
    assert limits == {Resource.LATENCY: Limit(value=15e3, relative=False)}


def test_the_default_table_is_the_catalogues_edge_configuration() -> None:
    ((path, table),) = Options().request(command="").tables
    assert candidate(table).configuration == "edge"
    assert json.loads(path.read_text())["name"] == table.name


def test_options_are_checked_without_torch() -> None:
    code = "import sys, quant.search; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
