"""The folder of a run: one kind of result each, so that none is taken for another's."""

from __future__ import annotations

from pathlib import Path

from hw.cli.command import CONFIG_NAME
from quant.errors import QuantError

SEARCH, FRONT, PTQ = "search", "front", "ptq"
"""Kinds of runs: `python -m quant.search`, the same with ``--pareto``, `python -m quant.ptq`."""


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
    if (folder / "front.json").exists():
        return FRONT
    config = folder / CONFIG_NAME
    if not (folder / "result.json").exists() or not config.exists():
        return None
    of_ptq = f"command: {PTQ}" in config.read_text(encoding="utf-8").splitlines()
    return PTQ if of_ptq else SEARCH
