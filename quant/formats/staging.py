"""Files of an export, written apart and moved to their folder when all is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from quant.errors import QuantError


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give an empty folder whose files are moved into `out`, unless something is raised.

    Raises
    ------
    QuantError
        If `out`, or what it lies in, is not a folder.
    """
    near = next(path for path in (out, *out.parents) if path.exists())
    if not near.is_dir():
        raise QuantError(f"{near}: out must be a folder, not a file")
    with TemporaryDirectory(prefix=".export-", dir=near) as name:
        folder = Path(name)
        yield folder
        out.mkdir(parents=True, exist_ok=True)
        try:
            _move(folder, out)
        except KeyboardInterrupt:  # too late: half an export would be worse
            _move(folder, out)


def _move(folder: Path, out: Path) -> None:
    for path in sorted(folder.iterdir()):
        path.replace(out / path.name)
