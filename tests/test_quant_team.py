"""Training on several processes: the same as on one, and what happens when one is killed."""

import gzip
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from typer import Typer
from typer.testing import CliRunner

from hw.precision import WeightMode
from quant.data import ImageSet
from quant.device import check_device
from quant.errors import QuantError
from quant.files import save_tensors
from quant.graph import trace
from quant.launch import started_by
from quant.models import build
from quant.qat import QatSettings, train_quantised
from quant.quant_network import QuantNetwork, uniform_bits
from quant.quantizer import ActRange
from quant.search import main
from quant.team import ALONE, Team

torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent
UNPU = ROOT / "docs" / "examples" / "unpu.json"
COMPARE = """
import json, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import torch
from torch import nn
from torch.nn import functional
from hw.precision import WeightMode
from quant import qat
from quant.quant_network import uniform_bits
from quant.team import ALONE, Team
from quant.workbench import Source, Workbench

torch.set_num_threads(1)
dtype, narrow = torch.float64, qat.train_batches
qat.train_batches = lambda *given, **more: ((x.to(dtype), y) for x, y in narrow(*given, **more))

class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(2)) for _ in range(3))

folder, found = Path(sys.argv[1]), {{}}
with Team.of_environment() as team:
    source = Source(model="network:Small", weights=folder / "weights.safetensors", data=folder)
    bench = Workbench(source, team=team)
    labels = torch.from_numpy(bench.train_set.labels[:8].copy())
    for name, mode, batch in (("even", WeightMode.W8, 16), ("uneven", WeightMode.W2, 15)):
        quantised = bench.calibrated(uniform_bits(bench.network, mode), seed=0).to(dtype)
        teacher, start = bench.teacher.to(dtype), quantised.snapshot()
        example, runs = bench.example.to(dtype), []
        for who in (team, ALONE):
            quantised.restore(start)
            losses = []
            def note():
                quantised.eval()
                with torch.no_grad():
                    losses.append(float(functional.cross_entropy(quantised(example), labels)))
                quantised.train()
            settings = qat.QatSettings(steps=5, batch=batch)
            qat.train_quantised(
                quantised, bench.train_set, settings, teacher=teacher, team=who, on_step=note
            )
            runs.append((losses, quantised.snapshot().state))
        (together, here), (alone, expected) = runs
        worst = max(float((here[k] - expected[k]).abs().max()) for k in here)
        moved = max(float((start.state[k] - expected[k]).abs().max()) for k in here)
        found[name] = {{"together": together, "alone": alone, "worst": worst, "moved": moved}}
        bench.teacher.float()
    part = Part()
    part.a.grad = torch.full((2,), 1.0 + team.rank)
    if team.rank == 1:
        part.b.grad = torch.ones(2)
    team.sum_gradients(part)
    found["gradients"] = [p.grad if p.grad is None else p.grad.tolist() for p in part.parameters()]
(folder / f"found-{{team.rank}}.json").write_text(json.dumps(found))
"""
NETWORK = """
from torch import nn
from quant.models import ResidualBlock

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.pool, self.flatten = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.block, self.fc = ResidualBlock(8, 16, 2), nn.Linear(16, 10)

    def forward(self, x):
        x = self.block(self.relu(self.bn(self.stem(x))))
        return self.fc(self.flatten(self.pool(x)))
"""
DRIVER = """
import os, signal, sys
sys.path.insert(0, {root!r})
import typer
from quant import follower, search, workbench

def killed(self, *given):
    os.kill(os.getpid(), signal.SIGKILL)

if os.environ.get("RANK") == "1":
    if "KILL" in os.environ:
        workbench.Workbench.train_along = killed
    follower.follow()
else:
    typer.run(search.main)
"""
"""The command, whose second process ends itself when it is told to train."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, a network that is not trained, and the drivers."""
    folder = tmp_path_factory.mktemp("team")
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, chosen in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    (folder / "network.py").write_text(NETWORK)
    names: dict[str, Any] = {}
    exec(NETWORK, names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = dict(names["Small"]().state_dict())
    metadata = {key: key for key in "abcdefgh"}
    save_tensors(state, folder / "weights.safetensors", metadata=metadata)
    (folder / "driver.py").write_text(DRIVER.format(root=str(ROOT)))
    (folder / "compare.py").write_text(COMPARE.format(root=str(ROOT)))
    return folder


def launched(processes: int, *given: str, kill: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a script under torchrun, or by itself for 0 processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"KILL": "1"} if kill else {})
    return subprocess.run(
        [sys.executable, *(torchrun if processes else []), *given],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def search(folder: Path, out: Path) -> list[str]:
    fixed = ["--data", str(folder), "--model", "network:Small"]
    fixed += ["--weights", str(folder / "weights.safetensors")]
    method = ["--method", "milp", "--sensitivity", "kl", "--cost-table", str(UNPU)]
    limits = ["--max-drop", "0.9", "--max-size", "0.7", "--qat-steps", "4", "--workers", "0"]
    return [str(folder / "driver.py"), *fixed, *method, *limits, "--out", str(out)]


def result(out: Path) -> str:
    """Read a result without what tells where it was put."""
    document = json.loads((out / "result.json").read_text())
    document["provenance"].pop("command")
    return json.dumps(document)


def test_two_processes_train_as_one_does(folder: Path) -> None:
    done = launched(2, str(folder / "compare.py"), str(folder))
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        found = json.loads((folder / f"found-{rank}.json").read_text())
        for name in ("even", "uneven"):
            # in float64, where sums in another order do not reach a rounding
            assert found[name]["together"] == pytest.approx(found[name]["alone"], abs=1e-9)
            assert found[name]["worst"] < 1e-9
            assert found[name]["moved"] > 1e-3
        assert found["gradients"] == [[3.0, 3.0], [1.0, 1.0], None]


def test_one_process_of_torchrun_gives_the_identical_result(folder: Path, tmp_path: Path) -> None:
    for processes in (0, 1):
        done = launched(processes, *search(folder, tmp_path / str(processes)))
        assert done.returncode == 0, done.stderr
    assert result(tmp_path / "0") == result(tmp_path / "1")
    here, there = (load_file(tmp_path / n / "quantised.safetensors") for n in ("0", "1"))
    assert all(torch.equal(here[name], there[name]) for name in here)


def test_a_killed_process_leaves_one_line_and_what_resumes_to_the_identical_result(
    folder: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    done = launched(2, *search(folder, whole))
    assert done.returncode == 0, done.stderr
    done = launched(2, *search(folder, out), kill=True)
    assert done.returncode == 1  # torchrun's for any failure
    again = f"torchrun --nproc-per-node 2 -m quant.search --resume {out}"
    line = f"stopped; the best so far, if any, is {out}/best.json; go on with `{again}`"
    assert done.stderr.splitlines().count(line) == 1
    assert done.stderr.count("Traceback") == 1  # torchrun's own
    assert not (out / "result.json").exists()
    assert (out / "best.json").exists()
    app = Typer()
    app.command()(main)
    other = CliRunner().invoke(app, ["--resume", str(out)], catch_exceptions=False)
    assert (other.exit_code, other.stderr) == (
        2,
        f"processes must be 2, as when the search began, not 1; resume with `{again}`\n",
    )
    done = launched(2, str(folder / "driver.py"), "--resume", str(out))
    assert done.returncode == 0, done.stderr
    assert result(out) == result(whole)


def test_more_processes_than_images_are_refused() -> None:
    data = ImageSet(images=np.zeros((3, 8, 8), np.uint8), labels=np.zeros(3, np.int64))
    text = "processes must be at most 3, the images of a batch, not 4"
    network = torch.nn.Module()
    assert not isinstance(network, QuantNetwork)
    with pytest.raises(QuantError, match=text):
        train_quantised(network, data, QatSettings(steps=1), team=Team(size=4))  # type: ignore[arg-type]


def test_one_process_takes_whole_batches_as_they_are() -> None:
    network = torch.nn.BatchNorm2d(1)
    images, labels = torch.rand(5, 1, 2, 2), torch.arange(5)
    ((mine, wanted, share),) = ALONE.parts([(images, labels)], network)
    assert torch.equal(mine, images)
    assert torch.equal(wanted, labels)
    assert share == 1.0
    assert "forward" not in vars(network)


def test_training_takes_place_where_the_network_is() -> None:
    model = build("resnet8").eval()
    network = trace(model, torch.zeros(1, 1, 8, 8))
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W4))
    for name in quantised.act_quantizers:
        quantised.act_quantizer(name).range = ActRange.of(0.0, 2.0)
    data = ImageSet(images=np.zeros((9, 8, 8), np.uint8), labels=np.arange(9))
    # no other device is sure to be here; this one holds no values, but refuses those of others
    quantised.to("meta")
    train_quantised(quantised, data, QatSettings(steps=2, batch=4), teacher=model.to("meta"))
    assert {p.device.type for p in quantised.parameters()} == {"meta"}
    assert quantised.layer("stem").layer.weight.grad is not None


def test_devices() -> None:
    assert check_device("cpu") == "cpu"
    with pytest.raises(QuantError, match="device must be one of cpu, cuda, auto, not tpu"):
        check_device("tpu")
    if torch.cuda.is_available():
        assert check_device("auto") == check_device("cuda") == "cuda"
        return
    assert check_device("auto") == "cpu"
    with pytest.raises(QuantError, match=r"device must be there, but torch finds no cuda"):
        check_device("cuda")


def test_the_command_that_goes_on() -> None:
    assert started_by(1) == ["python", "-m"]
    assert started_by(8) == ["torchrun", "--nproc-per-node", "8", "-m"]
