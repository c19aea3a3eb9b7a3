"""Searches on a Dask cluster of real worker processes: the same results, though one is killed."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from typer import Typer
from typer.testing import CliRunner

import quant.search
from hw.precision import WeightMode
from quant.data import Data
from quant.errors import QuantError
from quant.jobs import DaskCluster, InProcess
from quant.journal import Journal
from quant.models import build
from quant.options import Options
from quant.progress import SearchProgress
from quant.request import Request
from quant.run import open_session
from quant.sensitivity import Measure
from quant.workbench import Source, Workbench

distributed = pytest.importorskip("distributed")
torch.set_num_threads(1)

UNPU = Path(__file__).parent.parent / "docs" / "examples" / "unpu.json"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A front of two trained allocations of a network that has not learned anything."""
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    parts = {"x_train": 300, "x_test": 60}
    arrays: dict[str, Any] = {
        k: random.integers(0, 256, (n, 12, 12)).astype(np.uint8) for k, n in parts.items()
    }
    arrays |= {"y" + k[1:]: np.arange(n) % 10 for k, n in parts.items()}
    np.savez(folder / "data.npz", **arrays)
    state = {k: v.contiguous() for k, v in build("resnet8", seed=0).state_dict().items()}
    save_file(state, folder / "resnet8.safetensors")
    return [
        *("--data", str(folder / "data.npz"), "--weights", str(folder / "resnet8.safetensors")),
        *("--pareto", "size", "--points", "2", "--qat-steps", "2", "--max-drop", "0.9"),
        *("--cost-table", str(UNPU), "--max-size", "1"),
    ]


def front(out: Path, *options: str) -> dict[str, Any]:
    app = Typer()
    app.command()(quant.search.main)
    found = CliRunner().invoke(app, [*options, "--out", str(out)], catch_exceptions=False)
    assert found.exit_code in (0, 3), found.output
    document: dict[str, Any] = json.loads((out / "front.json").read_text())
    del document["command"]
    return document


def test_a_front_is_the_same_although_a_worker_is_killed(
    options: list[str], tmp_path: Path
) -> None:
    expected = front(tmp_path / "here", *options, "--workers", "0")
    assert len(expected["points"]) == 2
    killed: list[int] = []
    over = threading.Event()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def kill_when_at_work() -> None:
            while not over.wait(0.02):
                busy = [address for address, tasks in client.processing().items() if tasks]
                for worker in cluster.workers.values():
                    if worker.worker_address in busy:
                        os.kill(worker.pid, signal.SIGKILL)
                        killed.append(worker.pid)
                        return

        killer = threading.Thread(target=kill_when_at_work)
        killer.start()
        try:
            found = front(tmp_path / "there", *options, "--cluster", cluster.scheduler_address)
        finally:
            over.set()
            killer.join()
    assert killed, "a worker was killed while it had a job"
    assert found == expected


class ThreeAtATime(InProcess):
    slots = 3


def test_probes_in_several_jobs_are_those_of_one(options: list[str], tmp_path: Path) -> None:
    given = dict(zip(options[::2], options[1::2], strict=True))
    request = Options(
        data=Path(given["--data"]),
        weights=Path(given["--weights"]),
        max_bops="0.2",
        act_bits="8,4",
        method="auto",
        ptq_only=True,
        out=tmp_path,
    ).request(command="")
    source = Source(
        model=request.model,
        weights=request.weights,
        data=request.data,
        rounding=request.rounding,
    )
    found = []
    for name, jobs in (("here", None), ("jobs", ThreeAtATime())):
        journal = Journal(tmp_path / name)
        with SearchProgress(Console(quiet=True), request) as progress:
            session = open_session(request, Workbench(source), journal, progress, jobs)
            measures = [session.sensitivity(m) for m in (Measure.LOGIT_KL, Measure.HESSIAN)]
            found.append((measures, session.act_sensitivity()))
    here, there = found
    assert here == there
    assert [list(measure) for measure in here[0]] == [list(measure) for measure in there[0]]
    assert list(here[1]) == list(there[1])
    assert any(by[WeightMode.W2] > 0 for by in here[0][0].values())
    assert any(by[4] > 0 for by in here[1].values())


def test_files_of_a_source_are_found_from_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"")
    (tmp_path / "data").mkdir()
    own = Source(model="net.onnx", weights=Path("w.safetensors"), data=Path("data")).anywhere()
    assert own.model == str(tmp_path / "net.onnx")
    assert own.weights == tmp_path / "w.safetensors"
    assert own.data == tmp_path / "data"
    named = Source(model="resnet8", weights=None, data=Path("module:factory"))
    assert named.anywhere() == named


def test_a_resumed_search_may_run_elsewhere(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(request: Request, images: Data, begin: Callable[[], None]) -> bool:
        begin()
        raise KeyboardInterrupt

    app = Typer()
    app.command()(quant.search.main)
    with monkeypatch.context() as patched:
        patched.setattr("quant.run.run", stop)
        found = CliRunner().invoke(app, [*options, "--workers", "0", "--out", str(tmp_path)])
    assert found.exit_code == 130
    asked: list[Request] = []

    def note(request: Request, images: Data, begin: Callable[[], None]) -> bool:
        asked.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr("quant.run.run", note)
    resume = ["--resume", str(tmp_path)]
    for more in ([], ["--workers", "3"], ["--cluster", "tcp://somewhere"]):
        CliRunner().invoke(app, [*resume, *more])
    assert [(r.workers, r.cluster) for r in asked] == [(0, ""), (3, ""), (0, "tcp://somewhere")]
    assert {r.points for r in asked} == {2}


def test_workers_of_several_threads_are_refused() -> None:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(QuantError) as error:
            DaskCluster(address)
    assert str(error.value) == (
        "cluster must have workers of one thread each (dask worker --nthreads 1), and "
        f"{address} has 1 with [2]"
    )


def test_an_address_without_a_scheduler_is_one_line(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quant.jobs.CONNECT_S", 1)
    app = Typer()
    app.command()(quant.search.main)
    given = [*options, "--out", str(tmp_path), "--cluster", "tcp://127.0.0.1:9"]
    found = CliRunner().invoke(app, given, catch_exceptions=False)
    assert found.exit_code == 2
    assert found.stderr.startswith("cluster must be the address of a Dask scheduler, and tcp://")
    assert found.stderr.count("\n") == 1
