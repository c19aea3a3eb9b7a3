"""The sweep of what the paper leaves open."""

from dataclasses import fields
from typing import Any

import pytest
import torch

from quant.bench.catalogue import SWEEP, SWEPT
from quant.bench.cells import ordered
from quant.bench.document import VISITED
from quant.bench.sweep import rows_of, sweep_cells, write_sweep
from quant.bench.work import Setup, works
from quant.decisions import Decisions
from tests.bench_cells import cell, run

torch.set_num_threads(1)


def test_a_sweep_changes_one_decision_at_a_time(bench_setup: Setup) -> None:
    options = [dict(choice.options) for choice in SWEEP]
    assert {one["method"] for one in options} == {"sigmaquant"}
    plain = Decisions()
    assert options[0]["decisions"] == plain
    changed = [
        {
            f.name
            for f in fields(Decisions)
            if getattr(one["decisions"], f.name) != getattr(plain, f.name)
        }
        for one in options[1:]
    ]
    assert changed == [{name} for name in SWEPT for _ in range(2)]
    caps = {"max_steps"}  # the paper's; the steps of training end a search before
    assert {*SWEPT} | caps == {field.name for field in fields(Decisions)}
    names = [one.name for one in ordered(sweep_cells(), "seed,way,model")]
    assert names[:3] == [
        "resnet8/qat/default/3/seed0",
        "dscnn/qat/default/3/seed0",
        "resnet8/qat/buffer=conservative/3/seed0",
    ]
    assert len(set(names)) == 2 * 13 * 3

    few = [c for c in sweep_cells() if c.name.startswith("resnet8/qat/default/3/seed0")]
    few += [c for c in sweep_cells() if c.name.startswith("resnet8/qat/layers_per_step=4/3/seed0")]
    status, document = run(few, bench_setup, write=write_sweep)
    assert status == 0
    assert [row["way"] for row in document["rows"]] == ["default", "layers_per_step=4"]
    assert document["rows"][0]["gain"] == {"mean": 0.0, "spread": None}
    found = works(few, bench_setup)
    known = found[few[0]].known()
    assert known is not None
    listed = document["cells"][0]
    assert [len(listed["visits"]), listed["targets"]] == [len(known["visits"]), known["targets"]]
    assert listed["float_validation"] == known["validation_accuracy"]["float"]
    assert listed["targets_met"] is known["targets_met"]["all"]
    for short, whole in zip(listed["visits"], known["visits"], strict=True):
        bits = " ".join(str(one) for one in whole["bits"])
        assert short == {name: whole[name] for name in VISITED} | {"bits": bits}
    assert [found[one].options.request(command="").decisions.layers_per_step for one in few] == [
        2,
        4,
    ]
    lines = (bench_setup.out / "report.md").read_text().splitlines()
    assert lines[4].startswith("|  | resnet8: top-1 % | resnet8: mean bits |")
    assert lines[7].startswith("| layers_per_step=4 | ")


def test_gains_of_a_sweep_are_over_the_defaults_of_the_same_seeds() -> None:
    def record(accuracy: float, visits: int) -> dict[str, Any]:
        return {
            "accuracy": {"float": 0.95, "searched": accuracy},
            "average_bits": 3.0,
            "cost": {"searched": {"size_bits": 1.0, "energy_pj": 2e6, "latency_ns": 3.0}},
            "seconds": 1.0,
            "visits": [{}] * visits,
            "targets_met": {"all": accuracy > 0.9},
        }

    records = {
        cell("default", bits=3.0, seed=0, trains=True): record(0.91, 4),
        cell("default", bits=3.0, seed=1, trains=True): record(0.93, 6),
        cell("patience=8", bits=3.0, seed=1, trains=True): record(0.90, 8),
    }
    plain, patient = rows_of(records)
    assert (plain["seeds"], plain["met"], plain["visits"]["mean"]) == (2, 2, 5.0)
    assert (patient["seeds"], patient["met"]) == (1, 0)
    assert patient["gain"]["mean"] == pytest.approx(-0.03)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"buffer": "bold"}, "buffer must be one of conservative, balanced, aggressive, not bold"),
        ({"recovery": -0.1}, "recovery must be at least 0, not -0.1"),
        ({"margin": float("nan")}, "margin must be at least 0, not nan"),
        ({"patience": 0}, "patience must be at least 1, not 0"),
    ],
)
def test_impossible_decisions(changed: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Decisions(**changed)
