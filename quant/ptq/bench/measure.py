"""Error and seconds of every optimiser on one layer at one width."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.journal import Entry, Journal
from quant.ptq.adaround import adaround
from quant.ptq.bench.layers import Case, LayerData
from quant.ptq.gptq import gptq
from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.obq import obq
from quant.ptq.rtn import round_to_nearest
from quant.ptq.sensitivity import sensitivity

Matrix = NDArray[np.float64]
Solver = Callable[[Matrix, Matrix, WeightGrid], Matrix]

FAST: dict[str, Solver] = {
    "nearest": lambda weight, _, grid: round_to_nearest(weight, grid),
    "gptq": gptq,
    "act-order": partial(gptq, act_order=True),
    "sensitivity": sensitivity,
    "sensitivity, order only": partial(sensitivity, alternatives=0, repair=False),
    "sensitivity, no repair": partial(sensitivity, repair=False),
    "sensitivity, no alternatives": partial(sensitivity, alternatives=0),
}
"""Timed in turn, `REPEATS` times each; the last three leave steps of the fourth out."""

REPEATS = 3
ADAROUND_DEPTH = 576
"""AdaRound is left out on layers of more columns."""


LEAST_SECONDS = 10.0
OUT_OF_PLACE_DEPTH = 576
OUT_OF_PLACE_ROWS = 8
"""OBQ with its update as in the authors' code, for the time alone, on small layers."""


def measured(
    case: Case,
    bits: int,
    load: Callable[[], LayerData],
    journal: Journal,
    *,
    most_seconds: float,
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure one cell; what is in the journal is read instead.

    Parameters
    ----------
    case : Case
        The layer.
    bits : int
        Weight width; full range, scales by the rule of `quant.quantizer.weight_scale`.
    load : callable
        Gives the layer's data, when something is not in the journal.
    journal : Journal
        Steps that are done.
    most_seconds : float
        Where OBQ would take longer, it does rows for `LEAST_SECONDS` only.
    asked : mapping
        JSON values that all steps depend on, beside layer and width: code, weights.

    Returns
    -------
    dict
        JSON values: ``layer``, ``bits``, ``methods``: by name ``error`` and ``held_out`` (mean
        square of the outputs' change over that of the outputs), ``seconds`` (processor time: the
        least and the median), ``rows`` done, and for a method whose rows are not all done
        ``extrapolated_seconds``.
    """
    cell = f"{case.title} {bits}".replace(" ", "-")
    asked = {**asked, "layer": case.title, "bits": bits, "images": case.images}
    methods: dict[str, Any] = {}
    methods |= journal.step(
        f"{cell}-fast", asked | {"repeats": REPEATS}, lambda: _fast(load(), bits)
    ).values
    if case.depth <= ADAROUND_DEPTH:
        methods |= journal.step(f"{cell}-adaround", asked, lambda: _adaround(load(), bits)).values
    if case.depth <= OUT_OF_PLACE_DEPTH:
        asked_rows = asked | {"rows": OUT_OF_PLACE_ROWS}
        step = f"{cell}-obq-out-of-place"
        methods |= journal.step(step, asked_rows, lambda: _out_of_place(load(), bits)).values
    methods["obq"] = _obq(case, bits, load, journal, cell, asked, most_seconds)
    done = methods["obq"]["rows"]
    for found in methods.values():
        if "error_rows" not in found:
            continue
        for judge in ("error", "held_out"):
            found[f"{judge}_of_rows_of_obq"] = sum(found[f"{judge}_rows"][:done]) / sum(
                found[f"{judge}_signal"][:done]
            )
            rows, signal = found.pop(f"{judge}_rows"), found.pop(f"{judge}_signal")
            found[judge] = sum(rows) / sum(signal)
    return {"layer": case.title, "bits": bits, "methods": methods}


def _grid(weight: Matrix, bits: int) -> WeightGrid:
    return WeightGrid.symmetric(weight, IntegerRange(bits=bits, narrow=False))


def _judged(integers: Matrix, part: slice, data: LayerData, grid: WeightGrid) -> dict[str, Any]:
    """Squared change of each row's output, and its square, for both sets of images."""
    weight = data.weight[part]
    wrong = grid.rows(part).values(integers) - weight
    found: dict[str, Any] = {"rows": len(weight)}
    for judge, hessian in (("error", data.hessian), ("held_out", data.held_out)):
        found[f"{judge}_rows"] = ((wrong @ hessian) * wrong).sum(axis=1).tolist()
        found[f"{judge}_signal"] = ((weight @ hessian) * weight).sum(axis=1).tolist()
    return found


def _timed(solve: Callable[[], Matrix]) -> tuple[Matrix, float]:
    start = time.process_time()
    found = solve()
    return found, time.process_time() - start


def _fast(data: LayerData, bits: int) -> Entry:
    grid = _grid(data.weight, bits)
    seconds: dict[str, list[float]] = {name: [] for name in FAST}
    integers: dict[str, Matrix] = {}
    for _ in range(REPEATS):
        for name, solver in FAST.items():
            integers[name], taken = _timed(partial(solver, data.weight, data.hessian, grid))
            seconds[name].append(taken)
    return Entry(values={name: _row(seconds[name], integers[name], data, grid) for name in FAST})


def _adaround(data: LayerData, bits: int) -> Entry:
    grid = _grid(data.weight, bits)
    integers, seconds = _timed(lambda: adaround(data.weight, data.hessian, grid))
    return Entry(values={"adaround": _row([seconds], integers, data, grid)})


def _out_of_place(data: LayerData, bits: int) -> Entry:
    part = slice(0, OUT_OF_PLACE_ROWS)
    grid = _grid(data.weight, bits).rows(part)
    solve = partial(obq, data.weight[part], data.hessian, grid, in_place=False)
    _, seconds = _timed(solve)
    whole = seconds / OUT_OF_PLACE_ROWS * len(data.weight)
    found = {"rows": OUT_OF_PLACE_ROWS, "seconds": seconds, "extrapolated_seconds": whole}
    return Entry(values={"obq, out of place": found})


def _row(seconds: list[float], integers: Matrix, data: LayerData, grid: WeightGrid) -> Any:
    times = {"seconds": min(seconds), "median_seconds": float(np.median(seconds))}
    return times | _judged(integers, slice(None), data, grid)


def _obq(
    case: Case,
    bits: int,
    load: Callable[[], LayerData],
    journal: Journal,
    cell: str,
    asked: Mapping[str, Any],
    most_seconds: float,
) -> dict[str, Any]:
    total: dict[str, Any] = {"seconds": 0.0, "rows": 0}
    for part in _chunks(case):
        step = f"{cell}-obq-{part.start:03d}"
        entry = journal.step(
            step, dict(asked) | {"rows": part.stop}, partial(_obq_rows, load, bits, part)
        )
        total = {
            key: total[key] + value if key in total else value
            for key, value in entry.values.items()
        }
        whole = total["seconds"] / total["rows"] * case.rows
        if part.stop < case.rows and whole > most_seconds and total["seconds"] > LEAST_SECONDS:
            total["extrapolated_seconds"] = whole
            break
    return total


def _chunks(case: Case) -> Iterator[slice]:
    """Pieces of the rows that take a few seconds to half a minute each."""
    size = max(1, 8 * 576**3 // case.depth**3)
    for start in range(0, case.rows, size):
        yield slice(start, min(start + size, case.rows))


def _obq_rows(load: Callable[[], LayerData], bits: int, part: slice) -> Entry:
    data = load()
    grid = _grid(data.weight, bits)
    integers, seconds = _timed(lambda: obq(data.weight[part], data.hessian, grid.rows(part)))
    return Entry(values={"seconds": seconds} | _judged(integers, part, data, grid))
