"""The benchmark of ways to choose bits: what runs, what is kept, maps and orders."""

import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quant.bench import schedule
from quant.bench.catalogue import WAYS, Kind
from quant.bench.cells import all_cells, chosen, ordered
from quant.bench.maps import FOLDER, by_hand, entries
from quant.bench.order import noise_to_signal_db
from quant.bench.peers import without_norms
from quant.bench.schedule import Pace
from quant.bench.work import Setup, Work, works
from quant.errors import QuantError
from quant.jobs import InProcess
from quant.workbench import Source, Workbench
from tests.bench_cells import cell, run

torch.set_num_threads(1)

LAYERS = 10


def test_cells_run_once_and_a_second_command_reads_them(
    bench_setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [cell("uniform 4", bits=None, seed=seed) for seed in (0, 1)]
    cells += [cell("milp kl"), cell("by hand", trains=True)]
    status, document = run(cells, bench_setup)
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
    assert sorted(p.name for p in bench_setup.out.iterdir()) == [
        "cells",
        "report-resnet8.png",
        "report.json",
        "report.md",
        "running",
    ]
    assert list((bench_setup.out / "running").iterdir()) == []
    # the record of the search: no uniform allocations, test images read
    known = works(cells, bench_setup)[cells[2]].known()
    assert known is not None
    assert known["accuracy"]["uniform"] == {}
    assert known["targets"] == {"max_drop": 0.0, "max_size": 2.5 / 8}
    assert len(known["allocation"]) == LAYERS
    listed = next(c for c in document["cells"] if c["cell"] == "resnet8/ptq/milp kl/2.5/seed0")
    assert listed["accuracy"] == known["accuracy"]["searched"]
    assert listed["bits"] == " ".join(str(bits) for bits in known["allocation"].values())

    status, again = run(cells, bench_setup)
    assert status == 0
    assert capsys.readouterr().out.splitlines()[0] == "4 cells, 4 different, 0 to run"
    assert again["cells"] == document["cells"]


def test_changed_steps_run_a_cell_anew(bench_setup: Setup) -> None:
    (first,) = works([cell("auto", trains=True)], bench_setup).values()
    other = replace(bench_setup, qat_steps=6)
    (second,) = works([cell("auto", trains=True)], other).values()
    assert first.key != second.key
    same = replace(bench_setup, out=bench_setup.out / "b")
    assert works([cell("auto", trains=True)], same)[cell("auto", trains=True)].key == first.key


def test_two_tools_with_the_same_bits_share_a_record(bench_setup: Setup, tmp_path: Path) -> None:
    sizes = bench_setup.sizes("resnet8")
    entry = {"model": "resnet8", "average_bits": 4.0, "seed": 0, "bits": dict.fromkeys(sizes, 4)}
    maps = tmp_path / "maps"
    maps.mkdir()
    for name in ("mct", "modelopt"):
        (maps / f"{name}.json").write_text(json.dumps({"maps": [{**entry, "name": name}]}))
    bench_setup = replace(bench_setup, maps=maps)
    cells = [cell("mct", bits=4.0), cell("modelopt", bits=4.0), cell("uniform 4", bits=None)]
    assert len({work.key for work in works(cells, bench_setup).values()}) == 1
    status, document = run(cells, bench_setup)
    assert status == 0
    assert len(list((bench_setup.out / "cells").iterdir())) == 1
    assert len({row["accuracy"]["mean"] for row in document["summary"]}) == 1
    assert [c["cell"] for c in document["cells"]] == [c.name for c in cells]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failed_cell_is_reported_and_the_others_are_kept(
    workers: int, bench_setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [cell("uniform 2", bits=None), cell("uniform 4", bits=None)]
    before, after = works(cells, bench_setup).values()
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
    status, document = run(cells, bench_setup)
    assert status == 0
    assert capsys.readouterr().out.splitlines()[0] == "2 cells, 2 different, 1 to run"
    assert document["cells_done"] == 2


def test_a_cell_that_a_cluster_dropped_is_reported_and_the_others_run(
    bench_setup: Setup, monkeypatch: pytest.MonkeyPatch
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
    needed = works([cell("uniform 2", bits=None), cell("uniform 4", bits=None)], bench_setup)
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
    bench_setup: Setup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(work: Work) -> dict[str, Any]:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(schedule, "do", fail)
    status, document = run([cell("uniform 2", bits=None)], bench_setup)
    assert status == 1
    assert document["cells_done"] == 0
    assert "uniform 2/-/seed0: FAILED, RuntimeError: out of memory; see " in capsys.readouterr().out


def test_no_cell_starts_that_would_end_after_the_deadline(
    bench_setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    def do(work: Work) -> dict[str, Any]:
        nonlocal now
        now += 30
        return {"seconds": 30.0}

    monkeypatch.setattr(schedule, "do", do)
    cells = [cell("uniform 2", bits=None, seed=seed) for seed in (0, 1, 2)]
    needed = list(works(cells, bench_setup).values())
    told: list[str] = []
    left = schedule.run_all(
        needed,
        workers=0,
        pace=Pace(deadline=100.0 + 75),
        report=lambda work, record, reason: told.append(work.cell.name),
    )
    assert left == 1  # at 160 s there are 15 s left, and a cell takes 30
    assert told == [c.name for c in cells[:2]]


def test_the_order_of_layers_is_measured(bench_setup: Setup) -> None:
    status, document = run([cell("order", bits=None)], bench_setup)
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


def test_a_folded_network_without_norms_gives_the_same_logits(
    bench_setup: Setup, bench_folder: Path
) -> None:
    weights = bench_folder / "weights.safetensors"
    found = Workbench(Source(model="resnet8", weights=weights, data=bench_folder))
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
