"""What torchrun says of this process, read without torch."""

from __future__ import annotations

import os


class LostProcessError(Exception):
    """Another process that trains along has ended; internal, told by the command line."""


def launched() -> tuple[int, int]:
    """Return this process's rank and how many torchrun has started; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def local_index() -> int:
    """Return which of this machine's processes this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def started_by(processes: int) -> list[str]:
    """Return the words before the module's name on the command line."""
    if processes == 1:
        return ["python", "-m"]
    return ["torchrun", "--nproc-per-node", str(processes), "-m"]
