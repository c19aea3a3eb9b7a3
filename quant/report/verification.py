"""What was checked of a run, and by which file; nothing is said that no file shows.

A check of a network counts for a run only if its record has the digest of the run's own integers;
checks of costs hold for every run on the same cells. Proofs and mutants have no digest of the
design: they are of the gateware as it was then, and older than it where a checkout shows a change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypeVar

from quant.report.age import age_of
from quant.report.coverage import covered
from quant.report.records import (
    Blind,
    Compose,
    Cosim,
    Filed,
    Golden,
    Mutation,
    NetworkEnergy,
    Record,
    Records,
    Sta,
)
from quant.report.runs import Run
from sim import folder as integers
from synth.table import ArrayFigures, CostTable

Kind = TypeVar("Kind", bound=Record)


class Scope(Enum):
    """What a check holds for; the value is shown."""

    RUN = "this run"
    GATEWARE = "the gateware as it was then"
    OLDER = "older than the gateware"
    COSTS = "the cost table"
    OTHER = "not for this run"
    NONE = "no record"
    FAILED = "failed"

    @property
    def sign(self) -> str:
        """A sign beside the words, so that colour is not needed."""
        signs = {Scope.OTHER: "○", Scope.OLDER: "○", Scope.NONE: "-", Scope.FAILED: "✘"}
        return signs.get(self, "✔")


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check, as the page shows it.

    Parameters
    ----------
    name : str
        What is checked.
    scope : Scope
        What it holds for.
    text : str
        What the record says.
    source : str
        The file; empty if there is none.
    remedy : str
        The command that would make the record, or make it anew; empty if none is wanted.
    """

    name: str
    scope: Scope
    text: str
    source: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Integers:
    """A run's integer network.

    Parameters
    ----------
    digest : str
        SHA-256 of its arrays; empty if it has none.
    check : Check
        What is known of the folder.
    """

    digest: str
    check: Check


def integers_of(run: Run) -> Integers:
    """Read and check a run's integer network."""
    name = "Integer network"
    entry = run.integer_network
    if entry is None or entry.folder is None:
        reason = "The run has none, so nothing of it was compared bit for bit."
        if entry is not None and entry.reason:
            reason += f" {entry.reason}"
        return Integers(digest="", check=Check(name=name, scope=Scope.NONE, text=reason))
    folder = run.folder / entry.folder
    try:
        digest = integers.load(folder).graph.arrays_sha256
    except integers.FolderError as error:
        return Integers(digest="", check=Check(name=name, scope=Scope.FAILED, text=f"{error}"))
    text = f"Read and checked for this page; its arrays have the SHA-256 {digest[:16]}…"
    return Integers(
        digest=digest,
        check=Check(name=name, scope=Scope.RUN, text=text, source=_short(folder)),
    )


def checks_of(run: Run, found: Integers, records: Records, table: CostTable | None) -> list[Check]:
    """Return all checks of a run, those of the network first.

    Parameters
    ----------
    run : Run
        The run.
    found : Integers
        Its integer network.
    records : Records
        The run's own and those of the checkout.
    table : CostTable, optional
        That of the run, if it was found.
    """
    checks = [found.check]
    if found.digest:
        checks += [_golden(run, found, records), _cosim(run, found, records)]
    if not run.priced:
        return checks  # it names no hardware that gateware or costs could be of
    array = table.array if table else None
    if table is None or not isinstance(array, ArrayFigures):
        why = "the cost table is not here" if table is None else f"{table.array.label} is not ours"
        text = f"Not looked for: {why}, so proofs and mutants of the gateware may not be about it."
        return [*checks, Check(name="Gateware", scope=Scope.NONE, text=text)]
    kind, parameters = array.parameters.pe.value, array.parameters
    return [
        *checks,
        _formal(kind, records, lanes=parameters.lanes, act_bits=parameters.act_bits),
        _mutation(kind, records),
        *([_energy(found, records, table)] if found.digest else []),
        _sta(kind, table, records),
        _compose(kind, table, records),
        _blind(array.label, table, records),
    ]


def _golden(run: Run, found: Integers, records: Records) -> Check:
    name = "Golden model = torch"
    for filed, record in _of(records, Golden):
        if record.arrays_sha256 == found.digest:
            text = (
                f"All {record.tensors} tensors of {record.images:,} test images are equal; "
                f"accuracy of the integers {100 * record.accuracy:.2f} %."
            )
            return Check(name=name, scope=Scope.RUN, text=text, source=_short(filed.path))
    remedy = f"python -m quant.export {run.folder} --out net --check"
    text = "No file says that the integers of this run were held to torch."
    return Check(name=name, scope=Scope.NONE, text=text, remedy=remedy)


def _cosim(run: Run, found: Integers, records: Records) -> Check:
    name = "RTL = golden model"
    filed = _of(records, Cosim)
    for place, record in filed:
        if record.arrays_sha256 == found.digest:
            return Check(
                name=name, scope=Scope.RUN, text=_cosim_text(record), source=_short(place.path)
            )
    remedy = f"python -m sim.cosim {run.folder}/integer -o {run.folder}/cosim.json"
    if not filed:
        text = "No file says that the integers of this run were run on the RTL."
        return Check(name=name, scope=Scope.NONE, text=text, remedy=remedy)
    others = " ".join(f"{record.network}: {_cosim_text(record)}" for _, record in filed)
    text = f"No record has the digest of these integers. Others: {others}"
    sources = ", ".join(_short(place.path) for place, _ in filed)
    return Check(name=name, scope=Scope.OTHER, text=text, source=sources, remedy=remedy)


def _cosim_text(record: Cosim) -> str:
    layers = [layer for image in record.images for layer in image.layers]
    exact = sum(layer.cycles == layer.timeline_cycles for layer in layers)
    count = len(record.images)
    return (
        f"Every result of {count} whole image{'s' * (count != 1)} on the configuration "
        f"{record.config} is equal, and {exact} of {len(layers)} layer runs take the cycles of the "
        "timeline."
    )


def _formal(kind: str, records: Records, *, lanes: int, act_bits: int) -> Check:
    name, found = "Formal proofs", records.proofs()
    remedy = "make formal"
    if not found:
        text = "No file with proofs is here."
        return Check(name=name, scope=Scope.NONE, text=text, remedy=remedy)
    proofs = [proof for _, proof in found]
    own = [proof for proof in proofs if kind in proof.name]
    induction = sum(proof.method == "prove" for proof in proofs)
    held, own_held = (sum(proof.passed for proof in some) for some in (proofs, own))
    text = (
        f"{held} of {len(proofs)} proofs hold ({induction} by induction, the others to a bounded "
        f"depth), {own_held} of {len(own)} of those that are about the PE {kind}."
    )
    failed = [proof.name for proof in proofs if not proof.passed]
    if failed:
        text += f" Not: {', '.join(failed)}."
    text += covered([p for p in own if p.passed], lanes=lanes, act_bits=act_bits)
    check = _of_gateware(name, text, [path for path, _ in found], remedy)
    return replace(check, scope=Scope.FAILED) if failed else check


def _of_gateware(name: str, text: str, paths: list[Path], remedy: str) -> Check:
    """Return a check that has no digest of the design, with the age of its files."""
    ages = {path: age_of(path) for path in dict.fromkeys(paths)}
    sources = ", ".join(
        f"{_short(path)} ({age.said})" if age.said else _short(path) for path, age in ages.items()
    )
    older = any(age.changed for age in ages.values())
    return Check(
        name=name,
        scope=Scope.OLDER if older else Scope.GATEWARE,
        text=text,
        source=f"{sources}, without a digest of the design: of the gateware as it was then",
        remedy=remedy if older else "",
    )


def _mutation(kind: str, records: Records) -> Check:
    name, remedy = "Mutants found by the benches", "make mutate"
    for filed, record in _of(records, Mutation):
        own = [u for u in record.units if u.name.startswith(f"{kind}-") or u.name == "requantiser"]
        if not own:
            continue
        mutants, killed, equivalent = (
            sum(getattr(unit, key) for unit in own) for key in ("mutants", "killed", "equivalent")
        )
        text = (
            f"Of {mutants:,} mutants of {', '.join(unit.name for unit in own)}: {killed:,} found, "
            f"{equivalent:,} proven equivalent, {mutants - killed - equivalent:,} neither."
        )
        return _of_gateware(name, text, [filed.path], remedy)
    text = f"No file has mutants of the PE {kind}."
    return Check(name=name, scope=Scope.NONE, text=text, remedy=remedy)


def _energy(found: Integers, records: Records, table: CostTable) -> Check:
    name = "Energy gate by gate"
    filed = [pair for pair in _of(records, NetworkEnergy) if pair[1].cost_table == table.name]
    for place, record in filed:
        if record.arrays_sha256 == found.digest:
            return Check(
                name=name, scope=Scope.RUN, text=_energy_text(record), source=_short(place.path)
            )
    if not filed:
        text = "No file has a network measured gate by gate beside this table."
        return Check(name=name, scope=Scope.NONE, text=text, remedy="python -m synth.network")
    text = " ".join(f"{record.network}: {_energy_text(record)}" for _, record in filed)
    text = f"No record has the digest of these integers. Others: {text}"
    sources = ", ".join(_short(place.path) for place, _ in filed)
    return Check(name=name, scope=Scope.OTHER, text=text, source=sources)


def _energy_text(record: NetworkEnergy) -> str:
    return (
        f"The table says {record.all.predicted_pj / 1e6:.2f} µJ for the array, its netlists "
        f"{record.all.measured_pj / 1e6:.2f} µJ ({100 * record.all.error:+.1f} %)."
    )


def _sta(kind: str, table: CostTable, records: Records) -> Check:
    name = "Static timing against OpenSTA"
    for filed, record in _of(records, Sta):
        if kind in record.kinds and record.library.sha256 == table.library.sha256:
            errors = [module.ratio - 1 for module in record.kinds[kind].values()]
            text = f"Minimum periods of the {len(errors)} modules of {kind} {_within(errors)}."
            return Check(name=name, scope=Scope.COSTS, text=text, source=_short(filed.path))
    return _no_costs(name, "make sta")


def _compose(kind: str, table: CostTable, records: Records) -> Check:
    name = "Sum of modules against a whole array"
    for filed, record in _of(records, Compose):
        if kind in record.arrays and record.library.sha256 == table.library.sha256:
            entry = record.arrays[kind]
            energies = [ratio.ratio - 1 for ratio in entry.energy_fj.values()]
            text = (
                f"{entry.array}: area {100 * (entry.area_um2.ratio - 1):+.1f} %, "
                f"energies {_within(energies)}."
            )
            return Check(name=name, scope=Scope.COSTS, text=text, source=_short(filed.path))
    return _no_costs(name, "make compose")


def _blind(label: str, table: CostTable, records: Records) -> Check:
    name = "Energy of layers the table has not seen"
    for filed, record in _of(records, Blind):
        if label in record.arrays and record.library.sha256 == table.library.sha256:
            errors = list(record.arrays[label].layers.values())
            text = f"{len(errors)} layers of another network on {label} {_within(errors)}."
            return Check(name=name, scope=Scope.COSTS, text=text, source=_short(filed.path))
    return _no_costs(name, "make blind")


def _no_costs(name: str, remedy: str) -> Check:
    text = "No file has it for this kind of PE and these cells."
    return Check(name=name, scope=Scope.NONE, text=text, remedy=remedy)


def _within(errors: list[float]) -> str:
    low, high = 100 * min(errors), 100 * max(errors)
    return f"are off by {low:+.1f} to {high:+.1f} %"


def _of(records: Records, kind: type[Kind]) -> list[tuple[Filed, Kind]]:
    return [(f, f.record) for f in records.of(kind) if isinstance(f.record, kind)]


def _short(path: Path) -> str:
    """Return a file by its last two parts, which say enough and tell nothing of the machine."""
    return "/".join(path.parts[-2:])
