"""A netlist as Yosys writes it to SMT-LIB, copied once per cycle without functions of states.

Solvers are quick on bit vectors alone, and slow on functions of an uninterpreted state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_STATE = re.compile(r"\(\|(top[^|]*)\| state\)")
_DEFINED = re.compile(r"^\(define-fun \|(top[^|]*)\| \(\(state \|top_s\|\)\) (.*)$")
_DECLARED = re.compile(r"^\(declare-fun \|(top#\d+)\| \(\|top_s\|\) (.*?)\) ; (\S+)")
_NEXT = re.compile(r"^  \(= (.*) \(\|(top#\d+)\| next_state\)\)")


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """Functions of a state, as lines of SMT-LIB.

    Parameters
    ----------
    lines : list of str
        Declarations and definitions in their order.
    next_values : dict of str to str
        Next value of each register.
    free : list of str
        Inputs, or parts of them.
    select : str
        The one that chooses the mutant.
    start : str
        Condition of the initial state.
    """

    lines: list[str]
    next_values: dict[str, str]
    free: list[str]
    select: str
    start: str

    @classmethod
    def read(cls, path: Path, *, select: str) -> Netlist:
        """Read what ``write_smt2 -wires`` wrote of `top`, whose input `select` chooses."""
        text = path.read_text(encoding="utf-8")
        body, initial, transition = (
            text[: text.index("(define-fun |top_a|")],
            text[text.index("(define-fun |top_i|") : text.index("(define-fun |top_h|")],
            text[text.index("(define-fun |top_t|") :],
        )
        lines = [
            line for line in body.splitlines() if line.startswith(("(decl", "(define-fun |top"))
        ]
        declared = [match for match in map(_DECLARED.match, lines) if match]
        next_values = {m[2]: m[1] for m in map(_NEXT.match, transition.splitlines()) if m}
        rows = [
            re.sub(r" ; .*", "", line) for line in initial.splitlines() if line.startswith("  ")
        ]
        return cls(
            lines=[line for line in lines if "declare-sort" not in line],
            next_values=next_values,
            free=[match[1] for match in declared if match[1] not in next_values],
            select=next(match[1] for match in declared if match[3] == f"\\{select}"),
            start=f"(and true {' '.join(rows)})",
        )

    @property
    def registers(self) -> list[str]:
        """Names of the registers."""
        return list(self.next_values)

    def state(
        self, name: str, *, registers: dict[str, str] | None, inputs: dict[str, str]
    ) -> list[str]:
        """Return the lines of one cycle.

        Parameters
        ----------
        name : str
            Of the cycle, before each of its names.
        registers : dict of str to str or None
            Their values; anything if None.
        inputs : dict of str to str
            Values of those inputs that are not free.
        """
        known = (registers or {}) | inputs
        lines = []
        for line in self.lines:
            declared, defined = _DECLARED.match(line), _DEFINED.match(line)
            if declared and declared[1] in known:
                lines.append(
                    f"(define-fun |{name}.{declared[1]}| () {declared[2]} {known[declared[1]]})"
                )
            elif declared:
                lines.append(f"(declare-fun |{name}.{declared[1]}| () {declared[2]})")
            elif defined and not defined[1].startswith("top_is"):
                lines.append(f"(define-fun |{name}.{defined[1]}| () {self._in(name, defined[2])}")
        return lines

    def following(self, name: str) -> dict[str, str]:
        """Values of the registers one cycle later."""
        return {register: self._in(name, value) for register, value in self.next_values.items()}

    def same_registers(self, name: str) -> dict[str, str]:
        """Values of the registers in this cycle."""
        return {register: f"|{name}.{register}|" for register in self.next_values}

    def same_inputs(self, name: str) -> dict[str, str]:
        """Values of the inputs in this cycle."""
        return {wire: f"|{name}.{wire}|" for wire in self.free}

    def initial(self, name: str) -> str:
        """Return the condition that the cycle is the first after start-up."""
        return self._in(name, self.start)

    @staticmethod
    def _in(name: str, text: str) -> str:
        return _STATE.sub(rf"|{name}.\1|", text)
