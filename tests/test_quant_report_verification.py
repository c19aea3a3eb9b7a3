"""What the report says was checked: only what a file shows, and of these very integers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from quant.report import verification
from quant.report.age import Age
from quant.report.records import Records, read_records
from quant.report.runs import Run, read_run
from quant.report.tables import SHIPPED
from quant.report.verification import Check, Scope, checks_of, integers_of
from synth.table import CostTable

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TABLE = CostTable.load(SHIPPED / "nangate45-default.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the search that made the shipped ResNet-8."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(Path(__file__).parent / "data" / "report" / "result.json", folder)
    shutil.copytree(ROOT / "sim" / "networks" / "resnet8", folder / "integer")
    return folder


def another_network(folder: Path) -> None:
    """Give a run the integers of another search."""
    shutil.rmtree(folder / "integer")
    shutil.copytree(ROOT / "sim" / "networks" / "dscnn", folder / "integer")


def checks(run: Run, *folders: Path, table: CostTable | None = TABLE) -> dict[str, Check]:
    found = checks_of(run, integers_of(run), read_records(folders), table)
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def record(folder: Path, name: str, document: Any) -> None:
    (folder / name).write_text(json.dumps(document))


def test_without_records_nothing_but_the_integers_is_claimed(folder: Path) -> None:
    found = checks(read_run(folder))
    assert {check.scope for check in found.values()} == {Scope.RUN, Scope.NONE}
    assert [name for name, check in found.items() if check.scope is Scope.RUN] == [
        "Integer network"
    ]
    assert all(check.source == "" for check in found.values() if check.scope is Scope.NONE)


def test_a_cosimulation_of_these_integers_counts_for_the_run(folder: Path) -> None:
    check = checks(read_run(folder), DOCS)["RTL = golden model"]
    assert check.scope is Scope.RUN
    assert check.source == "docs/cosim-resnet8.json"
    assert check.text == (
        "Every result of 4 whole images on the configuration edge is equal, and 40 of 40 layer "
        "runs take the cycles of the timeline."
    )


def test_a_cosimulation_of_other_integers_does_not(folder: Path) -> None:
    record_of_ours = json.loads((DOCS / "cosim-resnet8.json").read_text())
    another_network(folder)
    records = folder.parent / "records"
    records.mkdir()
    record(records, "cosim.json", record_of_ours)
    check = checks(read_run(folder), records)["RTL = golden model"]
    assert check.scope is Scope.OTHER
    assert check.text.startswith("No record has the digest of these integers. Others: resnet8: ")
    assert check.remedy == f"python -m sim.cosim {folder}/integer -o {folder}/cosim.json"


def test_cycles_that_differ_are_counted_as_they_are(folder: Path) -> None:
    document = json.loads((DOCS / "cosim-resnet8.json").read_text())
    document["images"][0]["layers"][0]["cycles"] += 1
    record(folder, "cosim.json", document)
    check = checks(read_run(folder), folder, DOCS)["RTL = golden model"]
    assert check.source == "run/cosim.json"  # the run's own comes first
    assert "39 of 40 layer runs" in check.text


def test_the_golden_model_was_compared_if_the_runs_own_file_says_so(folder: Path) -> None:
    run = read_run(folder)
    document = {
        "command": "python -m quant.export run --check",
        "arrays_sha256": integers_of(run).digest,
        "tensors": 16,
        "images": 10000,
        "accuracy": 0.9152,
    }
    record(folder, "golden.json", document)
    check = checks(run, folder)["Golden model = torch"]
    assert check.scope is Scope.RUN
    assert check.text == (
        "All 16 tensors of 10,000 test images are equal; accuracy of the integers 91.52 %."
    )
    record(folder, "golden.json", {**document, "arrays_sha256": "0" * 64})
    assert checks(run, folder)["Golden model = torch"].scope is Scope.NONE


def test_damaged_integers_are_a_failure_and_nothing_counts_for_them(folder: Path) -> None:
    arrays = folder / "integer" / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"x")
    found = checks(read_run(folder), DOCS)
    assert found["Integer network"].scope is Scope.FAILED
    assert "SHA-256 must be 73d495d75b897839..." in found["Integer network"].text
    assert "RTL = golden model" not in found


def aged(monkeypatch: pytest.MonkeyPatch, **ages: Age) -> None:
    """Give records ages by their names; others none."""
    monkeypatch.setattr(verification, "age_of", lambda path: ages.get(path.stem, Age()))


def test_proofs_and_mutants_are_of_the_gateware_at_their_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(monkeypatch, formal=Age(made="committed 2026-01-02 as abc1234"))
    found = checks(read_run(folder), DOCS)
    assert found["Formal proofs"].scope is Scope.GATEWARE
    assert found["Formal proofs"].scope.value == "the gateware as it was then"
    assert found["Formal proofs"].source == (
        "docs/formal.json (committed 2026-01-02 as abc1234), without a digest of the design: of "
        "the gateware as it was then"
    )
    assert found["Formal proofs"].remedy == ""
    assert found["Formal proofs"].text == (
        "75 of 75 proofs hold (35 by induction, the others to a bounded depth), 6 of 6 of those "
        "that are about the PE bit_pair. They cover products of 4-bit activations (to a bounded "
        "depth); sums of a step's products of 4-bit activations on 2 lanes (by induction). The "
        "array of this run has 32 lanes and 8-bit activations."
    )
    assert found["Mutants found by the benches"].text == (
        "Of 894 mutants of bit_pair-pe, bit_pair-weight_edge, requantiser: 866 found, 18 proven "
        "equivalent, 10 neither."
    )


def test_a_record_older_than_the_gateware_has_no_tick(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = ("hw/array.py", "hw/pe/a.py", "hw/pe/b.py", "hw/pe/c.py", "hw/pe/d.py")
    old = Age(made="committed 2026-01-02 as abc1234", changed=changed)
    aged(monkeypatch, mutation=old, formal=Age(changed=changed[:1]))
    found = checks(read_run(folder), DOCS)
    mutants, proofs = found["Mutants found by the benches"], found["Formal proofs"]
    assert (mutants.scope, proofs.scope) == (Scope.OLDER, Scope.OLDER)
    assert (mutants.scope.sign, mutants.scope.value) == ("○", "older than the gateware")
    assert (mutants.remedy, proofs.remedy) == ("make mutate", "make formal")
    assert mutants.source.startswith(
        "docs/mutation.json (committed 2026-01-02 as abc1234; changed since: hw/array.py, "
        "hw/pe/a.py, hw/pe/b.py and 2 more), without"
    )
    assert proofs.source.startswith("docs/formal.json (changed since: hw/array.py), without")


def test_a_proof_that_does_not_hold_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aged(monkeypatch)
    claim = "2 lanes, 8-bit activations: c"
    proofs = [{"name": "sums-bit_pair", "claim": claim, "method": "prove", "passed": False}]
    record(folder, "formal.json", proofs)
    check = checks(read_run(folder), folder, DOCS)["Formal proofs"]
    assert check.scope is Scope.FAILED
    assert check.text == (
        "74 of 75 proofs hold (35 by induction, the others to a bounded depth), 5 of 6 of those "
        "that are about the PE bit_pair. Not: sums-bit_pair. They cover products of 4-bit "
        "activations (to a bounded depth); sums of a step's products of 4-bit activations on 2 "
        "lanes (by induction). The array of this run has 32 lanes and 8-bit activations."
    )
    # what comes first counts
    assert check.source.startswith("run/formal.json, docs/formal.json, without a digest")


def test_checks_of_costs_hold_for_the_same_cells_only(folder: Path) -> None:
    names = (
        "Static timing against OpenSTA",
        "Sum of modules against a whole array",
        "Energy of layers the table has not seen",
    )
    found = checks(read_run(folder), DOCS)
    assert [found[name].scope for name in names] == [Scope.COSTS] * 3
    assert found[names[2]].text == (
        "4 layers of another network on bit_pair-8x8x32 are off by -4.9 to -1.0 %."
    )
    cells = TABLE.library.model_copy(update={"sha256": "0" * 64})
    others = TABLE.model_copy(update={"library": cells})
    found = checks(read_run(folder), DOCS, table=others)
    assert [found[name].scope for name in names] == [Scope.NONE] * 3


def test_energy_gate_by_gate_counts_by_the_digest(folder: Path) -> None:
    run = read_run(folder)
    document = json.loads((DOCS / "energy-resnet8.json").read_text())
    document["arrays_sha256"] = integers_of(run).digest
    record(folder, "energy.json", document)
    check = checks(run, folder)["Energy gate by gate"]
    assert check.scope is Scope.RUN
    assert check.text == ("The table says 2.33 µJ for the array, its netlists 2.34 µJ (-0.5 %).")
    document["arrays_sha256"] = "0" * 64
    record(folder, "energy.json", document)
    assert checks(run, folder)["Energy gate by gate"].scope is Scope.OTHER


def test_without_its_table_a_run_claims_nothing_of_the_gateware(folder: Path) -> None:
    found = checks(read_run(folder), DOCS, table=None)
    assert [*found] == ["Integer network", "Golden model = torch", "RTL = golden model", "Gateware"]
    assert found["Gateware"].scope is Scope.NONE


def test_all_published_records_are_read() -> None:
    found: Records = read_records([DOCS])
    names = {filed.path.name for filed in found.filed}
    assert names == {
        "blind.json", "composition.json", "cosim-dscnn.json", "cosim-resnet8.json",
        "energy-dscnn.json", "energy-resnet8.json", "formal.json", "mutation.json", "opensta.json",
    }  # fmt: skip
