"""Where a benchmark ran, and by what: command, machine, versions, code."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from hw.closure import sources_sha256

PACKAGES = ("numpy", "scipy", "torch")
SHOWS = (
    "hw.cli",
    "hw.closure",
    "quant.ptq.bench.about",
    "quant.ptq.bench.large_report",
    "quant.ptq.bench.networks_report",
    "quant.ptq.bench.report",
)
"""Modules and packages that show or name results; they change no cell."""

CPU_INFO = Path("/proc/cpuinfo")


def about(
    module: str, options: Sequence[str], *, packages: Sequence[str] = PACKAGES
) -> dict[str, Any]:
    """Return the command of a benchmark's module, the machine and the packages, for its file."""
    name = module.removesuffix(".__main__")
    return {
        "command": shlex.join(["OMP_NUM_THREADS=1", "python", "-m", name, *options]),
        "machine": f"{_cpu()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": {package: metadata.version(package) for package in packages},
        "code_sha256": code_sha256(module),
    }


def code_sha256(module: str) -> str:
    """Return the SHA-256 of the code that a benchmark's cells depend on, by which they are known.

    Parameters
    ----------
    module : str
        Where it is measured; what it imports counts, but not what only shows results.
    """
    return sources_sha256(module, but=SHOWS)


def _cpu() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
