"""Jobs give the same wherever they run, once; what is killed goes on."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from synth.jobs import ClusterError, Job, Runner, Store

ROOT = Path(__file__).parents[1]


def square(*, store: Store, number: int, log: str) -> dict[str, Any]:
    """Return a square, and leave a line for every call."""
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(f"{number}\n")
    if number < 0:
        raise ValueError(f"number must not be negative, not {number}")
    return {"square": number * number}


def jobs(log: Path, numbers: range) -> list[Job]:
    return [
        Job(function=square, arguments={"number": number}, where={"log": str(log)})
        for number in numbers
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_and_are_made_once(workers: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    runner = Runner(store=Store(tmp_path / "store"), workers=workers)
    wanted = [{"square": n * n} for n in range(5)]
    assert runner.run(jobs(log, range(5)), label="squares") == wanted
    assert runner.run(jobs(log, range(5)), label="squares") == wanted
    assert sorted(log.read_text().split()) == list("01234")


def test_what_was_finished_before_a_failure_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runner = Runner(store=Store(tmp_path / "store"))
    with pytest.raises(ValueError, match="number must not be negative, not -1"):
        runner.run(jobs(log, range(3, -3, -1)), label="squares")
    assert log.read_text().split() == ["3", "2", "1", "0", "-1"]
    runner.run(jobs(log, range(5)), label="squares")
    assert log.read_text().split() == ["3", "2", "1", "0", "-1", "4"]


def test_another_argument_is_another_job_and_another_place_is_not(tmp_path: Path) -> None:
    one, two = jobs(tmp_path / "log", range(2))
    assert one.key != two.key
    assert one.key == jobs(tmp_path / "elsewhere", range(1))[0].key


def test_cluster_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    runner = Runner(store=Store(tmp_path), cluster="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"^cluster must be the address of a Dask scheduler"):
        runner.run(jobs(tmp_path / "log", range(1)), label="squares")


def test_a_cluster_gives_the_same_although_a_worker_is_killed(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    log = tmp_path / "log"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        runner = Runner(store=Store(tmp_path / "store"), cluster=cluster.scheduler_address)
        pids = [worker.pid for worker in cluster.workers.values()]
        killer = threading.Timer(1.0, os.kill, (pids[0], signal.SIGKILL))
        killer.start()
        found = runner.run(slow_jobs(log, range(12)), label="squares")
        killer.join()
    assert found == [{"square": n * n} for n in range(12)]


def slow_square(*, store: Store, number: int, log: str) -> dict[str, Any]:
    """Return a square after a while."""
    time.sleep(0.4)
    return square(store=store, number=number, log=log)


def slow_jobs(log: Path, numbers: range) -> list[Job]:
    return [
        Job(function=slow_square, arguments={"number": number}, where={"log": str(log)})
        for number in numbers
    ]


def synth(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "synth", "--out", "tables", "--cache", "store", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
def test_killed_ten_times_the_table_is_the_same_to_the_last_byte(tmp_path: Path) -> None:
    small = ("--rows", "1", "--cols", "1", "--lanes", "4", "--products", "1200", "--name", "small")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert synth(undisturbed, *small).wait() == 0
    moments = random.Random(1)
    for _ in range(10):
        running = synth(killed, *small)
        time.sleep(moments.uniform(1.0, 6.0))
        # the workers as well, as when a machine goes down
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert synth(killed, *small).wait() == 0
    tables = [folder / "tables" / "small.json" for folder in (undisturbed, killed)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    stores = [
        {path.name for path in (folder / "store").glob("*.json")}
        for folder in (undisturbed, killed)
    ]
    assert stores[0] == stores[1]
    assert json.loads(tables[0].read_text())["array"]["modules"]
