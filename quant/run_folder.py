"""The folder of a run: one kind of result each, so that none is taken for another's."""

from __future__ import annotations

from pathlib import Path

from hw.cli.command import CONFIG_NAME
from quant.errors import QuantError

SEARCH, FRONT, PTQ = "search", "front", "ptq"
"""Kinds of runs: `python -m quant.search`, the same with ``--pareto``, `python -m quant.ptq`."""

INTEGER_FOLDER = "integer"
"""The integer network of a run, in its folder."""

STATE = "state"
"""The steps that are done, in a run's folder; gone once the result is written."""


def check_out(out: Path, kind: str) -> None:
    """Refuse a folder that cannot be one, or that has the results of another kind of run.

    Parameters
    ----------
    out : Path
        Need not exist.
    kind : str
        Of the run that is to write there.

    Raises
    ------
    QuantError
        One line.
    """
    file = next((path for path in (out, *out.parents) if path.exists()), None)
    if file is not None and not file.is_dir():
        raise QuantError(f"out must be a folder, but {file} is a file; name another with --out")
    found = _kind_of(out)
    if found not in (None, kind):
        raise QuantError(
            f"out must be a new folder or one of the same kind of run ({kind}), but {out} has the "
            f"results of another ({found}); name another with --out"
        )


def _kind_of(folder: Path) -> str | None:
    """Kind of a run that is done, or stopped, in a folder."""
    if (folder / "front.json").exists():
        return FRONT
    config = folder / CONFIG_NAME
    begun = (folder / "result.json").exists() or (folder / STATE).exists()
    if not begun or not config.exists():
        return None
    lines = config.read_text(encoding="utf-8").splitlines()
    if f"command: {PTQ}" in lines:
        return PTQ
    return FRONT if any(line.startswith("pareto:") for line in lines) else SEARCH
