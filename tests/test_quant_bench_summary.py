"""What the benchmark of ways to choose bits makes of its records."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quant.bench.cells import Cell
from quant.bench.document import document
from quant.bench.plot import plot
from quant.bench.report import markdown
from quant.bench.summary import against, mended, overall, phases, summarise, taus, verdict
from quant.bench.within import within_a_point
from tests.bench_cells import cell


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


def test_places_of_a_way_are_counted_by_training() -> None:
    records: dict[Cell, dict[str, Any]] = {}
    for bits, accuracy, energy_pj in ((2.1, 0.9, 20.0), (2.5, 0.93, 10.0), (3.0, 0.8, 5.0)):
        records[cell("auto", bits=bits)] = record(0.9)
        records[cell("mct", bits=bits)] = record(accuracy, energy_pj=energy_pj)
    for way, unknown in (("auto", 10.0), ("greedy", None)):
        records[cell(way, trains=True)] = record(0.9, energy_pj=unknown)
    untrained, trained = overall(against(records))
    assert (untrained["way"], untrained["trains"], untrained["places"]) == ("mct", False, 3)
    assert [untrained[kind] for kind in ("win", "tie", "loss")] == [1, 1, 1]
    assert untrained["gain"] == pytest.approx({"least": -0.03, "most": 0.1})
    assert untrained["energy"] == pytest.approx({"least": 0.5, "most": 2.0, "mean": 3.5 / 3})
    assert (trained["way"], trained["trains"], trained["energy"]) == ("greedy", True, None)
    assert overall([]) == []


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


@pytest.mark.parametrize(("way", "listed"), [("auto 1pt", True), ("auto", False)])
@pytest.mark.parametrize("trains", [False, True])
def test_targets_and_visits_are_listed_where_a_drop_was_allowed(
    way: str, listed: bool, trains: bool
) -> None:
    found = {
        **record(0.9),
        "machine": "a",
        "validation_accuracy": {"float": 0.91, "searched": 0.895},
        "allocation": {"conv": 4, "fc": 2},
        "targets": {"max_drop": 0.01},
        "targets_met": {"all": True},
        "visits": [{**visited("start", 0.9, 1.0), "bits": [8, 8]}],
    }
    content = document({cell(way, trains=trains): found}, 2, "make")
    assert (content["machines"], content["cells_wanted"], content["cells_done"]) == (["a"], 2, 1)
    (row,) = content["cells"]
    assert (row["bits"], row["float"], row["validation"]) == ("4 2", 0.92, 0.895)
    if not listed:
        assert not {"targets", "targets_met", "visits", "float_validation"} & set(row)
        return
    assert (row["targets"], row["targets_met"]) == ({"max_drop": 0.01}, True)
    assert row["visits"] == [{**visited("start", 0.9, 1.0), "bits": "8 8"}]
    assert row["float_validation"] == 0.91


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
            "overall": overall(against(records)),
            "taus": [],
            "phases": [row],
            "mended": mended([row]),
            "within_a_point": [
                {
                    "trains": True,
                    "searches": 3,
                    "kept": {"auto 1pt": 3, "sigmaquant 1pt": 2},
                    "both": 2,
                    "cpu_seconds": {"auto 1pt": 9.6, "sigmaquant 1pt": 20.2},
                    "energy": {"mean": 0.95, "least": 0.9, "most": 1.0},
                },
                {
                    "trains": False,
                    "searches": 1,
                    "kept": {"auto 1pt": 1, "sigmaquant 1pt": 0},
                    "both": 0,
                    "cpu_seconds": {"auto 1pt": 1.0, "sigmaquant 1pt": 2.0},
                    "energy": None,
                },
            ],
        }
    )
    assert "| resnet8 | sigmaquant 1pt, QAT | 2.5 | 2.00, load 2.00 | 1.00, load 0.50 |" in text
    assert "3 of 4 cells. **1 cells are missing.** 1 are taken over from abc1234. Mean" in text
    assert "| mct |  | 80.00 at 2.00 |  |  |" in text
    assert "| QAT | 3 | 3 | 2 | 2 | 0.95 (0.90 to 1.00) | 10 | 20 |" in text
    assert "| PTQ | 1 | 1 | 0 | 0 |  | 1 | 2 |" in text
    assert "| mct |  | **+10.00**, 0.50 |  |  |" in text
    assert "| mct, PTQ | 1 | 1 | 0 | 0 | +10.00 to +10.00 | 0.50 to 0.50 (0.50) |" in text


def test_each_way_has_a_line_of_its_own_and_is_in_the_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, list[list[float]]] = {}
    legend: list[list[str]] = []
    errorbar = Axes.errorbar

    def noting(axes: Axes, x: list[float], y: list[float], **more: Any) -> Any:
        drawn.setdefault(more["label"], []).append(y)
        return errorbar(axes, x, y, **more)

    def listed(_: Figure, handles: Any, labels: Any, **more: Any) -> None:
        legend.append(list(labels))

    monkeypatch.setattr(Axes, "errorbar", noting)
    monkeypatch.setattr(Figure, "legend", listed)
    records = {
        cell("auto"): record(0.9),
        cell("uniform 4", bits=None): record(0.8, size_bits=40),
        cell("uniform 2", bits=None): record(0.5, size_bits=20),
        cell("auto 1pt", trains=True): record(0.7),
        cell("sigmaquant 1pt", trains=True): record(0.6),
    }
    plot(summarise(records), "resnet8", tmp_path / "a.png")
    assert {label: lines[0] for label, lines in drawn.items()} == {
        "auto": [90.0],
        "uniform": [50.0, 80.0],
        "auto 1pt": [70.0],
        "sigmaquant 1pt": [60.0],
    }
    assert legend == [["auto", "auto 1pt", "sigmaquant 1pt", "uniform"]]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_within_a_point_ours_is_compared_with_the_papers_search() -> None:
    def asked(way: str, met: bool, *, seed: int = 0, trains: bool = True, **more: Any) -> None:
        seconds = {"cpu_seconds": 10.0 * (seed + 1), "targets_met": {"all": met}}
        at = cell(way, seed=seed, trains=trains)
        records[at] = {**record(0.9, **more), **seconds}

    records: dict[Cell, dict[str, Any]] = {}
    asked("auto 1pt", met=True, energy_pj=9.0)
    asked("sigmaquant 1pt", met=True, energy_pj=10.0)
    asked("auto 1pt", met=True, energy_pj=11.0, seed=1)
    asked("sigmaquant 1pt", met=True, energy_pj=10.0, seed=1)
    asked("auto 1pt", met=True, energy_pj=1.0, seed=2)
    asked("sigmaquant 1pt", met=False, energy_pj=10.0, seed=2)  # its energy counts for nothing
    asked("auto 1pt", met=False, seed=3)  # the other is not there
    asked("auto 1pt", met=False, trains=False)
    asked("sigmaquant 1pt", met=True, trains=False)
    untrained, trained = within_a_point(records)
    assert trained["searches"] == 3
    assert trained["kept"] == {"auto 1pt": 3, "sigmaquant 1pt": 2}
    assert trained["both"] == 2
    assert trained["cpu_seconds"] == {"auto 1pt": 20.0, "sigmaquant 1pt": 20.0}
    assert trained["energy"] == pytest.approx({"mean": 1.0, "least": 0.9, "most": 1.1})
    assert untrained["kept"] == {"auto 1pt": 0, "sigmaquant 1pt": 1}
    assert (untrained["both"], untrained["energy"]) == (0, None)
    assert within_a_point({}) == []
