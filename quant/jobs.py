"""The seam through which independent jobs run: in this process, or in local worker processes.

A job is a module-level function with picklable arguments and result; it must seed itself, so its
result does not depend on where it runs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")


class Jobs(AbstractContextManager["Jobs", None]):
    """Runs jobs; a context manager that ends its workers."""

    @abstractmethod
    def submit(self, function: Callable[..., Result], *args: Any) -> Future[Result]:
        """Start a job or put it into the queue."""


class InProcess(Jobs):
    """Runs each job at once, here."""

    def submit(self, function: Callable[..., Result], *args: Any) -> Future[Result]:
        """Run a job; its exception, if any, is raised by ``result()``."""
        future: Future[Result] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:  # the job's own, handed to whoever asks for the result
            future.set_exception(error)
        return future

    def __exit__(self, *error: object) -> None:
        """Nothing to end."""


class LocalProcesses(Jobs):
    """Runs jobs in spawned processes of this machine, which end when this process does.

    However it ends: each worker watches this process, so that neither an error nor SIGTERM nor
    SIGKILL leaves one behind. Ctrl-C, which reaches all of a terminal's processes, is this
    process's to answer.

    Parameters
    ----------
    workers : int
        Processes.
    """

    def __init__(self, workers: int) -> None:
        self._others = {child.pid for child in multiprocessing.active_children()}
        self._pool = ProcessPoolExecutor(
            max_workers=workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_follow_parent,
        )

    def submit(self, function: Callable[..., Result], *args: Any) -> Future[Result]:
        """Put a job into the queue."""
        return self._pool.submit(function, *args)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the workers; on an error at once, whatever they are doing."""
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)
        if kind is not None:
            for child in multiprocessing.active_children():
                if child.pid not in self._others:
                    child.terminate()


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def local_jobs(workers: int) -> Jobs:
    """Return jobs in `workers` processes, or in this one where that is 0."""
    return LocalProcesses(workers) if workers > 0 else InProcess()
