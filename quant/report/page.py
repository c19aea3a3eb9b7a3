"""The page: what is known of the runs, laid out by the templates beside this file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quant.report.bars import BarChart
from quant.report.compare import comparison
from quant.report.course import course_charts, visit_table
from quant.report.energy import energy_chart
from quant.report.front import bits_table, front_charts, front_table
from quant.report.hardware import HardwareView, hardware_view
from quant.report.layers import bit_charts, cost_charts, layer_table
from quant.report.quantised_view import QuantisedView, quantised_view
from quant.report.records import Records, read_records
from quant.report.runs import Run
from quant.report.scatter import ScatterChart
from quant.report.summary import (
    KeyFigure,
    alternatives,
    as_good,
    cost_table,
    key_figures,
    target_table,
)
from quant.report.table import Table
from quant.report.tables import FoundTable, find_table
from quant.report.verification import Check, checks_of, integers_of

TEMPLATES = "templates"


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What the page shows of a run.

    Parameters
    ----------
    name : str
        Of the run, unlike those of the others.
    run : Run
        Its files.
    digest : str
        Of its integers, empty if it has none.
    checks : sequence of Check
        What was verified.
    hardware : HardwareView, optional
        If its cost table was found.
    hardware_reason : str
        Why there is none.
    same_hardware : int
        Number of an earlier run with this very table; 0 if there is none.
    quantised : QuantisedView, optional
        Of a run without a search.
    others
        Tables and pictures, in the order of the page; those that a run has not are empty.
    """

    name: str
    run: Run
    digest: str
    checks: Sequence[Check]
    hardware: HardwareView | None
    hardware_reason: str
    same_hardware: int = 0
    quantised: QuantisedView | None = None
    figures: Sequence[KeyFigure] = ()
    warning: str = ""
    targets: Table | None = None
    costs: Table | None = None
    cost_chart: BarChart | None = None
    bit_charts: Sequence[BarChart] = ()
    cost_charts: Sequence[BarChart] = ()
    layers: Table | None = None
    course: Sequence[ScatterChart] = ()
    visits: Table | None = None
    front_charts: Sequence[ScatterChart] = ()
    front_table: Table | None = None
    front_bits: Table | None = None
    unavailable: Sequence[str] = ()


def run_view(
    name: str, run: Run, found: FoundTable, records: Records, *, same_hardware: int = 0
) -> RunView:
    """Gather what the page shows of a run."""
    integers = integers_of(run)
    table = found.table
    view = RunView(
        name=name,
        run=run,
        digest=integers.digest,
        checks=checks_of(run, integers, records, table),
        hardware=None if table is None else hardware_view(table),
        hardware_reason=found.reason,
        same_hardware=same_hardware,
    )
    if run.front is not None:
        view = replace(
            view,
            front_charts=front_charts(run.front),
            front_table=front_table(run.front),
            front_bits=bits_table(run.front),
        )
    if run.quantised is not None:
        view = replace(view, quantised=quantised_view(run.quantised))
    result = run.result
    if result is None:
        return view
    costs = [(label, cost) for label, _, _, cost in alternatives(result)]
    return replace(
        view,
        figures=key_figures(result),
        warning=as_good(result),
        targets=target_table(result),
        costs=cost_table(result),
        cost_chart=energy_chart(costs, "Energy of an inference"),
        bit_charts=bit_charts(result),
        cost_charts=cost_charts(result),
        layers=layer_table(result),
        course=course_charts(result) if result.visits else (),
        visits=visit_table(result) if result.visits else None,
        unavailable=[f"{gap.cost} (needs {gap.needs})" for gap in result.unavailable_costs],
    )


def names_of(runs: Sequence[Run]) -> list[str]:
    """Name runs by network and seed, and by their folder where that is not enough."""
    candidates = [
        [f"{run.model}, seed {run.seed}" for run in runs],
        [f"{run.model}, seed {run.seed} ({run.folder.name})" for run in runs],
        [f"{run.model}, seed {run.seed} ({run.folder})" for run in runs],
    ]
    return [
        next((names[i] for names in candidates if names.count(names[i]) == 1), candidates[-1][i])
        for i in range(len(runs))
    ]


def page(
    runs: Sequence[Run], *, tables: Sequence[Path], record_folders: Sequence[Path], command: str
) -> str:
    """Return the page about some runs.

    Parameters
    ----------
    runs : sequence of Run
        At least one.
    tables : sequence of Path
        Cost tables beside those that are shipped.
    record_folders : sequence of Path
        Where records of checks are, beside the runs' own folders.
    command : str
        That makes the page.

    Raises
    ------
    QuantError
        If a record is damaged.
    """
    shared = read_records(record_folders)
    names = names_of(runs)
    views: list[RunView] = []
    shown: dict[str, int] = {}
    for number, (name, run) in enumerate(zip(names, runs, strict=True), 1):
        own = read_records([run.folder])
        found = FoundTable(reason="The files of this run do not name the digest of its cost table.")
        if run.provenance is not None:
            found = find_table(run.provenance.cost_table, tables, run.folder)
        digest = run.provenance.cost_table.sha256 if run.provenance and found.table else ""
        records = Records(filed=own.filed + shared.filed)
        same = shown.get(digest, 0)
        views.append(run_view(name, run, found, records, same_hardware=same))
        if digest:
            shown.setdefault(digest, number)
    environment = Environment(
        loader=PackageLoader("quant.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (_asset(environment, name) for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        views=views,
        comparison=comparison(list(zip(names, runs, strict=True))),
        command=command,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _hash(text: str) -> str:
    """SHA-256 as a content security policy wants it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
