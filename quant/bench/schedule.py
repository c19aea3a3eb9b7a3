"""Runs cells in processes of this machine, as many at once as asked, until a deadline."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, field
from typing import Any

from quant.bench.work import Work, do
from quant.jobs import Jobs, jobs_of

Record = dict[str, Any]
Report = Callable[[Work, Record | None, str], None]
"""Told of each cell that ended: its record, or None and the reason in one line."""


@dataclass(kw_only=True)
class Pace:
    """Seconds that cells take, to know which still fit before a deadline.

    Parameters
    ----------
    deadline : float, optional
        Of `time.monotonic`.
    """

    deadline: float | None = None
    _longest: dict[tuple[str, bool, str], float] = field(default_factory=dict)

    def note(self, work: Work, seconds: float) -> None:
        """Remember how long a cell took."""
        for kind in self._kinds(work):
            self._longest[kind] = max(seconds, self._longest.get(kind, 0.0))

    def expected(self, work: Work) -> float:
        """Seconds of the longest cell of the same kind, or of the same network; 0 if unknown."""
        return next((self._longest[k] for k in self._kinds(work) if k in self._longest), 0.0)

    def fits(self, work: Work) -> bool:
        """Whether a cell that starts now is expected to end in time."""
        return self.deadline is None or time.monotonic() + self.expected(work) <= self.deadline

    def _kinds(self, work: Work) -> list[tuple[str, bool, str]]:
        cell = work.cell
        return [(cell.model, cell.trains, cell.way), (cell.model, cell.trains, "")]


def run_all(
    works: Sequence[Work], *, workers: int, cluster: str = "", pace: Pace, report: Report
) -> int:
    """Run cells in order; returns how many were not started for want of time.

    A cell that fails is reported and does not stop the others, nor does a process that dies.

    Parameters
    ----------
    works : sequence of Work
    workers : int
        Processes; 0 runs all in this one.
    cluster : str
        Address of a Dask scheduler, which is used instead if given.
    pace : Pace
        Deadline.
    report : callable
        Told of each cell that ended.
    """
    waiting = deque(works)
    while waiting and pace.fits(waiting[0]):
        with jobs_of(workers, cluster) as jobs:
            _drain(jobs, waiting, pace, report)
    return len(waiting)


def _drain(jobs: Jobs, waiting: deque[Work], pace: Pace, report: Report) -> None:
    """Run what is waiting, until nothing is left that fits, or a process has died."""
    running: dict[Future[Record], Work] = {}
    broken = False
    while True:
        while waiting and not broken and len(running) < jobs.slots and pace.fits(waiting[0]):
            work = waiting.popleft()
            running[jobs.submit(do, work)] = work
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            work, error = running.pop(future), _error_of(future)
            broken = broken or isinstance(error, BrokenExecutor)
            if error is None:
                record = future.result()
                pace.note(work, record["seconds"])
                report(work, record, "")
            else:
                report(work, None, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _error_of(future: Future[Record]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:  # a cluster has dropped it
        return error
