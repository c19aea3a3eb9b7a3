"""Our static timing against OpenSTA, and what OpenSTA is given."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hw.config import ArrayConfig
from synth import liberty, opensta, timing
from synth.mapped import map_and_time
from synth.netlist import Instance, Netlist
from synth.sta import app, beyond, compared

TINY = Path(__file__).parent / "data" / "tiny.lib"


@pytest.fixture
def divider() -> Netlist:
    """A flip-flop that takes its own complement, and an input that reaches two outputs."""
    library = liberty.load(TINY)
    cells = library.cells
    return Netlist(
        top="divider",
        inputs={"clk": [1], "a": [4]},
        outputs={"q": [2, "1"], "b": [4]},
        instances=(
            Instance(name="flop", cell=cells["DFF"], nets={"D": 3, "CK": 1, "Q": 2}),
            Instance(name="gate", cell=cells["NAND2"], nets={"A": 2, "B": "1", "Y": 3}),
        ),
        library=library,
    )


def test_netlist_is_written_as_structural_verilog(divider: Netlist) -> None:
    assert opensta.verilog(divider).splitlines() == [
        r"module divider(clk, \a.0 , \q.0 , \q.1 , \b.0 );",
        "input clk;",
        r"input \a.0 ;",
        r"output \q.0 ;",
        r"output \q.1 ;",
        r"output \b.0 ;",
        "wire n3;",
        r"assign \q.1  = 1'b1;",
        r"assign \b.0  = \a.0 ;",
        r"DFF \flop (.D(n3), .CK(clk), .Q(\q.0 ));",
        r"NAND2 \gate (.A(\q.0 ), .B(1'b1), .Y(n3));",
        "endmodule",
    ]


def test_script_gives_the_conditions_of_our_timing(divider: Netlist) -> None:
    result = timing.analyse(divider, input_arrival_ns=0.3, input_slew_ns=0.1)
    lines = opensta.script(divider, result).splitlines()
    assert "set_wire_load_model -name short" in lines
    assert "set_input_delay 0.3 -clock clock [get_ports {a.0}]" in lines
    assert "set_input_transition 0.1 [get_ports {a.0}]" in lines
    assert "set_load -pin_load 2.0 [get_ports {q.1}]" in lines
    assert not [line for line in lines if "clk.0" in line]


def test_slowest_path_has_its_ends(divider: Netlist) -> None:
    result = timing.analyse(divider)
    assert (result.start, result.end) == ("flop", "flop")
    late = timing.analyse(divider, late_ns={"a": 3.0})
    assert (late.start, late.end) == ("a.0", "b.0")
    assert late.critical_path == ["3.000 ns  rise  input a.0"]


def test_a_transition_is_the_slowest_of_all_that_reach_a_net() -> None:
    library = liberty.load(liberty.nangate45())
    buffer, gate = library.cells["BUF_X1"], library.cells["OR2_X1"]
    netlist = Netlist(
        top="either",
        inputs={"a": [2], "b": [3]},
        outputs={"y": [5], "slow": [4]},
        instances=(
            Instance(name="slow", cell=buffer, nets={"A": 2, "Z": 4}),
            Instance(name="gate", cell=gate, nets={"A1": 4, "A2": 3, "ZN": 5}),
        ),
        library=library,
        output_load_ff={"y": [2.0], "slow": [80.0]},
    )
    early = timing.analyse(netlist, late_ns={"b": -1.0})
    late = timing.analyse(netlist, late_ns={"b": 1.0})
    # whichever input comes last, the slow one may decide the next gate's delay
    assert late.start == "b.0"
    assert late.slew_ns[5] == pytest.approx(early.slew_ns[5])


@pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA (sta) is not installed")
def test_minimum_period_of_a_small_array_is_that_of_opensta(tmp_path: Path) -> None:
    modules = map_and_time(ArrayConfig(rows=2, cols=2, lanes=2), liberty.load(liberty.nangate45()))
    entries = {name: compared(mapped, tmp_path / name) for name, mapped in modules.items()}
    assert set(entries) == {"pe", "weight_edge", "act_edge", "control"}
    assert beyond({"kinds": {"small": entries}}) == []
    # and what OpenSTA is given matters: twice the slew and a late input move its result, too
    pe = modules["pe"]
    later = timing.analyse(pe.netlist, input_arrival_ns=1.0, input_slew_ns=0.2)
    moved = opensta.analyse(pe.netlist, later, folder=tmp_path / "later")
    assert moved.min_period_ns > entries["pe"]["opensta_min_period_ns"] + 0.5
    assert moved.min_period_ns == pytest.approx(later.min_period_ns, rel=0.05)


def test_a_difference_beyond_the_limit_is_a_line() -> None:
    entry = {"min_period_ns": 1.06, "opensta_min_period_ns": 1.0, "ratio": 1.06}
    document = {"kinds": {"some": {"pe": entry, "control": entry | {"ratio": 0.96}}}}
    assert beyond(document) == ["some pe: 1.06 ns must be within 5% of OpenSTA's 1.0 ns"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kinds", "abacus"), "synth.sta: kinds must be some of booth_digit, bit_pair, "),
        ((), "synth.sta: sta must be on PATH; install OpenSTA, e.g. `apt-get install opensta`"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [*arguments, *(["--path"] if arguments else [])]
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
