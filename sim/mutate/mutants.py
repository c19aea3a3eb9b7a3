"""Mutants of one module of a design, all in one netlist, chosen by a number at run time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hw.component import Component
from hw.verilog import to_rtlil
from hw.yosys import run_yosys

SELECT = "mutant"
"""The added input of the design: 0 is the design as it is."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mutation.

    Parameters
    ----------
    number : int
        Value of the input `SELECT` that makes it.
    change : str
        What it does, as Yosys' `mutate` wrote it: mode, cell, port and bits.
    """

    number: int
    change: str


@dataclass(frozen=True, kw_only=True)
class Mutated:
    """A design with its mutants.

    Parameters
    ----------
    verilog, smt2 : Path
        The whole design, top module `top`, flattened, with the input `SELECT`.
    mutants : list of Mutant
        Numbers from 1, without gaps.
    bits : int
        Width of `SELECT`.
    """

    verilog: Path
    smt2: Path
    mutants: list[Mutant]
    bits: int


def mutate(
    design: Component, *, module: str | None, count: int, seed: int, folder: Path
) -> Mutated:
    """Make up to `count` different mutants of a module of a design.

    Parameters
    ----------
    design : Component
        Becomes the module `top`.
    module : str or None
        Path of the instance below the top, or None for the whole design.
    count, seed : int
        How many, and the seed of Yosys' choice.
    folder : Path
        For what is written; made if it is missing.

    Raises
    ------
    YosysError
        If Yosys fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.il").write_text(to_rtlil(design, name="top"), encoding="utf-8")
    target = "top" if module is None else f"top.{module}"
    bits = count.bit_length()
    prepare = (
        f"read_rtlil top.il; hierarchy -top top; setattr -mod -set keep_hierarchy 1 {target}; "
        "proc; flatten; opt_clean; rename -enumerate -pattern wire_% */w:$*; "
        "rename -enumerate -pattern cell_% */c:$*; write_rtlil ready.il; "
        f"mutate -list {count} -seed {seed} -ctrl {SELECT} {bits} 1 -o list.ys {target}"
    )
    run_yosys(["-q", "-p", prepare], folder)
    lines = list(dict.fromkeys(_changes((folder / "list.ys").read_text(encoding="utf-8"))))
    mutants = [Mutant(number=i, change=change) for i, change in enumerate(lines, 1)]
    script = [f"mutate -ctrl {SELECT} {bits} {m.number} {m.change}" for m in mutants]
    (folder / "mutants.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
    apply = (
        f"read_rtlil ready.il; script mutants.ys; setattr -mod -unset keep_hierarchy {target}; "
        "flatten; opt_clean; write_verilog -norename -noattr mutants.v; "
        "setundef -undriven -zero; write_smt2 -wires mutants.smt2"
    )
    run_yosys(["-q", "-p", apply], folder)
    return Mutated(
        verilog=folder / "mutants.v", smt2=folder / "mutants.smt2", mutants=mutants, bits=bits
    )


def _changes(listed: str) -> list[str]:
    """Mutations of a list without their numbers and what is only for the reader."""
    found = re.findall(rf"^mutate -ctrl {SELECT} \d+ \d+ (.*)$", listed, re.M)
    return [re.sub(r" -(?:wire|wirebit|src) \S+", "", change).strip() for change in found]
