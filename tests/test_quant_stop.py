"""Searches that are stopped: killed, interrupted, terminated; resumed to the identical result."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hw.precision import WeightMode
from quant.begun import Begun, digests, write_begun
from quant.errors import QuantError
from quant.journal import Entry, Journal
from quant.options import Options
from quant.ptq import options as ptq

ROOT = Path(__file__).parent.parent
KILLS = int(os.environ.get("SIGMAQUANT_KILLS", "3"))
"""How often each search is killed; ``SIGMAQUANT_KILLS=5 pytest tests/test_quant_stop.py``."""
SERVER = """
import json, os, signal, sys
sys.path[:0] = {paths!r}
count = 0

def search(options, stop_by, stop_after, log, steps):
    def stopping(self, name, asked, entry):
        global count
        count += 1
        if stop_by and count > stop_after:
            os.kill(os.getpid(), stop_by)
        write(self, name, asked, entry)

    journal.Journal.write = stopping
    signal.alarm(120)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.argv = ["search", *options]
    try:
        typer.run(main)
    finally:
        with open(steps, "w") as file:
            print(count, file=file)

if __name__ == "__main__":  # and not in the workers of a search
    import matplotlib.backends.backend_agg, scipy.optimize, torch, typer
    import quant.pareto, quant.report, quant.result, quant.run
    from quant import journal
    from quant.search import main

    torch.set_num_threads(1)
    write = journal.Journal.write
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            search(**json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Forks a process for each search that a line of stdin asks for; prints its id and its status.

A search sends itself a signal just before a step's file would be written, if it is to be stopped.
"""
NETWORK = """
from torch import nn
from quant.models import ResidualBlock

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.pool, self.flatten = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.block, self.fc = ResidualBlock(8, 8, 1), nn.Linear(8, 10)

    def forward(self, x):
        x = self.block(self.relu(self.bn(self.stem(x))))
        return self.fc(self.flatten(self.pool(x)))
"""
LAYERS = 4


class Searches:
    """Searches of a process that has imported what they need, one after the other.

    Parameters
    ----------
    folder : Path
        Data, network and weights.
    seed : int
        Of Python's hashes, so that no result hangs on an order that hashes give.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._log, self._steps = folder / f"log-{seed}", folder / f"steps-{seed}"
        path = folder / f"server-{seed}.py"
        path.write_text(SERVER.format(paths=[str(ROOT), str(folder)]))
        self._server = subprocess.Popen(
            [sys.executable, str(path)],
            cwd=folder,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *options: str, stop_by: int = 0, stop_after: int = 0) -> int:
        """Start a search; returns its process id."""
        assert self._server.stdin is not None
        asked = {"options": options, "stop_by": int(stop_by), "stop_after": stop_after}
        paths = {"log": str(self._log), "steps": str(self._steps)}
        print(json.dumps(asked | paths), file=self._server.stdin, flush=True)
        return self._line()

    def wait(self) -> int:
        """Return the exit status of the search that was started, negative for a signal's."""
        status = self._line()
        assert status in (0, 3, -signal.SIGKILL, 130, 143), self._log.read_text()
        return status

    def run(self, *options: str, stop_by: int = 0, stop_after: int = 0) -> int:
        """Run a search; returns its exit status."""
        self.start(*options, stop_by=stop_by, stop_after=stop_after)
        return self.wait()

    def steps(self) -> int:
        """Steps that the last search took, if it came to its end."""
        return int(self._steps.read_text())

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._server.stdout.close()

    def _line(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, and a small network."""
    import gzip
    import struct

    import numpy as np
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("stop")
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, chosen in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    (folder / "network.py").write_text(NETWORK)
    return folder


@pytest.fixture(scope="module")
def searches(folder: Path) -> Iterator[Searches]:
    found = Searches(folder, seed=1)
    yield found
    found.close()


@pytest.fixture(scope="module")
def others(folder: Path) -> Iterator[Searches]:
    """Return searches of another process, where sets have another order."""
    found = Searches(folder, seed=2)
    yield found
    found.close()


def options(folder: Path, out: Path, *more: str, workers: int = 0) -> list[str]:
    fixed = ["--data", str(folder), "--model", "network:Small", "--max-drop", "0.9"]
    return [*fixed, "--workers", str(workers), "--out", str(out), *more]


@pytest.mark.parametrize(
    "more",
    [
        ("--qat-steps", "10"),
        ("--qat-steps", "10", "--scales", "learned"),
        ("--method", "auto", "--ptq-only", "--max-energy", "0.5"),
        ("--method", "auto", "--ptq-only", "--max-bops", "0.2", "--act-bits", "8,4"),
    ],
    ids=["sigmaquant", "learned-scales", "auto", "activations"],
)
def test_a_search_killed_again_and_again_ends_with_the_identical_result(
    searches: Searches, others: Searches, folder: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    status = searches.run(*options(folder, out, *more))
    expected = (out / "result.json").read_bytes()
    tensors = load_file(out / "quantised.safetensors")
    assert status in (0, 3)
    assert not (out / "state").exists()
    shutil.rmtree(out)
    moments = sorted(random.Random(1).sample(range(searches.steps()), KILLS))
    for index, (before, moment) in enumerate(pairwise([0, *moments])):
        given = ["--resume", str(out)] if index else options(folder, out, *more)
        # each run does some steps more before it is killed
        left = others.run(*given, stop_by=signal.SIGKILL, stop_after=moment - before)
        assert left == -signal.SIGKILL
        assert not (out / "result.json").exists()
    assert others.run("--resume", str(out)) == status
    assert (out / "result.json").read_bytes() == expected
    found = load_file(out / "quantised.safetensors")
    assert found.keys() == tensors.keys()
    assert all(found[name].equal(tensors[name]) for name in tensors)
    assert sorted(path.name for path in out.iterdir()) == [
        "config.yaml",
        "float.safetensors",
        "folded.safetensors",
        "integer",
        "network.safetensors",
        "pareto.png",
        "quantised.safetensors",
        "result.json",
    ]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_stopped_search_leaves_the_best_so_far(
    searches: Searches, folder: Path, tmp_path: Path, number: int, status: int
) -> None:
    given = options(folder, tmp_path, "--qat-steps", "10")
    assert searches.run(*given, stop_by=number, stop_after=6) == status
    best = json.loads((tmp_path / "best.json").read_text())
    assert len(best["allocation"]) == LAYERS
    assert (tmp_path / "best.safetensors").exists()
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_a_search(
    searches: Searches, folder: Path, tmp_path: Path, number: int
) -> None:
    search = searches.start(*options(folder, tmp_path, "--qat-steps", "100000", workers=2))
    workers: set[int] = set()
    deadline = time.monotonic() + 100
    # until they are at work, or about to be
    while not (len(workers) == 2 and all(map(has_torch, workers))):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        workers = {pid for pid in children(search) if "spawn_main" in command(pid)}
    time.sleep(0.5)
    os.kill(search, number)
    assert searches.wait() < 0 or number != signal.SIGKILL
    deadline = time.monotonic() + 20
    while any(command(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(command(pid) for pid in workers)


def has_torch(pid: int) -> bool:
    """Whether a process has loaded torch."""
    try:
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def children(pid: int) -> set[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return {int(child) for child in path.read_text().split()}
    except OSError:
        return set()


def command(pid: int) -> str:
    """Command line of a process that runs; empty for others."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_journal_reads_back_what_it_wrote_and_refuses_another_step(tmp_path: Path) -> None:
    journal, asked = Journal(tmp_path), {"bits": {"a": 2}, "steps": 3}
    third = 1 / 3
    journal.step("one", asked, lambda: Entry(values={"validation": third}))

    def never() -> Entry:
        raise AssertionError("done before")

    assert journal.step("one", asked, never).values == {"validation": third}
    with pytest.raises(QuantError) as caught:
        journal.step("one", {**asked, "steps": 4}, never)
    assert str(caught.value) == (
        f"{tmp_path / 'one.safetensors'}: must be a step of this very search, not of another one "
        "or of another version; delete the folder and start anew"
    )
    (tmp_path / "one.safetensors").write_bytes(b"half")
    with pytest.raises(QuantError, match=r"one.safetensors: must be a step of a search, not: "):
        journal.step("one", asked, never)


def test_a_journal_keeps_networks_exactly(tmp_path: Path) -> None:
    import torch

    from quant.quant_network import Snapshot
    from quant.quantizer import ActRange

    state = {"w": torch.randn(3, 4, generator=torch.Generator().manual_seed(0))}
    ranges = {"x": ActRange(scale=1 / 3, zero_point=7), "y": None}
    snapshot = Snapshot(state=state, ranges=ranges, bits={"a": WeightMode.W6})
    journal = Journal(tmp_path)
    journal.write("net", {}, Entry(snapshot=snapshot))
    read = journal.read("net", {})
    assert read is not None
    assert read.snapshot is not None
    assert torch.equal(read.snapshot.state["w"], state["w"])
    assert read.snapshot.ranges == ranges
    assert read.snapshot.bits == {"a": WeightMode.W6}


def refused(*given: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "quant.search", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr.rstrip("\n")


def test_resuming_takes_no_other_options(tmp_path: Path) -> None:
    assert refused("--resume", str(tmp_path), "--seed", "1", "--max-size", "0.5") == (
        "resume must come alone or with --workers and --cluster, since it takes all other options "
        "of the search, not with --max-size, --seed"
    )


def test_nothing_to_resume(tmp_path: Path) -> None:
    assert refused("--resume", str(tmp_path)) == (
        f"{tmp_path}/state/request.json: must be there to resume a run, not missing; a "
        "finished one has no state"
    )


def test_a_search_whose_map_is_another_one_by_now_does_not_go_on(tmp_path: Path) -> None:
    path = tmp_path / "bits.json"
    path.write_text('{"stem": 8}')
    begun = Begun(command="", options=Options(map=path), read=digests([path, None]))
    write_begun(begun, tmp_path / "run")
    path.write_text('{"stem": 4}')
    assert refused("--resume", str(tmp_path / "run")) == (
        f"{path}: must be as it was when the run began, not changed; start anew"
    )


def test_a_search_does_not_go_on_with_a_run_of_another_command(tmp_path: Path) -> None:
    write_begun(Begun(command="", options=ptq.Options(), read={}), tmp_path)
    assert refused("--resume", str(tmp_path)) == (
        f"{tmp_path}/state/request.json: must have the options of this command, not of another; "
        "resume with the one that began the run"
    )
