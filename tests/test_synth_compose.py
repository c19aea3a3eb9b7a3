"""A whole array against the sum of its modules, on an array of two by two PEs of two lanes."""

from dataclasses import replace
from pathlib import Path

import pytest
import typer

from hw.config import ArrayConfig
from hw.precision import WeightMode
from synth import liberty, operands
from synth.cells import Library
from synth.compose import arrays, beyond, compose
from synth.compose import main as command
from synth.netlist import Net, Netlist
from synth.operands import sample_tiles
from synth.placed import kind_of, module_names, place, sinks
from synth.probe import Recording, all_watched, record

OPERANDS = Path(__file__).parents[1] / "synth" / "operands" / "resnet8.npz"
SMALL = ArrayConfig(rows=4, cols=2, lanes=2, drain_rows=2, group=2)


@pytest.fixture(scope="module")
def library() -> Library:
    return liberty.load(liberty.nangate45())


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The small array on the last layer's tiles, all its modules watched."""
    sampled = operands.load(OPERANDS)
    tiles = sample_tiles(sampled, WeightMode.W4, SMALL, products=1, cols=SMALL.cols)
    return record(
        SMALL, [tiles["block3.conv2"]], folder=tmp_path_factory.mktemp("rtl"), watch=all_watched
    )


def test_every_module_is_recorded(recording: Recording) -> None:
    assert set(recording.ports) == {"array", *module_names(SMALL)}
    assert {kind_of(name) for name in module_names(SMALL)} == {
        "control",
        "weight_edge",
        "act_edge",
        "pe",
    }
    assert len(module_names(SMALL)) == 1 + 2 + 4 + 8


def test_what_an_output_drives_sees_what_it_says(recording: Recording) -> None:
    joined = 0
    for module in module_names(SMALL):
        for port, values in recording.ports[module].items():
            for (sink, into), first in sinks(SMALL, module, port):
                seen = recording.ports[sink][into]
                if into == "load":  # a gate between: the first step of a chunk
                    starts = recording.ports["control"]["first"]
                    assert seen == [v & s for v, s in zip(values, starts, strict=True)]
                    continue
                mask = (1 << (SMALL.acc_bits if port == "chain_out" else 10_000)) - 1
                assert [value >> first & mask for value in seen] == values, (module, port, sink)
                assert any(values), (module, port)
                joined += 1
    # chains of 8 PEs, weights and activations to 8 PEs each, control to 8, and to 6 edges, and
    # step, first and last to the weight edges
    assert joined == 8 + 8 + 8 + 8 + 6 + 3 * 2


def test_modules_bear_the_pins_of_what_they_drive(library: Library) -> None:
    placed = place(SMALL, library)
    edge, pe = placed["weight_edge_1"].netlist, placed["pe_0_0"].netlist
    for net, pin in zip(edge.outputs["out"], pe.inputs["weight"], strict=True):
        pins = [*_pins(edge, net), *SMALL.rows * _pins(pe, pin)]
        assert edge.load_ff[net] == pytest.approx(sum(pins) + library.wire_ff(len(pins)))
    assert not [i for p in placed.values() for i in p.netlist.instances if "drive" in i.name]
    # what has come through the edges reaches the PEs later than the array's inputs change
    assert placed["pe_0_0"].input_arrival_ns > placed["control"].input_arrival_ns


def _pins(netlist: Netlist, net: Net) -> list[float]:
    """Capacitances of the input pins on a net."""
    return [
        instance.cell.pins[name].capacitance_ff
        for instance in netlist.instances
        for name, on in instance.nets.items()
        if on == net and not instance.cell.pins[name].output
    ]


def test_the_sum_is_near_the_whole_and_not_all_of_it(library: Library, tmp_path: Path) -> None:
    sampled = operands.load(OPERANDS)
    shallow = min(sampled.layers.items(), key=lambda layer: layer[1].act.shape[1])
    sampled = replace(sampled, layers=dict([shallow]))
    entry = compose(replace(SMALL, rows=2, cols=1, drain_rows=1), library, sampled, tmp_path, 1)
    assert set(entry["energy_fj"]) == {"W8", "W4", "W2", "idle"}
    for pair in (entry["area_um2"], *entry["energy_fj"].values()):
        # the control and the edges weigh more here, so that merged registers show
        assert pair["ratio"] == pytest.approx(1, abs=0.2)
        assert pair["ratio"] == pytest.approx(pair["sum"] / pair["whole"], abs=1e-4)
    parts = entry["energy_fj"]["W8"]["parts"]
    assert sum(parts.values()) == pytest.approx(entry["energy_fj"]["W8"]["sum"], abs=0.5)


def test_figures_beyond_the_limits_are_a_line_each() -> None:
    good, bad = {"whole": 100, "sum": 102, "ratio": 1.02}, {"whole": 10, "sum": 8, "ratio": 0.8}
    entries = {"a": {"area_um2": good, "energy_fj": {"W8": bad, "W2": good}}}
    entries["b"] = {"area_um2": bad, "energy_fj": {"W8": good}}
    assert beyond({"arrays": entries}) == [
        "a energy_fj W8: the sum 8 must be within 10% of the whole 10",
        "b area_um2: the sum 8 must be within 3% of the whole 10",
    ]


def test_small_arrays_have_all_that_the_whole_ones_have() -> None:
    assert {config.pe.value for config in arrays().values()} == {"bit_pair", "int8_dot", "int8_mac"}
    assert all(config.drain_cycles > 1 for config in arrays().values()), "results move on"


def test_unknown_array_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as error:
        command(names="abacus", operand_file=OPERANDS, products=1)
    assert error.value.exit_code == 2
    assert capsys.readouterr().err == (
        "synth.compose: arrays must be some of bit_pair, int8_dot, int8_mac, not abacus\n"
    )
