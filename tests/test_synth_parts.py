"""Area and energy by part: they sum up to the module, and gates are where they belong."""

from collections import Counter
from dataclasses import replace
from math import fsum
from pathlib import Path

import pytest
import typer

from hw.config import ArrayConfig, PEKind, Stage
from synth import candidates, liberty, timing
from synth.activity import Activity
from synth.breakdown import Part, by_part, parts_of
from synth.cells import Library
from synth.characterise import characterise
from synth.command import BenchOptions
from synth.designs import designs
from synth.drive import with_drivers
from synth.energy import energy, energy_by_instance
from synth.mapped import STANDARD, map_array
from synth.netlist import Net, Netlist
from synth.parts import break_down, lines, macs_per_step
from synth.parts import main as command
from synth.plot_parts import COLOURS, plot_parts
from synth.report import MODES
from synth.yosys import map_to_cells

OPERANDS = Path(__file__).parents[1] / "synth" / "operands" / "resnet8.npz"
SMALL = ArrayConfig(rows=2, cols=2, lanes=8, group=4, drain_rows=1)


@pytest.fixture(scope="module")
def library() -> Library:
    return liberty.load(liberty.nangate45())


@pytest.fixture(scope="module")
def modules(library: Library) -> dict[str, Netlist]:
    """Modules of a small array of bit pairs."""
    return map_array(SMALL, library)


def _mapped(config: ArrayConfig, module: str, library: Library) -> Netlist:
    """One module alone, mapped as `map_array` does."""
    return map_to_cells(designs(config)[module], top=module, library=library, recipe=STANDARD)


def _activity(netlist: Netlist) -> Activity:
    """Edges that differ from net to net."""
    nets = sorted({n for i in netlist.instances for n in i.nets.values() if isinstance(n, int)})
    edges: dict[Net, tuple[int, int]] = {net: (net % 7, net % 3) for net in nets}
    return Activity(cycles=10, rises=edges, falls=edges)


@pytest.mark.parametrize("module", ["pe", "weight_edge", "act_edge", "control"])
def test_parts_sum_up_to_the_module(modules: dict[str, Netlist], module: str) -> None:
    netlist = modules[module]
    result, activity = timing.analyse(netlist), _activity(netlist)
    parts = by_part(netlist, SMALL, timing=result, activity=activity)
    whole = energy(netlist, result, activity)
    assert fsum(p.area_um2 for p in parts.values()) == pytest.approx(netlist.area_um2, rel=1e-12)
    assert fsum(p.energy_fj for p in parts.values()) == pytest.approx(whole.total_fj, rel=1e-12)
    assert parts[Part.CLOCK].energy_fj == pytest.approx(whole.clock_fj, rel=1e-12)
    assert parts[Part.CLOCK].area_um2 == 0
    spent = energy_by_instance(netlist, result, activity)
    assert set(spent) == {instance.name for instance in netlist.instances}


def test_parts_of_a_pe_are_those_of_its_registers_and_cones(modules: dict[str, Netlist]) -> None:
    netlist = modules["pe"]
    found = parts_of(netlist, SMALL)
    flops = Counter(found[i.name] for i in netlist.instances if i.cell.sequential)
    # two trees of two groups of four lanes, 10 bits each, then the shifted sum
    summand = flops[Part.REGISTERS] - 2 * 2 * 10
    assert 17 <= summand <= 20
    assert flops[Part.ACCUMULATOR] == flops[Part.RESULTS] == SMALL.acc_bits
    gates = {p: [i for i in netlist.instances if found[i.name] is p] for p in Part}
    # a bit of a product is a gate, but where abc made one of it and of an adder's
    assert 2 * 8 * 8 * 0.7 <= len(gates[Part.LANES]) <= 2 * 8 * 8 * 1.2
    assert not [i for i in gates[Part.LANES] if len(i.cell.outputs) == 2]
    assert [i for i in gates[Part.TREE] if len(i.cell.outputs) == 2], "full adders"
    shifts = set(netlist.inputs["control"][:4])
    assert all(
        found[i.name] is Part.SHIFTER
        for i in netlist.instances
        if shifts & set(i.nets.values()) and not i.cell.sequential
    )
    assert not {Part.RECODER, Part.EXCESS, Part.CONTROL, Part.DRIVERS} & set(found.values())


def test_parts_of_the_edges(modules: dict[str, Netlist]) -> None:
    def flops(module: str) -> Counter[Part]:
        netlist = modules[module]
        found = parts_of(netlist, SMALL)
        return Counter(found[i.name] for i in netlist.instances if i.cell.sequential)

    weight, act = flops("weight_edge"), flops("act_edge")
    assert weight[Part.REGISTERS] == 2 * 8
    assert weight[Part.EXCESS] >= 2 * SMALL.acc_bits
    assert act == {Part.REGISTERS: 8 * 8, Part.CONTROL: 4 + 1 + 3}
    control = modules["control"]
    assert set(parts_of(control, SMALL).values()) == {Part.CONTROL}


def test_booth_digits_have_a_recoder_and_bit_pairs_have_none(
    library: Library, modules: dict[str, Netlist]
) -> None:
    booth = replace(SMALL, pe=PEKind.BOOTH_DIGIT)
    edge = _mapped(booth, "weight_edge", library)
    found = Counter(parts_of(edge, booth).values())
    assert found[Part.RECODER] >= 8 * 3, "a register below, and the gates of a digit, a lane"
    assert Part.RECODER not in parts_of(modules["weight_edge"], SMALL).values()


def test_without_a_register_of_the_sum_the_shifter_is_told_all_the_same(library: Library) -> None:
    bare = replace(SMALL, registers=(Stage.GROUP,), pe=PEKind.BOOTH_DIGIT)
    netlist = _mapped(bare, "pe", library)
    found = parts_of(netlist, bare)
    assert {Part.LANES, Part.TREE, Part.SHIFTER, Part.ACCUMULATOR} <= set(found.values())
    # every gate that the accumulator's own value reaches is the accumulator's
    held = {
        net
        for i in netlist.instances
        if i.cell.sequential and found[i.name] is Part.ACCUMULATOR
        for pin, net in i.nets.items()
        if i.cell.pins[pin].output
    }
    users = {found[i.name] for i in netlist.instances if held & set(i.nets.values())}
    assert users <= {Part.ACCUMULATOR, Part.RESULTS}


def test_line_drivers_are_a_part(modules: dict[str, Netlist]) -> None:
    edge = modules["act_edge"]
    driven = with_drivers(edge, {"out": [60.0] * len(edge.outputs["out"])})
    found = Counter(parts_of(driven, SMALL).values())
    assert found[Part.DRIVERS] == len(edge.outputs["out"])


def test_what_is_no_module_is_refused(modules: dict[str, Netlist]) -> None:
    with pytest.raises(ValueError, match=r"^netlist must be a module of an array, not other$"):
        parts_of(replace(modules["pe"], top="other"), SMALL)


def test_small_array_is_broken_down_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # one netlist a module is enough to break down
    monkeypatch.setattr(candidates, "recipes", lambda *given, **more: [STANDARD])
    bench = BenchOptions(clock_ns=1.8, products=600, cache=tmp_path / "store", workers=0).bench()
    array = characterise(SMALL, bench).cost
    entry = {"area_um2": array.area_um2} | break_down(
        array, {mode: macs_per_step(SMALL, mode) for mode in MODES}
    )
    total = fsum(part["area_um2"] for part in entry["parts"].values())
    assert total == pytest.approx(entry["area_um2"], rel=1e-9)
    assert entry["macs_per_step"] == {"W8": 8.0, "W6": 32 / 3, "W4": 16.0, "W2": 32.0}
    assert all(set(p["fj_per_mac"]) == {m.name for m in MODES} for p in entry["parts"].values())
    text = lines("small", entry)
    assert len(text) == len(entry["parts"]) + 2
    assert text[-1].split()[:3] == ["all", f"{entry['area_um2']:.0f}", "100"]
    plot_parts({"small": entry}, tmp_path / "parts.png")
    assert (tmp_path / "parts.png").read_bytes().startswith(b"\x89PNG")


def test_every_part_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == set(Part)
    assert len(set(COLOURS.values())) == len(Part)


def test_macs_of_a_step_of_digit_planes_depend_on_the_mode() -> None:
    planes = replace(SMALL, pe=PEKind.DIGIT_PLANES)
    assert [macs_per_step(planes, mode) for mode in MODES] == [8.0, 8.0, 16.0, 32.0]


@pytest.mark.parametrize(("names", "what"), [("abacus", "abacus"), ("shift_add", "shift_add")])
def test_unknown_kind_is_one_line_and_status_2(
    names: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as error:
        command(names=names, operand_file=OPERANDS, products=1)
    assert error.value.exit_code == 2
    line = capsys.readouterr().err
    assert line.startswith("synth.parts: kinds must be some of booth_digit, ")
    assert line.endswith(f", not {what}\n")
