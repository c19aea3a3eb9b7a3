"""What a benchmark need not run again: cells of an earlier summary whose code is the same."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quant.bench import work
from quant.bench.code import ROOT, code
from quant.bench.restore import restore
from quant.bench.work import Setup, works
from quant.errors import QuantError
from tests.bench_cells import cell, fill, run, setup_of

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def setup(folder: Path, tmp_path: Path) -> Setup:
    return setup_of(folder, tmp_path / "out")


def test_a_summary_gives_back_all_that_it_was_made_of(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [cell("uniform 4", bits=None), cell("sigmaquant 1pt"), cell("order", bits=None)]
    cells.append(cell("by hand", trains=True))
    _, document = run(cells, setup)
    text = (setup.out / "report.md").read_text()
    assert [c["machine"] for c in document["cells"]] == [0] * 4

    shutil.rmtree(setup.out / "cells")
    capsys.readouterr()
    status, again = run(cells, setup, earlier=setup.out / "report.json")
    assert status == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"4 records taken from {setup.out / 'report.json'}",
        "4 cells, 4 different, 0 to run",
    ]
    assert again == document
    assert (setup.out / "report.md").read_text() == text

    run(cells, setup, earlier=setup.out / "report.json")
    assert capsys.readouterr().out.startswith("4 cells"), "what has a record is not taken again"

    # other training: only what trains has another key
    (setup.out / "cells").rename(setup.out / "before")
    other = replace(setup, qat_steps=6)
    needed = works(cells, other)
    assert restore(setup.out / "report.json", needed.values(), other) == 3
    assert needed[cells[3]].known() is None


def test_without_a_summary_there_is_nothing_to_take(setup: Setup) -> None:
    needed = works([cell("auto")], setup).values()
    assert restore(setup.out / "report.json", needed, setup) == 0


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"cells": [1]}', '{"cells": [{"key": "KEY"}], "machines": []}'],
)
def test_a_file_that_is_no_summary(setup: Setup, content: str) -> None:
    needed = works([cell("auto")], setup)
    path = setup.out / "report.json"
    path.parent.mkdir()
    path.write_text(content.replace("KEY", needed[cell("auto")].key))
    with pytest.raises(QuantError) as caught:
        restore(path, needed.values(), setup)
    assert str(caught.value) == (
        f"{path}: must be a summary of this benchmark, as its cells are taken from there; delete "
        "it or name another with --report"
    )


def test_a_key_covers_the_code_that_makes_a_record(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {str(path.relative_to(ROOT)) for path in code()}
    assert {
        "hw/schedule.py",  # cycles
        "synth/costs/layer.py",  # energies
        "quant/__init__.py",
        "quant/qat.py",
        "quant/ptq/gptq.py",
        "quant/options.py",
        "quant/run.py",
        "quant/milp.py",  # imported within a function
        "quant/bench/work.py",
        "quant/bench/order.py",
    } <= names
    shows = ("hw/cli", "quant/console", "quant/plot", "quant/report", "quant/export", "quant/bench")
    left = {name for name in names if name.startswith(shows)}
    assert left == {f"quant/bench/{name}.py" for name in ("__init__", "order", "work")}

    (before,) = works([cell("auto")], setup).values()
    monkeypatch.setattr(work, "code", lambda: code()[1:])
    (after,) = works([cell("auto")], setup).values()
    assert before.key != after.key
