"""Where a benchmark ran, and by what: command, machine, versions, code."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "torch")
CPU_INFO = Path("/proc/cpuinfo")
PTQ = Path(__file__).parents[1]
QUANT = PTQ.parent


def about(module: str, options: Sequence[str]) -> dict[str, Any]:
    """Return the command of a benchmark's module, the machine and the packages, for its file."""
    return {
        "command": shlex.join(["OMP_NUM_THREADS=1", "python", "-m", module, *options]),
        "machine": f"{_cpu()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "code_sha256": quant_sha256(),
    }


def quant_sha256() -> str:
    """Return the SHA-256 of the package `quant`, by which cells know what made them."""
    return code_sha256(QUANT.rglob("*.py"))


def code_sha256(files: Iterable[Path]) -> str:
    """Return the SHA-256 of source files of the package `quant`: their paths and contents."""
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(QUANT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _cpu() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
