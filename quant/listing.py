"""Which photographs a folder has, and of which classes (`quant.imagefolder` tells the layouts)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from quant.errors import QuantError
from quant.photographs import is_photograph

SYNSETS = "synsets.txt"
LABELS = "labels.txt"
HELP = "name a folder with --data FOLDER: train/ and val/ with a folder of photographs per class"

Listed = list[tuple[Path, str | int]]
"""Files with their class: its name, or its number."""


def listed(folder: Path) -> Listed:
    """Return the photographs of one set, in the order of their paths.

    Raises
    ------
    QuantError
        If there are none, or a labels file is malformed.
    """
    found: Listed = [
        (path, kind.name)
        for kind in sorted(folder.iterdir())
        if kind.is_dir()
        for path in sorted(kind.iterdir())
        if is_photograph(path)
    ]
    if found:
        return found
    for labels in (folder / LABELS, folder.with_suffix(".txt")):
        if labels.is_file():
            return sorted(_of_labels(labels, folder), key=lambda pair: pair[0])
    flat = sum(map(is_photograph, folder.iterdir()))
    what = f"{flat} without {LABELS}" if flat else "none"
    raise QuantError(
        f"{folder}: must have photographs in a folder per class, or beside {LABELS}, not {what}; "
        f"{HELP}"
    )


def _of_labels(labels: Path, folder: Path) -> Iterator[tuple[Path, str | int]]:
    for number, line in enumerate(_lines(labels), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2:
            raise QuantError(f"{labels}: line {number} must be a file and its class, not {line!r}")
        file, kind = parts
        if not (folder / file).is_file():
            raise QuantError(f"{labels}: line {number} must name a file of {folder}, not {file}")
        yield folder / file, int(kind) if kind.isdecimal() else kind


def class_names(folder: Path, sets: Mapping[str, Listed], classes: int | None) -> tuple[str, ...]:
    """Return the names of the classes in the order of their numbers.

    Parameters
    ----------
    folder : Path
        May have a `SYNSETS` file.
    sets : mapping of str to Listed
        Its photographs.
    classes : int, optional
        Outputs of the network, where they are known.

    Returns
    -------
    tuple of str
        Empty if all classes are given by their number.

    Raises
    ------
    QuantError
        If there are more or fewer than `classes`, or the file leaves some out.
    """
    used = {kind for found in sets.values() for _, kind in found}
    names = sorted(kind for kind in used if isinstance(kind, str))
    order = folder / SYNSETS
    if order.is_file():
        known = [line.split()[0] for line in _lines(order) if line.strip()]
        missing = [name for name in names if name not in known]
        if missing:
            raise QuantError(f"{order}: must name every class, not leave out {missing[0]}")
        names = known
    if classes and names and len(names) != classes:
        raise QuantError(
            f"{folder}: must have {classes} classes, as many as the network has outputs, not "
            f"{len(names)}; if it has some of them only, name all in {SYNSETS}, one a line"
        )
    largest = max((kind for kind in used if isinstance(kind, int)), default=0)
    count = classes or len(names)
    if count and largest >= count:
        raise QuantError(f"{folder}: classes must be from 0 to {count - 1}, not {largest}")
    return tuple(names)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise QuantError(f"{path}: must be readable text, not: {error}") from error
