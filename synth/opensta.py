"""The static timing of OpenSTA on a mapped netlist, to check ours against.

Written for Debian's OpenSTA 2.0.17 of 2019: structural Verilog with scalar ports and nets, a Tcl
script with the loads, arrivals, slews and wire-load model that `synth.timing` used, one report.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from synth.netlist import DEFAULT_LOAD_FF, Net, Netlist
from synth.timing import CLOCK_SLEW_NS, Timing

PERIOD_NS = 100.0
"""Clock that paths are reported against; the least period is this less the slack."""


class OpenStaError(Exception):
    """OpenSTA is missing or failed."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The slowest path of a netlist.

    Parameters
    ----------
    min_period_ns : float
        Arrival of the slowest path, setup included.
    start, end : str
        Instance, or port's bit as ``port.index``.
    text : str
        OpenSTA's own report of the path.
    """

    min_period_ns: float
    start: str
    end: str
    text: str


def version() -> str:
    """Version of the installed OpenSTA.

    Raises
    ------
    OpenStaError
        If there is none; one line.
    """
    if shutil.which("sta") is None:
        raise OpenStaError("sta must be on PATH; install OpenSTA, e.g. `apt-get install opensta`")
    done = subprocess.run(["sta", "-version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def analyse(netlist: Netlist, timing: Timing, *, folder: Path) -> Report:
    """Time a netlist under the conditions of a result of ours.

    Parameters
    ----------
    netlist : Netlist
        Flat and mapped.
    timing : Timing
        Of this netlist by `synth.timing`: arrivals and slews of the inputs are taken from it.
    folder : Path
        For the files that OpenSTA reads.

    Raises
    ------
    OpenStaError
        If OpenSTA is missing, warns of the netlist, or finds no path; one line.
    """
    version()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "netlist.v").write_text(verilog(netlist), encoding="ascii")
    (folder / "sta.tcl").write_text(script(netlist, timing), encoding="ascii")
    done = subprocess.run(
        ["sta", "-no_init", "-no_splash", "-exit", "sta.tcl"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    bad = [line for line in lines if re.match(r"(Error|Warning)", line) and "cells.lib" not in line]
    if done.returncode or bad:
        raise OpenStaError(f"sta failed on {netlist.top}: {' '.join((bad or lines[-1:])[:1])}")
    return _parse(netlist, done.stdout)


def verilog(netlist: Netlist) -> str:
    """Netlist as structural Verilog; bits of ports are ports of their own, ``port.index``."""
    names: dict[Net, str] = {}
    ports, aliases = [], []
    for port, bits in netlist.inputs.items():
        for index, net in enumerate(bits):
            name = _bit(netlist, port, index)
            ports.append(f"input {name};")
            names[net] = name
    for port, bits in netlist.outputs.items():
        for index, net in enumerate(bits):
            name = _bit(netlist, port, index)
            ports.append(f"output {name};")
            if isinstance(net, int) and net not in names:
                names[net] = name
            else:
                aliases.append(f"assign {name} = {_net(net, names)};")
    gates, wires = [], set()
    for instance in netlist.instances:
        pins = []
        for pin, net in instance.nets.items():
            if isinstance(net, int) and net not in names:
                wires.add(net)
            pins.append(f".{pin}({_net(net, names)})")
        gates.append(f"{instance.cell.name} \\{instance.name} ({', '.join(pins)});")
    listed = ", ".join(line.split(" ", 1)[1].removesuffix(";") for line in ports)
    lines = [f"module {netlist.top}({listed});", *ports]
    lines += [f"wire {_net(net, names)};" for net in sorted(wires)]
    return "\n".join([*lines, *aliases, *gates, "endmodule"]) + "\n"


def _bit(netlist: Netlist, port: str, index: int) -> str:
    """Name of a port's bit; the clock keeps its own."""
    return port if port == netlist.clock else f"\\{port}.{index} "


def _net(net: Net, names: dict[Net, str]) -> str:
    if isinstance(net, str):
        return f"1'b{net if net in '01' else '0'}"
    return names.get(net, f"n{net}")


def script(netlist: Netlist, timing: Timing) -> str:
    """Tcl that reads library and netlist, constrains them as ours was, and reports one path."""
    lines = [
        f"read_liberty {{{netlist.library.path}}}",
        "read_verilog netlist.v",
        f"link_design {netlist.top}",
        "set_cmd_units -time ns -capacitance fF",
        f"create_clock -name clock -period {PERIOD_NS} [get_ports {netlist.clock}]",
        f"set_clock_transition {CLOCK_SLEW_NS} [get_clocks clock]",
    ]
    wire_load = re.search(r'default_wire_load\s*:\s*"?(\w+)', netlist.library.path.read_text())
    if wire_load and netlist.library.wire_length:
        lines += [f"set_wire_load_model -name {wire_load[1]}", "set_wire_load_mode top"]
    for port, arrival in timing.input_arrival_ns.items():
        for index in range(len(netlist.inputs[port])):
            where = f"[get_ports {{{port}.{index}}}]"
            lines.append(f"set_input_delay {arrival!r} -clock clock {where}")
            lines.append(f"set_input_transition {timing.input_slew_ns!r} {where}")
    for port, bits in netlist.outputs.items():
        loads = netlist.output_load_ff.get(port, [DEFAULT_LOAD_FF] * len(bits))
        for index, load in enumerate(loads):
            where = f"[get_ports {{{port}.{index}}}]"
            lines.append(f"set_output_delay 0 -clock clock {where}")
            lines.append(f"set_load -pin_load {load!r} {where}")
    fields = "-fields {slew capacitance input_pins} -digits 5"
    lines.append(f"report_checks -path_delay max -format full_clock {fields}")
    return "\n".join(lines) + "\n"


def _parse(netlist: Netlist, text: str) -> Report:
    start = re.search(r"^Startpoint: (\S+)", text, re.MULTILINE)
    end = re.search(r"^Endpoint: (\S+)", text, re.MULTILINE)
    slack = re.search(r"(-?[0-9.]+)\s+slack", text)
    if not (start and end and slack):
        raise OpenStaError(f"sta found no path in {netlist.top}")
    return Report(
        min_period_ns=round(PERIOD_NS - float(slack[1]), 5),
        start=start[1].replace("\\", ""),
        end=end[1].replace("\\", ""),
        text=text[text.index("Startpoint") :],
    )
