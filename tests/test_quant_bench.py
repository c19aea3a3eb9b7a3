"""The benchmark: cells, maps, resumption, failures, means and spreads."""

import gzip
import json
import struct
from concurrent.futures import Future
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from quant.bench import schedule
from quant.bench.catalogue import SWEEP, SWEPT, WAYS, Kind
from quant.bench.cells import Cell, all_cells, chosen, ordered
from quant.bench.maps import FOLDER, by_hand, entries
from quant.bench.order import noise_to_signal_db
from quant.bench.peers import without_norms
from quant.bench.report import markdown
from quant.bench.runner import bench
from quant.bench.schedule import Pace
from quant.bench.search import write_summary
from quant.bench.summary import against, mended, phases, summarise, taus, verdict
from quant.bench.sweep import rows_of, sweep_cells, write_sweep
from quant.bench.work import Setup, Work, works
from quant.decisions import Decisions
from quant.errors import QuantError
from quant.files import save_tensors
from quant.jobs import InProcess
from quant.models import build
from quant.workbench import Source, Workbench

torch.set_num_threads(1)

LAYERS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few digits, and a network that is not trained."""
    folder = tmp_path_factory.mktemp("bench")
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, place in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        for kind, array in (("images-idx3", images[place]), ("labels-idx1", labels[place])):
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    model = build("resnet8", seed=0)
    save_tensors(dict(model.state_dict()), folder / "weights.safetensors", metadata={"seed": "0"})
    return folder


@pytest.fixture
def setup(folder: Path, tmp_path: Path) -> Setup:
    return Setup(
        data=folder,
        out=tmp_path / "out",
        weights={"resnet8": folder / "weights.safetensors"},
        qat_steps=4,
    )


def cell(way: str, *, bits: float | None = 2.5, seed: int = 0, trains: bool = False) -> Cell:
    return Cell(model="resnet8", trains=trains, way=way, average_bits=bits, seed=seed)


def run(cells: list[Cell], setup: Setup, **more: Any) -> tuple[int, dict[str, Any]]:
    write = partial(more.pop("write", write_summary), report=setup.out / "report", command="a")
    status = bench(cells, setup, whole=cells, write=write, **more)
    document: dict[str, Any] = json.loads((setup.out / "report.json").read_text())
    return status, document


def test_cells_run_once_and_a_second_command_reads_them(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [cell("uniform 4", bits=None, seed=seed) for seed in (0, 1)]
    cells += [cell("milp kl"), cell("by hand", trains=True)]
    status, document = run(cells, setup)
    assert status == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4 cells, 4 different, 4 to run"
    assert [line.split("] ")[1].split(":")[0] for line in lines[1:-1]] == [c.name for c in cells]
    assert lines[-1].startswith("4 of 4 cells done, 0 failed, 0 not started")
    by_way = {row["way"]: row for row in document["summary"]}
    assert by_way["uniform 4"]["seeds"] == 2
    assert by_way["uniform 4"]["average_bits"] == {"mean": 4.0, "spread": 0.0}
    assert by_way["milp kl"]["average_bits"]["mean"] <= 2.5
    assert by_way["by hand"]["trains"] is True
    assert sorted(p.name for p in setup.out.iterdir()) == [
        "cells",
        "report-resnet8.png",
        "report.json",
        "report.md",
        "running",
    ]
    assert list((setup.out / "running").iterdir()) == []
    # the record of the search: no uniform allocations, test images read
    known = works(cells, setup)[cells[2]].known()
    assert known is not None
    assert known["accuracy"]["uniform"] == {}
    assert known["targets"] == {"max_drop": 0.0, "max_size": 2.5 / 8}
    assert len(known["allocation"]) == LAYERS
    listed = next(c for c in document["cells"] if c["cell"] == "resnet8/ptq/milp kl/2.5/seed0")
    assert listed["accuracy"] == known["accuracy"]["searched"]
    assert listed["bits"] == " ".join(str(bits) for bits in known["allocation"].values())

    status, again = run(cells, setup)
    assert status == 0
    assert capsys.readouterr().out.splitlines()[0] == "4 cells, 4 different, 0 to run"
    assert again["cells"] == document["cells"]


def test_changed_steps_run_a_cell_anew(setup: Setup) -> None:
    (first,) = works([cell("auto", trains=True)], setup).values()
    other = replace(setup, qat_steps=6)
    (second,) = works([cell("auto", trains=True)], other).values()
    assert first.key != second.key
    same = replace(setup, out=setup.out / "b")
    assert works([cell("auto", trains=True)], same)[cell("auto", trains=True)].key == first.key


def test_two_tools_with_the_same_bits_share_a_record(setup: Setup, tmp_path: Path) -> None:
    sizes = setup.sizes("resnet8")
    entry = {"model": "resnet8", "average_bits": 4.0, "seed": 0, "bits": dict.fromkeys(sizes, 4)}
    maps = tmp_path / "maps"
    maps.mkdir()
    for name in ("mct", "modelopt"):
        (maps / f"{name}.json").write_text(json.dumps({"maps": [{**entry, "name": name}]}))
    setup = replace(setup, maps=maps)
    cells = [cell("mct", bits=4.0), cell("modelopt", bits=4.0), cell("uniform 4", bits=None)]
    assert len({work.key for work in works(cells, setup).values()}) == 1
    status, document = run(cells, setup)
    assert status == 0
    assert len(list((setup.out / "cells").iterdir())) == 1
    assert len({row["accuracy"]["mean"] for row in document["summary"]}) == 1
    assert [c["cell"] for c in document["cells"]] == [c.name for c in cells]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failed_cell_is_reported_and_the_others_are_kept(
    workers: int, setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [cell("uniform 2", bits=None), cell("uniform 4", bits=None)]
    before, after = works(cells, setup).values()
    missing = before.options.model_copy(update={"weights": tmp_path / "none"})
    broken = replace(before, options=missing)
    told: list[tuple[str, str]] = []
    left = schedule.run_all(
        [broken, after],
        workers=workers,
        pace=Pace(),
        report=lambda work, record, reason: told.append((work.cell.way, reason)),
    )
    assert left == 0
    assert [way for way, _ in told] == ["uniform 2", "uniform 4"]
    assert told[0][1].startswith(f"QuantError: {tmp_path / 'none'}: weights must be a file")
    assert told[1][1] == ""
    assert broken.known() is None
    assert after.known() is not None
    # the whole command runs what is missing, once it can
    status, document = run(cells, setup)
    assert status == 0
    assert capsys.readouterr().out.splitlines()[0] == "2 cells, 2 different, 1 to run"
    assert document["cells_done"] == 2


def test_a_cell_that_a_cluster_dropped_is_reported_and_the_others_run(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dropping(InProcess):
        def submit(self, function: Any, *args: Any) -> Future[Any]:
            work = args[0]
            if work.cell.way != "uniform 2":
                return super().submit(function, *args)
            dropped: Future[Any] = Future()
            dropped.cancel()
            dropped.set_running_or_notify_cancel()
            return dropped

    monkeypatch.setattr(schedule, "jobs_of", lambda workers, cluster: Dropping())
    monkeypatch.setattr(schedule, "do", lambda work: {"seconds": 1.0})
    needed = works([cell("uniform 2", bits=None), cell("uniform 4", bits=None)], setup)
    told: dict[str, str] = {}
    left = schedule.run_all(
        list(needed.values()),
        workers=2,
        pace=Pace(),
        report=lambda work, record, reason: told.update({work.cell.way: reason}),
    )
    assert left == 0
    assert told["uniform 2"].startswith("CancelledError")
    assert told["uniform 4"] == ""


def test_a_failed_cell_makes_the_exit_status_1(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(work: Work) -> dict[str, Any]:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(schedule, "do", fail)
    status, document = run([cell("uniform 2", bits=None)], setup)
    assert status == 1
    assert document["cells_done"] == 0
    assert "uniform 2/-/seed0: FAILED, RuntimeError: out of memory; see " in capsys.readouterr().out


def test_no_cell_starts_that_would_end_after_the_deadline(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    def do(work: Work) -> dict[str, Any]:
        nonlocal now
        now += 30
        return {"seconds": 30.0}

    monkeypatch.setattr(schedule, "do", do)
    cells = [cell("uniform 2", bits=None, seed=seed) for seed in (0, 1, 2)]
    needed = list(works(cells, setup).values())
    told: list[str] = []
    left = schedule.run_all(
        needed,
        workers=0,
        pace=Pace(deadline=100.0 + 75),
        report=lambda work, record, reason: told.append(work.cell.name),
    )
    assert left == 1  # at 160 s there are 15 s left, and a cell takes 30
    assert told == [c.name for c in cells[:2]]


def record(accuracy: float, **more: Any) -> dict[str, Any]:
    cost = {"size_bits": 100, "energy_pj": 10.0, "latency_ns": 5.0}
    return {
        "accuracy": {"float": 0.92, "searched": accuracy},
        "average_bits": 2.0,
        "cost": {"searched": {**cost, **more}},
        "seconds": 1.0,
    }


def test_means_and_spreads_over_seeds() -> None:
    records = {
        cell("auto", seed=0): record(0.90, energy_pj=10.0),
        cell("auto", seed=1): record(0.91, energy_pj=20.0),
        cell("auto", seed=2): record(0.92, energy_pj=30.0),
        cell("greedy", seed=0): record(0.5),
    }
    ours, other = summarise(records)
    assert (ours["way"], ours["seeds"], ours["budget_bits"]) == ("auto", 3, 2.5)
    assert ours["accuracy"]["mean"] == pytest.approx(0.91)
    assert ours["accuracy"]["spread"] == pytest.approx(0.01)  # sqrt((1 + 0 + 1) / 2) points
    assert ours["drop"]["mean"] == pytest.approx(0.01)
    assert ours["energy_pj"] == {"mean": 20.0, "spread": 10.0}
    assert (other["way"], other["seeds"]) == ("greedy", 1)
    assert other["accuracy"] == {"mean": 0.5, "spread": None}


def test_ours_is_compared_seed_by_seed_within_the_same_budget() -> None:
    records = {
        cell("auto", seed=0): record(0.90),
        cell("auto", seed=1): record(0.92),
        cell("mct", seed=0): record(0.89, energy_pj=20.0),
        cell("mct", seed=1): record(0.90, energy_pj=40.0),
        cell("modelopt", seed=1): record(0.9225, energy_pj=None),  # a table without energies
        cell("greedy", bits=3.0): record(0.1),  # ours is not there
        cell("sigmaquant 1pt", seed=0): record(0.1),  # asked for something else
        cell("uniform 4", bits=None): record(0.9),
    }
    rows = {row["way"]: row for row in against(records)}
    assert sorted(rows) == ["mct", "modelopt"]
    assert rows["mct"]["gain"]["mean"] == pytest.approx(0.015)
    assert rows["mct"]["energy"]["mean"] == pytest.approx((10 / 20 + 10 / 40) / 2)
    assert rows["modelopt"]["energy"] is None
    assert rows["mct"]["gain"]["spread"] == pytest.approx(0.01 / 2**0.5)
    assert (rows["mct"]["seeds"], rows["mct"]["verdict"]) == (2, "win")
    assert (rows["modelopt"]["seeds"], rows["modelopt"]["verdict"]) == (1, "tie")
    assert [verdict(gain) for gain in (0.003, -0.003, 0.0031, -0.0031)] == [
        "tie",
        "tie",
        "win",
        "loss",
    ]


def test_kendalls_tau_by_hand() -> None:
    loss = {"a": 1.0, "b": 2.0, "c": 3.0}
    order = {
        "loss": {"2": {"cross_entropy": loss}},
        "measures": {
            "2": {"sigma": {"c": 9.0, "b": 8.0, "a": 7.0}, "kl": {"a": 1, "b": 3, "c": 2}}
        },
    }
    rows = taus({cell("order", bits=None, seed=seed): {"order": order} for seed in (0, 1)})
    found = {row["measure"]: (row["tau"]["mean"], row["tau"]["spread"]) for row in rows}
    assert found["sigma"] == (pytest.approx(1.0), 0.0)
    assert found["kl"] == (pytest.approx(1 / 3), 0.0)  # two pairs in order, one not
    assert {row["seeds"] for row in rows} == {2}


def visited(label: str, accuracy: float, size: float) -> dict[str, Any]:
    return {
        "label": label,
        "validation_accuracy": accuracy,
        "relative_size": size,
        "energy_pj": 1.0,
    }


def test_what_phase_2_mends() -> None:
    found = {
        "targets": {"max_drop": 0.01, "max_size": 0.25},
        "validation_accuracy": {"float": 0.9, "searched": 0.895},
        "average_bits": 2.0,
        "visits": [
            visited("start", 0.9, 1.0),
            visited("phase 1", 0.88, 0.5),  # over the size, by a factor of 2
            visited("phase 2: size", 0.885, 0.3),  # misses half a point and a fifth of the size
            visited("phase 2: size", 0.86, 0.25),  # misses three points
            visited("final training", 0.895, 0.25),
        ],
    }
    (row,) = phases({cell("sigmaquant 1pt", trains=True): found, cell("auto"): record(0.9)})
    assert row["visits"] == {"phase 1": 2, "phase 2": 2}
    assert row["phase 1"]["load"] == 2.0
    assert row["phase 1"]["drop"] == pytest.approx(0.02)
    assert row["phase 2"]["load"] == pytest.approx(1.2)
    assert row["end"]["drop"] == pytest.approx(0.005)
    assert row["end"]["load"] == 1.0
    assert mended([row]) == [
        {
            "way": "sigmaquant 1pt",
            "trains": True,
            "searches": 1,
            "missed after phase 1": 1,
            "of these met after phase 2": 0,
            "over the size after phase 1": 1,
            "of these within it after phase 2": 0,
        }
    ]


def test_tables_of_a_whole_document_show_what_is_bold() -> None:
    place = {"model": "resnet8", "trains": True, "way": "sigmaquant 1pt", "budget_bits": 2.5}
    missed = {"drop": 0.02, "load": 2.0, "met": False, "size_met": False}
    met = {"drop": 0.01, "load": 0.5, "met": True, "size_met": True}
    row = {**place, "phase 1": missed, "phase 2": met, "end": met}
    records = {
        cell("auto"): record(0.9),
        cell("mct"): record(0.8, energy_pj=20.0),
        cell("uniform 4", bits=None): record(0.9),
    }
    text = markdown(
        {
            "command": "make",
            "machines": [],
            "cells_wanted": 4,
            "cells_done": 3,
            "cells": [{"cell": "a"}, {"cell": "b", "measured_at": "abc1234"}],
            "summary": summarise(records),
            "against": against(records),
            "taus": [],
            "phases": [row],
            "mended": mended([row]),
        }
    )
    assert "| resnet8 | sigmaquant 1pt, QAT | 2.5 | 2.00, load 2.00 | 1.00, load 0.50 |" in text
    assert "3 of 4 cells. **1 cells are missing.** 1 are taken over from abc1234. Mean" in text
    assert "| mct |  | 80.00 at 2.00 |  |  |" in text
    assert "| mct |  | **+10.00**, 0.50 |  |  |" in text


def test_the_order_of_layers_is_measured(setup: Setup) -> None:
    status, document = run([cell("order", bits=None)], setup)
    assert status == 0
    order = document["cells"][0]["order"]
    assert list(order["loss"]) == ["2", "4"]
    for bits in ("2", "4"):
        assert sorted(order["measures"][bits]) == [
            "fisher",
            "hessian",
            "kl",
            "logit noise",
            "logit-kl",
            "sigma",
            "sigma folded",
            "weight noise",
        ]
        for values in (*order["measures"][bits].values(), *order["loss"][bits].values()):
            assert len(values) == LAYERS
    rough, fine = (order["measures"][bits]["weight noise"] for bits in ("2", "4"))
    assert all(rough[name] > fine[name] for name in rough)
    assert document["taus"] != []


def test_noise_to_signal_is_in_decibels() -> None:
    signal = torch.tensor([3.0, 4.0])
    assert noise_to_signal_db(signal, signal + torch.tensor([0.3, 0.4])) == pytest.approx(-20)


def test_a_map_by_hand() -> None:
    weights = {"first": 10, "big": 100, "small": 50, "last": 10}
    roomy = {"first": 8, "big": 4, "small": 4, "last": 8}
    assert by_hand(weights, 4.5) == roomy
    assert by_hand(weights, 4.4) == {**roomy, "big": 2}
    assert by_hand(weights, 2.5) == {"first": 4, "big": 2, "small": 2, "last": 8}
    assert by_hand(weights, 2.0) == dict.fromkeys(weights, 2)
    with pytest.raises(QuantError, match=r"^average bits must be at least 2, not 1\.9$"):
        by_hand(weights, 1.9)


def test_the_committed_maps_keep_their_sizes_and_name_our_layers() -> None:
    maps = entries(FOLDER)
    names = {way.name for way in WAYS if way.kind is Kind.MAP} - {"by hand"}
    assert {entry["name"] for entry in maps} == names
    files = [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]
    seeds = sum(len(recipe["seeds"]) for file in files for recipe in file["recipes"])
    assert len(maps) == seeds * 2 * 4
    sizes = {model: Setup(data=Path(), out=Path()).sizes(model) for model in ("resnet8", "dscnn")}
    for entry in maps:
        weights = sizes[entry["model"]]
        assert list(entry["bits"]) == list(weights)
        total = sum(weights[name] * bits for name, bits in entry["bits"].items())
        assert total <= entry["average_bits"] * sum(weights.values()) + 1e-6
        if entry["name"].endswith("-248"):
            assert {*entry["bits"].values()} <= {2, 4, 8}


def test_a_folded_network_without_norms_gives_the_same_logits(setup: Setup, folder: Path) -> None:
    weights = folder / "weights.safetensors"
    found = Workbench(Source(model="resnet8", weights=weights, data=folder))
    images = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        difference = without_norms(found)(images) - found.teacher(images)
    assert float(difference.abs().max()) < 1e-5


def test_every_cell_has_a_name_of_its_own_and_patterns_choose() -> None:
    cells = all_cells(entries(FOLDER))
    assert len({c.name for c in cells}) == len(cells)
    some = chosen(cells, "resnet8/qat/auto/*/seed0, */uniform 2/*")
    assert len(some) == 4 + 2 * 2 * 3
    with pytest.raises(QuantError, match=r"^only must fit names of cells such as .*, not vgg/\*$"):
        chosen(cells, "vgg/*")


def test_order_puts_the_named_parts_first() -> None:
    cells = [cell("greedy", seed=1), cell("auto", seed=1), cell("greedy"), cell("auto", bits=3.0)]
    assert [c.name for c in ordered(cells, "seed,way,bits")] == [
        "resnet8/ptq/auto/3/seed0",
        "resnet8/ptq/greedy/2.5/seed0",
        "resnet8/ptq/auto/2.5/seed1",
        "resnet8/ptq/greedy/2.5/seed1",
    ]
    assert ordered(cells, "way")[0] == cells[1]
    with pytest.raises(QuantError, match=r"^order must be some of way, seed, .*, not luck$"):
        ordered(cells, "luck")


def test_a_sweep_changes_one_decision_at_a_time(setup: Setup) -> None:
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
    status, document = run(few, setup, write=write_sweep)
    assert status == 0
    assert [row["way"] for row in document["rows"]] == ["default", "layers_per_step=4"]
    assert document["rows"][0]["gain"] == {"mean": 0.0, "spread": None}
    found = works(few, setup)
    assert [found[one].options.request(command="").decisions.layers_per_step for one in few] == [
        2,
        4,
    ]
    lines = (setup.out / "report.md").read_text().splitlines()
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
