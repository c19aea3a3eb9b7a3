"""Runs the cells of a benchmark that are not yet done, and has its summary written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quant.bench.cells import Cell
from quant.bench.restore import restorable
from quant.bench.schedule import Pace, run_all
from quant.bench.work import Setup, Work, works
from quant.files import write_json

FAILED = 1
UNFINISHED = 3

Record = Mapping[str, Any]
Write = Callable[[dict[Cell, dict[str, Any]], int], str]


def bench(
    cells: list[Cell],
    setup: Setup,
    *,
    whole: list[Cell],
    write: Write,
    workers: int = 0,
    cluster: str = "",
    seconds: float | None = None,
    earlier: Path | None = None,
    dry: bool = False,
    run: bool = True,
) -> int:
    """Run cells and write the summary; returns the exit status.

    Parameters
    ----------
    cells : list of Cell
        In the order in which they are to run.
    setup : Setup
        Where everything comes from.
    whole : list of Cell
        Those that the summary is of, as far as they are done.
    write : callable
        Writes the summary of the records that there are, of so many cells; returns its files.
    workers : int
        Processes; 0 runs all in this one.
    cluster : str
        Address of a Dask scheduler, which is used instead if given.
    seconds : float, optional
        Start no cell that is expected to end later.
    earlier : Path, optional
        Summary that has records of cells under the same keys.
    dry : bool
        List what would run, and nothing else.
    run : bool
        Whether to run what is not yet done.
    """
    began = time.monotonic()
    needed = works(list(dict.fromkeys([*cells, *whole])), setup)
    restored = set() if earlier is None else _restore(earlier, needed, setup, dry=dry)
    different = {needed[cell].key: needed[cell] for cell in reversed(cells)}
    waiting = [
        work
        for work in reversed(different.values())
        if work.key not in restored and work.known() is None
    ]
    print(f"{len(cells)} cells, {len(different)} different, {len(waiting)} to run", flush=True)
    if dry:
        for work in waiting:
            print(work.cell.name)
        return 0
    failed, left = 0, len(waiting)
    if run:
        log = _Log(len(waiting), began)
        pace = Pace(deadline=None if seconds is None else began + seconds)
        left = run_all(waiting, workers=workers, cluster=cluster, pace=pace, report=log)
        failed = log.failed
    records = {cell: r for cell in whole if (r := needed[cell].known()) is not None}
    files = write(records, len(whole))
    print(
        f"{len(records)} of {len(whole)} cells done, {failed} failed, {left} not started "
        f"-> {files}",
        flush=True,
    )
    return FAILED if failed else (UNFINISHED if left else 0)


def _restore(earlier: Path, needed: Mapping[Cell, Work], setup: Setup, *, dry: bool) -> set[str]:
    """Take over what an earlier summary has, and say so; returns the keys."""
    found = restorable(earlier, needed.values(), setup)
    if found.records:
        print(f"{len(found.records)} records are taken from {earlier}")
    if found.lost:
        print(
            f"{found.lost} cells of {earlier} were made by other code, options or data: they are "
            "not taken, and not in the new summary until they have run (--report FILE keeps the "
            "old one)"
        )
    if not dry:
        for path, record in found.records.values():
            write_json(path, record)
    return set(found.records)


class _Log:
    """Prints a line for each cell that ended."""

    def __init__(self, total: int, began: float) -> None:
        self.total, self.began = total, began
        self.ended = self.failed = 0

    def __call__(self, work: Work, record: Record | None, reason: str) -> None:
        self.ended += 1
        elapsed = time.monotonic() - self.began
        head = f"[{self.ended}/{self.total} {elapsed:5.0f} s] {work.cell.name}"
        if record is None:
            self.failed += 1
            print(f"{head}: FAILED, {reason}; see {work.folder}/log.txt", flush=True)
            return
        left = elapsed / self.ended * (self.total - self.ended)
        what = ""
        if "accuracy" in record:
            accuracy, bits = record["accuracy"]["searched"], record["average_bits"]
            what = f" {100 * accuracy:.2f} % at {bits:.2f} bits,"
        print(f"{head}:{what} {record['seconds']:.0f} s (all in {left / 60:.0f} min)", flush=True)
