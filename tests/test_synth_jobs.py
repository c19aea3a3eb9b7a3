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
    """Return a square, and leave a line for every call: the number, the process."""
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(f"{number} {os.getpid()}\n")
    if number < 0:
        raise ValueError(f"number must not be negative, not {number}")
    return {"square": number * number}


def jobs(log: Path, numbers: range) -> list[Job]:
    return [
        Job(function=square, arguments={"number": number}, where={"log": str(log)})
        for number in numbers
    ]


def calls(log: Path) -> tuple[list[int], set[int]]:
    """Numbers of the calls in their order, and the processes that made them."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    numbers, pids = [], set()
    for line in lines:
        number, pid = map(int, line.split())
        numbers.append(number)
        pids.add(pid)
    return numbers, pids


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_and_are_made_once(workers: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    runner = Runner(store=Store(tmp_path / "store"), workers=workers)
    wanted = [{"square": n * n} for n in range(5)]
    assert runner.run(jobs(log, range(5)), label="squares") == wanted
    assert runner.run(jobs(log, range(5)), label="squares") == wanted
    numbers, pids = calls(log)
    assert sorted(numbers) == [0, 1, 2, 3, 4]
    # in this process if there are no workers, and else in none of them here
    assert os.getpid() not in pids if workers else pids == {os.getpid()}


def test_what_was_finished_before_a_failure_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    runner = Runner(store=Store(tmp_path / "store"))
    with pytest.raises(ValueError, match="number must not be negative, not -1"):
        runner.run(jobs(log, range(3, -3, -1)), label="squares")
    assert calls(log)[0] == [3, 2, 1, 0, -1]
    runner.run(jobs(log, range(5)), label="squares")
    assert calls(log)[0] == [3, 2, 1, 0, -1, 4]


def test_another_argument_is_another_job_and_another_place_is_not(tmp_path: Path) -> None:
    one, two = jobs(tmp_path / "log", range(2))
    assert one.key != two.key
    assert one.key == jobs(tmp_path / "elsewhere", range(1))[0].key


def test_cluster_that_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth.jobs.CONNECT_S", 1)
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
        victim = next(worker.pid for worker in cluster.workers.values())
        at_the_kill: list[int] = []
        over = threading.Event()

        def kill_when_at_work() -> None:
            while not over.wait(0.05):
                numbers, pids = calls(log)
                if victim in pids:
                    os.kill(victim, signal.SIGKILL)
                    at_the_kill.append(len(numbers))
                    return

        killer = threading.Thread(target=kill_when_at_work)
        killer.start()
        try:
            found = runner.run(slow_jobs(log, range(12)), label="squares")
        finally:
            over.set()
            killer.join()
    assert found == [{"square": n * n} for n in range(12)]
    _, pids = calls(log)
    assert os.getpid() not in pids, "jobs of a cluster run in its workers"
    assert len(pids) > 1, "what the killed worker left, others did"
    assert at_the_kill, "the killed worker had done some of the jobs"
    assert at_the_kill[0] < 12, "and not all were done when it was killed"


def slow_square(*, store: Store, number: int, log: str) -> dict[str, Any]:
    """Return a square after a while."""
    time.sleep(0.4)
    return square(store=store, number=number, log=log)


def slow_jobs(log: Path, numbers: range) -> list[Job]:
    return [
        Job(function=slow_square, arguments={"number": number}, where={"log": str(log)})
        for number in numbers
    ]


KILLS = int(os.environ.get("SIGMAQUANT_KILLS", "3"))
"""How often a table is killed; ``SIGMAQUANT_KILLS=10 pytest tests/test_synth_jobs.py``."""
DRIVER = """
from synth import __main__ as command, candidates

recipes = candidates.recipes
candidates.recipes = lambda *given, **more: recipes(*given, **more)[1:2]
command.baselines = lambda config: {}
command.app(prog_name="synth")
"""
"""``python -m synth`` with one recipe, without INT8 arrays: as many kinds of jobs, fewer."""


def synth(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    small = ("--rows", "1", "--cols", "1", "--lanes", "4", "--products", "1200", "--name", "small")
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, "--out", "tables", "--cache", "store", *small],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finished(folder: Path) -> set[str]:
    """Jobs that a run has finished."""
    return {path.name for path in (folder / "store").glob("*.json")}


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
def test_killed_again_and_again_the_table_is_the_same_to_the_last_byte(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert synth(undisturbed).wait() == 0
    wanted = finished(undisturbed)
    draw = random.Random(1)
    for moment in sorted(draw.sample(range(len(wanted) - 4), KILLS)):
        running = synth(killed)
        while len(finished(killed)) <= moment:
            assert running.poll() is None
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.2))  # into the middle of the next jobs
        # the workers as well, as when a machine goes down
        os.killpg(running.pid, signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        assert not (killed / "tables" / "small.json").exists()
    assert synth(killed).wait() == 0
    tables = [folder / "tables" / "small.json" for folder in (undisturbed, killed)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert finished(killed) == wanted
    assert json.loads(tables[0].read_text())["array"]["modules"]
