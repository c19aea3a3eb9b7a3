"""The bench of scales: its runs, its means, and how it goes on where it was stopped."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer import Typer
from typer.testing import CliRunner, Result

from quant.bench_qat import cases, main, summary
from quant.rounding import Rounding


def test_every_network_and_recipe_runs_with_a_seed_before_the_next_seed_begins() -> None:
    found = cases(["a", "b"], list(Rounding), [0.1, 0.2], 2)
    assert len(found) == 24
    assert [case["seed"] for case in found] == [0] * 12 + [1] * 12
    assert [case["model"] for case in found[:12]] == ["a"] * 6 + ["b"] * 6
    assert [case["rounding"] for case in found[:6]] == ["nearest"] * 3 + ["sensitivity"] * 3
    first = {"model": "a", "rounding": "nearest", "seed": 0}
    assert found[:3] == [
        {**first, "scales": "min-max", "scale_lr": None},
        {**first, "scales": "learned", "scale_lr": 0.1},
        {**first, "scales": "learned", "scale_lr": 0.2},
    ]


def test_means_and_spreads_are_of_the_seeds_of_a_recipe() -> None:
    runs = cases(["a"], list(Rounding), [0.1], 2)
    accuracies = [0.5, 0.75, 0.5, 1.0, 0.25, 1.0, 0.5, 0.5]
    rows = summary([{**r, "validation_accuracy": x} for r, x in zip(runs, accuracies, strict=True)])
    shown = ("rounding", "scales", "seeds", "mean", "spread")
    assert [tuple(row[key] for key in shown) for row in rows] == [
        ("nearest", "min-max", 2, 0.375, 0.25),
        ("nearest", "learned", 2, 0.875, 0.25),
        ("sensitivity", "min-max", 2, 0.5, 0.0),
        ("sensitivity", "learned", 2, 0.75, 0.5),
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, chosen in (("train", slice(0, 200)), ("t10k", slice(200, 220))):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(
                gzip.compress(head + array.tobytes())
            )
    return tmp_path


def bench(data: Path, *more: str) -> Result:
    app = Typer()
    app.command()(main)
    out = ["--data", str(data), "--out", str(data / "scales.json")]
    return CliRunner().invoke(app, [*out, "--models", "resnet8", *more], catch_exceptions=False)


def test_a_second_call_runs_only_what_is_new(data: Path) -> None:
    few = ["--steps", "2", "--rates", "0.01", "--seeds", "1", "--roundings", "sensitivity"]
    first = bench(data, *few)
    assert first.exit_code == 0
    document = json.loads((data / "scales.json").read_text())
    assert [run["scales"] for run in document["runs"]] == ["min-max", "learned"]
    assert document["summary"] == summary(document["runs"])
    assert "resnet8, sensitivity, learned 0.01: " in first.stdout
    again = bench(data, *few, "--seeds", "2")
    assert [json.loads(line)["seed"] for line in again.stdout.splitlines()[:2]] == [1, 1]
    runs = json.loads((data / "scales.json").read_text())["runs"]
    assert runs[:2] == document["runs"]
    assert len(runs) == 4
    other = bench(data, "--steps", "3", "--rates", "0.01", "--seeds", "1")
    assert other.exit_code == 2
    assert other.stderr == (
        f"{data}/scales.json: runs must be of 2 bit and 3 steps to go on, not of 2 and 2; name "
        "another file with --out\n"
    )
    older = {**document, "runs": [{k: v for k, v in runs[0].items() if k != "rounding"}]}
    (data / "scales.json").write_text(json.dumps(older))
    old = bench(data, *few)
    assert old.exit_code == 2
    assert old.stderr == (
        f"{data}/scales.json: every run must have its rounding, as this version writes it; name "
        "another file with --out\n"
    )
