"""Liberty, Boolean functions, timing, activity and energy on a library with round numbers."""

from pathlib import Path

import pytest

from synth import activity, boolean, liberty, timing
from synth.cells import LibertyError, Library
from synth.drive import with_drivers
from synth.energy import energy
from synth.netlist import Instance, Netlist, read
from synth.yosys import full_adder

TINY = Path(__file__).parent / "data" / "tiny.lib"


@pytest.fixture(scope="module")
def library() -> Library:
    return liberty.load(TINY)


@pytest.fixture
def divider(library: Library) -> Netlist:
    """A flip-flop that takes its own complement: Q toggles every cycle."""
    cells = library.cells
    return Netlist(
        top="divider",
        inputs={"clk": [1]},
        outputs={"q": [2]},
        instances=(
            Instance(name="flop", cell=cells["DFF"], nets={"D": 3, "CK": 1, "Q": 2}),
            Instance(name="gate", cell=cells["INV"], nets={"A": 2, "Y": 3}),
        ),
        library=library,
        output_load_ff={"q": [2.5]},
    )


@pytest.mark.parametrize(
    ("text", "ones"),
    [
        ("!(A & B)", {0, 1, 2}),
        ("(A B)'", {0, 1, 2}),
        ("A*B' + A'*B", {1, 2}),
        ("A ^ B", {1, 2}),
        ("A | B & A", {1, 3}),
        ("!A & !B", {0}),
        ("1", {0, 1, 2, 3}),
    ],
)
def test_liberty_functions_have_their_truth_table(text: str, ones: set[int]) -> None:
    function = boolean.parse(text)
    table = {i for i in range(4) if function.value({"A": bool(i & 1), "B": bool(i & 2)})}
    assert table == ones


@pytest.mark.parametrize("text", ["A &", "(A", "A )", "& A", "A # B"])
def test_what_is_no_function_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expression must "):
        boolean.parse(text)


def test_library_is_read_with_its_units(library: Library) -> None:
    assert (library.name, library.voltage_v, library.corner) == ("tiny", 2.0, "typical")
    assert library.wire_ff(1) == 0.5
    assert library.wire_ff(2) == 1.5
    assert library.wire_ff(4) == 0.5 * (3 + 2 * 2)
    inverter = library.cells["INV"].outputs[0].arcs[0]
    assert inverter.rise_ns(0.5, 5.0) == pytest.approx(0.25)
    assert inverter.rise_ns(0.0, 20.0) == pytest.approx(0.30), "beyond the table"
    assert library.cells["NAND2"].leakage_nw == 3.0
    assert library.cells["DFF"].sequential


def test_units_of_a_coarser_library_are_converted(tmp_path: Path) -> None:
    text = TINY.read_text().replace("(1,ff)", "(0.001,pf)").replace('"1ns"', '"10ps"')
    path = tmp_path / "coarse.lib"
    path.write_text(text)
    coarse = liberty.load(path)
    assert coarse.cells["INV"].pins["A"].capacitance_ff == pytest.approx(1.0)
    assert coarse.cells["INV"].outputs[0].arcs[0].rise_ns(0.0, 0.0) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read the Liberty file \(No such file or directory\)$"),
        ("", r"must be a Liberty file, but parsing failed"),
        ("library (x) { cell (INV) { area : 1.0; } }", r"must have a flip-flop cell, none found"),
    ],
)
def test_bad_liberty_is_one_line_with_its_path(
    content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.lib"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LibertyError, match=message) as error:
        liberty.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_period_of_a_divider_by_hand(divider: Netlist) -> None:
    result = timing.analyse(divider)
    # the inverter drives D: 1 fF and 0.5 fF of wire, so 0.115 ns after the falling Q, 0.25 ns
    assert result.min_period_ns == pytest.approx(0.25 + 0.115 + 0.05)
    assert [step.split()[-2:] for step in result.critical_path] == [
        ["flop", "(DFF)"],
        ["gate", "(INV)"],
    ]
    assert result.delay_ps["flop", "Q"] == (200, 250)


def test_setup_is_that_of_the_edge_that_comes_last(library: Library) -> None:
    flop = library.cells["DFF"]
    netlist = Netlist(
        top="shift",
        inputs={"clk": [1], "d": [2]},
        outputs={},
        instances=(
            Instance(name="one", cell=flop, nets={"D": 2, "CK": 1, "Q": 3}),
            Instance(name="two", cell=flop, nets={"D": 3, "CK": 1, "Q": 4}),
        ),
        library=library,
    )
    result = timing.analyse(netlist)
    # falling 0.25 and 0.04 ns of setup, rising 0.20 and 0.05
    assert result.min_period_ns == pytest.approx(0.29)
    assert (result.start, result.end) == ("one", "two")


def test_late_inputs_lengthen_the_period(library: Library) -> None:
    cells = library.cells
    netlist = Netlist(
        top="and",
        inputs={"clk": [1], "a": [2], "b": [3]},
        outputs={"q": [5]},
        instances=(
            Instance(name="gate", cell=cells["NAND2"], nets={"A": 2, "B": 3, "Y": 4}),
            Instance(name="flop", cell=cells["DFF"], nets={"D": 4, "CK": 1, "Q": 5}),
        ),
        library=library,
    )
    assert timing.analyse(netlist, input_arrival_ns=0.4).min_period_ns == pytest.approx(0.6)


def test_combinational_loop_is_refused(library: Library) -> None:
    inverter = library.cells["INV"]
    netlist = Netlist(
        top="ring",
        inputs={"clk": [1]},
        outputs={},
        instances=(
            Instance(name="one", cell=inverter, nets={"A": 2, "Y": 3}),
            Instance(name="two", cell=inverter, nets={"A": 3, "Y": 2}),
        ),
        library=library,
    )
    with pytest.raises(ValueError, match=r"^ring must have no combinational loop$"):
        timing.analyse(netlist)


def test_energy_of_a_divider_by_hand(divider: Netlist, tmp_path: Path) -> None:
    result = timing.analyse(divider)
    run = activity.simulate(
        divider,
        result,
        {},
        period_ns=2.0,
        input_arrival_ns=0.1,
        bounds=(2, 12),
        folder=tmp_path,
        cycles=16,
    )
    assert run.windows[0].toggles(2) == 10
    assert run.windows[0].toggles(3) == 10
    assert run.outputs["q"][:6] in ([1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1])
    spent = energy(divider, result, run.windows[0])
    # Q drives the inverter (1 fF), the output (2.5 fF) and wire of two (1.5 fF); the inverter D
    assert spent.switching_fj == pytest.approx(0.5 * 4.0 * ((1 + 2.5 + 1.5) + (1 + 0.5)))
    # Q: 4 and 5 in turn; inverter: 2 and 1; D toggles while the clock is high
    assert spent.internal_fj == pytest.approx((4 + 5) / 2 + (2 + 1) / 2 + 0.5)
    # the clock pin, twice a cycle, and 6 fJ of the cycles in which the state changes
    assert spent.clock_fj == pytest.approx(1.0 * 4.0 + 6.0)


def test_netlist_without_activity_costs_its_clock_only(library: Library, tmp_path: Path) -> None:
    netlist = Netlist(
        top="still",
        inputs={"clk": [1], "a": [2]},
        outputs={"q": [3]},
        instances=(
            Instance(name="flop", cell=library.cells["DFF"], nets={"D": 2, "CK": 1, "Q": 3}),
        ),
        library=library,
    )
    result = timing.analyse(netlist)
    run = activity.simulate(
        netlist,
        result,
        {"a": [1] * 20},
        period_ns=1.0,
        input_arrival_ns=0.1,
        bounds=(4, 16),
        folder=tmp_path,
    )
    spent = energy(netlist, result, run.windows[0])
    assert (spent.switching_fj, spent.internal_fj) == (0, 0)
    assert spent.clock_fj == pytest.approx(1.0 * 4.0 + 2.0 + 3.0)
    assert run.outputs["q"][-1] == 1


def test_missing_simulator_is_one_line(
    divider: Netlist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(activity.SimulationError, match=r"^iverilog must be on PATH; install "):
        activity.run_icarus(tmp_path, "gates")


def test_long_lines_get_a_buffer_and_short_ones_do_not(divider: Netlist) -> None:
    assert with_drivers(divider, {"q": [5.0]}).instances == divider.instances
    driven = with_drivers(divider, {"q": [40.0]})
    (buffer,) = driven.instances[2:]
    assert buffer.cell.name == "BUF"
    assert buffer.nets["A"] == 2
    assert driven.outputs["q"] == [buffer.nets["Y"]]
    assert driven.load_ff[buffer.nets["Y"]] == 40.0 + 0.5


def test_full_adder_is_recognised_by_its_functions(library: Library) -> None:
    rule = full_adder(library)
    assert rule is not None
    assert "ADD3 cell (.X(A[i]), .Y(B[i]), .Z(C[i]), .S(Y[i]), .C(X[i]));" in rule


def test_cell_that_the_library_lacks_is_one_line(library: Library) -> None:
    document = {
        "top": "pe",
        "ports": {"a": {"direction": "input", "bits": [2]}},
        "cells": {"u1": {"type": "$_DLATCH_P_", "connections": {"D": [2], "Q": [3]}}},
        "names": {},
    }
    with pytest.raises(LibertyError) as error:
        read(document, library=library)
    line = str(error.value)
    assert line.startswith(f"{library.path}: the library must have a cell for $_DLATCH_P_ of pe; ")
    assert "\n" not in line
