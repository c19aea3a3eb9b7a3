"""What a benchmark need not run again: cells of an earlier summary whose code is the same."""

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from hw.closure import sources
from quant.bench import document as documents
from quant.bench import work
from quant.bench.document import document, expanded
from quant.bench.restore import restorable
from quant.bench.work import SHOWS, Setup, works
from quant.errors import QuantError
from tests.bench_cells import cell, run

torch.set_num_threads(1)

LAYERS = ("conv", "fc")


def test_a_summary_gives_back_all_that_it_was_made_of(
    bench_setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [cell("uniform 4", bits=None), cell("sigmaquant 1pt"), cell("order", bits=None)]
    cells.append(cell("by hand", trains=True))
    summary = bench_setup.out / "report.json"
    _, first = run(cells, bench_setup)
    text = (bench_setup.out / "report.md").read_text()
    records = bench_setup.out / "cells"

    shutil.rmtree(records)
    capsys.readouterr()
    assert run(cells, bench_setup, earlier=summary, dry=True)[0] == 0
    assert capsys.readouterr().out.splitlines() == [
        f"4 records are taken from {summary}",
        "4 cells, 4 different, 0 to run",
    ]
    assert not records.exists(), "only listed"

    status, again = run(cells, bench_setup, earlier=summary)
    assert status == 0
    assert capsys.readouterr().out.splitlines()[1] == "4 cells, 4 different, 0 to run"
    assert again == first
    assert (bench_setup.out / "report.md").read_text() == text
    run(cells, bench_setup, earlier=summary)
    assert capsys.readouterr().out.startswith("4 cells"), "what has a record is not taken again"

    # other training: only what trains has another key
    shutil.rmtree(records)
    assert run(cells, replace(bench_setup, qat_steps=6), earlier=summary, dry=True)[0] == 0
    assert capsys.readouterr().out.splitlines() == [
        f"3 records are taken from {summary}",
        f"1 cells of {summary} were made by other code, options or data: they are not taken, and "
        "not in the new summary until they have run (--report FILE keeps the old one)",
        "4 cells, 4 different, 1 to run",
        cells[3].name,
    ]

    # a cell whose figures do not agree with each other
    first["cells"][0]["drop"] += 0.1
    summary.write_text(json.dumps(first))
    found = restorable(summary, works(cells, bench_setup).values(), bench_setup)
    assert (len(found.records), found.lost) == (3, 1)

    # summaries that keep more of a record than this one did: such cells run again
    more = (*documents.VISITED, "bops")
    monkeypatch.setattr(documents, "VISITED", more)
    found = restorable(summary, works(cells, bench_setup).values(), bench_setup)
    assert (len(found.records), found.lost) == (2, 2)


def test_without_a_summary_there_is_nothing_to_take(bench_setup: Setup) -> None:
    found = restorable(
        bench_setup.out / "report.json", works([cell("auto")], bench_setup).values(), bench_setup
    )
    assert (found.records, found.lost) == ({}, 0)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"cells": [1], "machines": []}'])
def test_a_file_that_is_no_summary(bench_setup: Setup, content: str) -> None:
    path = bench_setup.out / "report.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(QuantError) as caught:
        restorable(path, works([cell("auto")], bench_setup).values(), bench_setup)
    assert str(caught.value) == (
        f"{path}: must be a summary of this benchmark, as its cells are taken from there; delete "
        "it or name another with --report"
    )


def test_entries_become_the_records_they_were() -> None:
    def made(machine: str, energy_pj: float | None, **more: Any) -> dict[str, Any]:
        costs = {"size_bits": 100, "energy_pj": energy_pj, "latency_ns": 5.0}
        return {
            "cell": "a",
            "key": "0123",
            "seconds": 1.5,
            "cpu_seconds": 1.0,
            "machine": {"processor": machine},
            "accuracy": {"float": 0.92, "searched": 0.9},
            "validation_accuracy": {"searched": 0.91},
            "average_bits": 2.5,
            "cost": {"searched": costs},
            "allocation": {"conv": 8, "fc": 2},
            **more,
        }

    records = {
        cell("uniform 4", bits=None): made("old", 10.0, measured_at="abc1234"),
        cell("mct"): made("new", None),
        cell("modelopt"): made("new", None),  # the same bits, so the same record
    }
    content = json.loads(json.dumps(document(records, 3, "make")))
    assert [entry["machine"] for entry in content["cells"]] == [0, 1, 1]
    assert "energy_pj" not in content["cells"][1]
    back = [expanded(entry, content["machines"], LAYERS) for entry in content["cells"]]
    assert [{**record, "cell": "a"} for record in back] == list(records.values())
    again = document(dict(zip(records, back, strict=True)), 3, "make")
    assert json.loads(json.dumps(again)) == content


def test_a_key_covers_all_code_that_runs_in_a_cell(
    bench_setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a cell loads is of the key, or shows and chooses only."""
    (job,) = works([cell("auto", trains=True)], bench_setup).values()
    script = (
        "import pickle, sys; from quant.bench.work import do; "
        "do(pickle.loads(sys.stdin.buffer.read())); print(*sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(job), capture_output=True, check=True
    )
    ours = ("hw", "sim", "synth", "quant")
    loaded = {name for name in ended.stdout.decode().split() if name.split(".")[0] in ours}
    covered = sources("quant.bench.work", but=SHOWS)
    extra = {name for name in loaded - set(covered) if not f"{name}.".startswith(_prefixes())}
    assert extra == set()
    assert {"quant.qat", "quant.ptq.gptq", "quant.milp", "synth.costs.layer", "quant"} <= loaded
    assert {"quant.export", "quant.ptq.run", "hw.cli.tables"}.isdisjoint(covered)
    assert all(path.is_file() for path in covered.values())

    monkeypatch.setattr(work, "sources_sha256", lambda module, *, but: "other")
    (other,) = works([cell("auto", trains=True)], bench_setup).values()
    assert other.key != job.key


def _prefixes() -> tuple[str, ...]:
    return tuple(f"{name}." for name in SHOWS)
