"""Searches that are stopped: killed, interrupted, terminated; resumed to the identical result."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hw.precision import WeightMode
from quant.errors import QuantError
from quant.journal import Entry, Journal

ROOT = Path(__file__).parent.parent
DRIVER = """
import os, signal, sys
sys.path.insert(0, {root!r})
import typer
from quant import journal
from quant.search import main

stop_after, number = int(os.environ["STOP_AFTER"]), int(os.environ["STOP_BY"])
write, count = journal.Journal.write, 0

def stopping(self, name, asked, entry):
    global count
    count += 1
    if number and count > stop_after:
        os.kill(os.getpid(), number)
    write(self, name, asked, entry)

journal.Journal.write = stopping
typer.run(main)
"""
"""Runs the command and sends itself a signal just before a step's file would be written."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, a network that is barely trained, and the driver."""
    import gzip
    import struct

    import numpy as np
    from sklearn.datasets import load_digits

    from quant.files import save_tensors
    from quant.models import build

    folder = tmp_path_factory.mktemp("stop")
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, chosen in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    model = build("resnet8", seed=0)
    save_tensors(dict(model.state_dict()), folder / "weights.safetensors", metadata={"seed": "0"})
    (folder / "driver.py").write_text(DRIVER.format(root=str(ROOT)))
    return folder


def run(folder: Path, *options: str, stop_by: int = 0, stop_after: int = 0) -> int:
    """Run the command in a process of its own; returns its exit status."""
    environment = os.environ | {"STOP_BY": str(int(stop_by)), "STOP_AFTER": str(stop_after)}
    done = subprocess.run(
        [sys.executable, str(folder / "driver.py"), *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, 3, -signal.SIGKILL, 130, 143), done.stderr
    return done.returncode


def options(folder: Path, out: Path, *more: str) -> list[str]:
    fixed = ["--data", str(folder), "--weights", str(folder / "weights.safetensors")]
    return [*fixed, "--workers", "0", "--max-drop", "0.5", "--out", str(out), *more]


@pytest.mark.parametrize(
    ("more", "steps"),
    [
        (("--qat-steps", "20"), (2, 3)),
        (("--qat-steps", "20", "--scales", "learned"), (2, 3)),
        (("--method", "auto", "--ptq-only", "--max-energy", "0.5"), (0, 3)),
    ],
    ids=["sigmaquant", "learned-scales", "auto"],
)
def test_a_search_killed_again_and_again_ends_with_the_identical_result(
    folder: Path, tmp_path: Path, more: tuple[str, ...], steps: tuple[int, ...]
) -> None:
    out = tmp_path / "out"
    status = run(folder, *options(folder, out, *more))
    expected = (out / "result.json").read_bytes()
    tensors = load_file(out / "quantised.safetensors")
    assert status in (0, 3)
    assert not (out / "state").exists()
    shutil.rmtree(out)
    assert run(folder, *options(folder, out, *more), stop_by=signal.SIGKILL, stop_after=1) < 0
    for stop_after in steps:  # each run does so many steps more before it is killed
        assert run(folder, "--resume", str(out), stop_by=signal.SIGKILL, stop_after=stop_after) < 0
        assert not (out / "result.json").exists()
    assert run(folder, "--resume", str(out)) == status
    assert (out / "result.json").read_bytes() == expected
    found = load_file(out / "quantised.safetensors")
    assert found.keys() == tensors.keys()
    assert all(found[name].equal(tensors[name]) for name in tensors)
    assert sorted(path.name for path in out.iterdir()) == [
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
    folder: Path, tmp_path: Path, number: int, status: int
) -> None:
    given = options(folder, tmp_path, "--qat-steps", "20")
    assert run(folder, *given, stop_by=number, stop_after=6) == status
    best = json.loads((tmp_path / "best.json").read_text())
    assert len(best["allocation"]) == 10
    assert (tmp_path / "best.safetensors").exists()
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_a_search(folder: Path, tmp_path: Path, number: int) -> None:
    given = options(folder, tmp_path, "--qat-steps", "100000", "--workers", "2")
    given.remove("0")
    given.remove("--workers")
    search = subprocess.Popen(
        [sys.executable, "-m", "quant.search", *given],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    workers: set[int] = set()
    deadline = time.monotonic() + 60
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        workers = {pid for pid in children(search.pid) if "spawn_main" in command(pid)}
    assert len(workers) == 2
    time.sleep(3)  # until they are at work
    search.send_signal(number)
    try:
        search.wait(timeout=30)
    finally:
        search.kill()
    deadline = time.monotonic() + 20
    while any(command(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(command(pid) for pid in workers)


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

    from quant.layers import Snapshot
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
        "resume must come alone, since it takes all options of the search, not with --max-size, "
        "--seed"
    )


def test_nothing_to_resume(tmp_path: Path) -> None:
    assert refused("--resume", str(tmp_path)) == (
        f"{tmp_path}/state/request.json: must be there to resume a search, not missing; a "
        "finished one has no state"
    )
