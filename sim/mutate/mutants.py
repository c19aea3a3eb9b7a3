"""Mutants of one module of a design, all in one netlist, chosen by a number at run time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.component import Component
from hw.verilog import to_rtlil
from hw.yosys import YosysTimeoutError, run_yosys

SELECT = "mutant"
"""The added input of the design: 0 is the design as it is."""

LIST_S = 60
"""Yosys looks for ever for more mutations than a small module has; then half as many are asked."""


@dataclass(frozen=True, kw_only=True)
class Mutated:
    """A design with some mutants.

    Parameters
    ----------
    folder : Path
        Where the files are.
    changes : list of str
        What mutant 1, 2, ... does, as Yosys' `mutate` wrote it: mode, cell, port and bits.
    """

    folder: Path
    changes: list[str]

    @property
    def verilog(self) -> Path:
        """Whole design, top module `top`, flattened, with the input `SELECT`."""
        return self.folder / "mutants.v"

    @property
    def smt2(self) -> Path:
        """Return the same as SMT-LIB."""
        return self.folder / "mutants.smt2"

    @property
    def bits(self) -> int:
        """Width of `SELECT`."""
        return len(self.changes).bit_length()

    @property
    def numbers(self) -> range:
        """Values of `SELECT` that choose a mutant."""
        return range(1, len(self.changes) + 1)


def choose(
    design: Component, *, module: str | None, count: int, seed: int, folder: Path
) -> list[str]:
    """Choose up to `count` different mutations of a module of a design.

    What cannot matter, such as upper bits that nothing uses, is taken out of the netlist before.
    Clocks are left alone.

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
    script = (
        f"read_rtlil top.il; hierarchy -top top; setattr -mod -set keep_hierarchy 1 {target}; "
        "proc; flatten; opt_expr; opt_merge; wreduce */t:* */t:$dff %d; splitcells; opt_clean; "
        "rename -enumerate -pattern wire_% */w:$*; rename -enumerate -pattern cell_% */c:$*; "
        f"write_rtlil ready.il; tee -o size.txt mutate -list 1 -seed {seed} {target}"
    )
    run_yosys(["-q", "-p", script], folder)
    size = re.search(r"Raw database size: (\d+)", (folder / "size.txt").read_text(encoding="utf-8"))
    # Yosys looks for ever for more mutations than a small module has
    wanted = min(count, max(1, int(size[1]) // 3)) if size else count
    while True:
        listing = f"mutate -list {wanted} -seed {seed} -o list.ys {target}"
        try:
            run_yosys(["-q", "-p", f"read_rtlil ready.il; {listing}"], folder, LIST_S)
            break
        except YosysTimeoutError:
            wanted = max(1, wanted // 2)
    listed = (folder / "list.ys").read_text(encoding="utf-8")
    found = re.findall(r"^mutate (-mode .*)$", listed, re.M)
    # without what is only for the reader
    changes = [re.sub(r" -(?:wire|wirebit|src) \S+", "", change).strip() for change in found]
    return list(dict.fromkeys(change for change in changes if "-port CLK " not in change))


def build(changes: Sequence[str], *, source: Path, folder: Path) -> Mutated:
    """Put mutations into one netlist.

    Parameters
    ----------
    changes : sequence of str
        From `choose`.
    source : Path
        Folder of `choose`.
    folder : Path
        For the netlist; made if it is missing. Few mutants a netlist are quick to simulate.

    Raises
    ------
    YosysError
        If Yosys fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mutated = Mutated(folder=folder, changes=list(changes))
    shutil.copy(source / "ready.il", folder / "ready.il")
    script = [
        f"mutate -ctrl {SELECT} {mutated.bits} {number} {change}"
        for number, change in zip(mutated.numbers, changes, strict=True)
    ]
    (folder / "mutants.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
    apply = (
        "read_rtlil ready.il; script mutants.ys; setattr -mod -unset keep_hierarchy *; "
        f"flatten; opt_clean; write_verilog -norename -noattr {mutated.verilog.name}; "
        f"setundef -undriven -zero; write_smt2 -wires {mutated.smt2.name}"
    )
    run_yosys(["-q", "-p", apply], folder)
    return mutated
