"""The seam through which independent jobs run: here, in local worker processes, on a Dask cluster.

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

from quant.errors import QuantError

CONNECT_S = 10
"""How long a cluster may take to answer."""

Result = TypeVar("Result")


class Jobs(AbstractContextManager["Jobs", None]):
    """Runs jobs; a context manager that ends its workers.

    Attributes
    ----------
    slots : int
        Jobs that run at a time.
    """

    slots: int = 1

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
        self.slots = workers
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


class DaskCluster(Jobs):
    """Runs jobs in the workers of a Dask cluster; what a worker leaves when it dies, others do.

    Workers have this package installed, see networks, images and tables under the same paths, and
    run one job at a time, as torch's seeds are those of a process.

    Parameters
    ----------
    address : str
        Of the scheduler, for example ``tcp://10.0.0.1:8786``.

    Raises
    ------
    QuantError
        If no scheduler answers, it has no workers, or these run several jobs at a time.
    """

    _client: Any

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise QuantError(
                "a cluster needs the package distributed: pip install 'sigmaquant[cluster]'"
            ) from error
        try:
            self._client = Client(address, timeout=CONNECT_S)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, TimeoutError) as error:
            raise QuantError(
                f"cluster must be the address of a Dask scheduler, and {address} does not answer "
                f"({type(error).__name__})"
            ) from error
        threads = self._client.nthreads()
        if not threads or any(count != 1 for count in threads.values()):
            self._client.close()
            raise QuantError(
                f"cluster must have workers of one thread each (dask worker --nthreads 1), and "
                f"{address} has {len(threads)} with {sorted(set(threads.values())) or 'none'}"
            )
        self.slots = len(threads)
        self._pool = self._client.get_executor(pure=False)

    def submit(self, function: Callable[..., Result], *args: Any) -> Future[Result]:
        """Send a job to a worker that is free."""
        found: Future[Result] = self._pool.submit(function, *args)
        return found

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster; on an error its workers drop what they have of ours."""
        self._pool.shutdown(wait=kind is None)
        self._client.close()


def jobs_of(workers: int, cluster: str = "") -> Jobs:
    """Return jobs on a cluster, if one is named, in `workers` processes, or in this one for 0."""
    if cluster:
        return DaskCluster(cluster)
    return LocalProcesses(workers) if workers > 0 else InProcess()
