"""Where a benchmark ran: command, machine, versions."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "torch")
CPU_INFO = Path("/proc/cpuinfo")


def about(module: str, options: Sequence[str]) -> dict[str, Any]:
    """Return the command of a benchmark's module, the machine and the packages, for its file."""
    return {
        "command": shlex.join(["OMP_NUM_THREADS=1", "python", "-m", module, *options]),
        "machine": f"{_cpu()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
