"""Standard-cell libraries that a user has already: by name, or any Liberty file by its path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from synth.cells import LibertyError
from synth.liberty import nangate45


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a library is, and what its Liberty file does not say.

    Parameters
    ----------
    path : Path
        Liberty file.
    node_nm : float or None
        Node; None for a file of the user's.
    note : str
        What else to know.
    """

    path: Path
    node_nm: float | None = None
    note: str = ""


def _osu018() -> Path:
    """Path of OSU's 180 nm cells, in Debian's qflow-tech-osu018.

    Raises
    ------
    LibertyError
        If it is not installed.
    """
    for prefix in (Path(sys.prefix), Path("/usr"), Path("/usr/local")):
        path = prefix / "share" / "qflow" / "tech" / "osu018" / "osu018_stdcells.lib"
        if path.exists():
            return path
    raise LibertyError(
        "osu018: its Liberty file must be installed (apt-get install qflow-tech-osu018), and was "
        "not found; name it with --liberty FILE --node-nm 180"
    )


NAMED: dict[str, tuple[Callable[[], Path], float, str]] = {
    "nangate45": (nangate45, 45, "FreePDK45 is a predictive process, not a foundry's"),
    "osu018": (
        _osu018,
        180,
        "no wire-load model: wires cost nothing here, neither time nor energy",
    ),
}
"""By name: how to find it, node in nm, what to know."""


def find(library: str) -> Source:
    """Return a library by its name, or by the path of its Liberty file.

    Raises
    ------
    LibertyError
        If a named library is not installed.
    """
    if library in NAMED:
        path, node_nm, note = NAMED[library]
        return Source(path=path(), node_nm=node_nm, note=note)
    return Source(path=Path(library))
