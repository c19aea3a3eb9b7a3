"""The HTML report: what it shows is what the files say, and it is one page that loads nothing."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quant.report.breakdown import parts_of
from quant.report.quantities import AREA, ENERGY, SIZE, unit_for
from quant.report.scatter import ticks
from synth.table import CostTable
from tests.report_page import invoke, page_of

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data" / "report"
"""Files of two runs: `make search` on ResNet-8, and `--pareto energy --ptq-only --points 6`."""
NETWORK = ROOT / "sim" / "networks" / "resnet8"
"""The integers of that very search."""
UNPU = ROOT / "docs" / "examples" / "unpu.json"
MOST_BYTES = 2_000_000


def changed(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A search, as it leaves its folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(DATA / "result.json", folder)
    shutil.copytree(NETWORK, folder / "integer")
    return folder


@pytest.fixture
def front(tmp_path: Path) -> Path:
    """A walked front."""
    folder = tmp_path / "front"
    folder.mkdir()
    shutil.copy(DATA / "front.json", folder)
    return folder


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A folder with no records yet."""
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


def result_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


def test_every_figure_of_the_layers_and_costs_is_the_files_own(run: Path, tmp_path: Path) -> None:
    page, result = page_of(run, out=tmp_path / "a.html"), result_of(run)
    shown = {*page.exact}
    fields = ("size_bits", "cycles", "latency_ns", "energy_pj", "scratchpad_energy_pj",
              "dram_energy_pj")  # fmt: skip
    costs = [result["cost"]["searched"], *result["cost"]["uniform"].values(),
             result["cost"]["int8_mac"], result["cost"]["int8_mac_same_weights"]]  # fmt: skip
    for entry in [*result["layers"], *costs]:
        assert {repr(entry[field]) for field in fields} <= shown
    for layer in result["layers"]:
        assert layer["name"] in page.words
        assert {repr(layer[field]) for field in ("bits", "sigma", "kl", "macs")} <= shown
    for visit in result["visits"]:
        assert repr(visit["validation_accuracy"]) in shown
    for images in ("accuracy", "validation_accuracy"):
        found = result[images]
        assert {
            repr(v) for v in (found["float"], found["searched"], *found["uniform"].values())
        } <= shown
    assert "91.52 %" in page.words
    assert "190.6 kbit" in page.words
    assert "2.41 µJ" in page.words
    assert "12.82 µs" in page.words
    assert result["provenance"]["command"] in page.words
    for digest in [result["provenance"]["cost_table"]["sha256"],
                   *result["provenance"]["data_sha256"].values()]:  # fmt: skip
        assert digest in page.words


def test_the_verdict_follows_the_result(run: Path, tmp_path: Path) -> None:
    assert "✔ targets met" in page_of(run, out=tmp_path / "a.html").words

    def miss(result: Any) -> None:
        result["targets_met"] = {"accuracy": True, "size": False, "all": False}
        result["budgets"][0]["met"] = False

    changed(run / "result.json", miss)
    page = page_of(run, out=tmp_path / "b.html")
    assert "✘ targets not met" in page.words
    assert "✘ missed" in page.words
    assert "✘ misses its target" in page.words


def test_uniform_bits_that_do_as_well_are_named(run: Path, tmp_path: Path) -> None:
    text = (
        "Uniform bits meet the same targets at no higher array energy: uniform 2 bit "
        "(91.53 %, 154.1 kbit, 1.85 µJ)."
    )
    assert text in page_of(run, out=tmp_path / "a.html").words
    changed(run / "result.json", lambda result: result["accuracy"]["uniform"].update({"2": 0.9}))
    assert "Uniform bits" not in page_of(run, out=tmp_path / "b.html").text


def test_the_page_is_one_file_that_loads_nothing(run: Path, front: Path, tmp_path: Path) -> None:
    page = page_of(run, front, out=tmp_path / "a.html")
    assert len(page.ids) == len({*page.ids})
    page.check_links()
    assert not re.search(r"https?:|url\(|@import|//[a-z]", page.source)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.source)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert page.source.encode().__len__() < MOST_BYTES


def test_the_same_runs_give_the_same_page(run: Path, tmp_path: Path) -> None:
    first = page_of(run, out=tmp_path / "a.html").source
    assert page_of(run, out=tmp_path / "a.html").source == first


def test_a_page_about_sixty_layers_and_two_hundred_visits_stays_small(
    run: Path, tmp_path: Path
) -> None:
    def grow(result: Any) -> None:
        result["layers"] = [
            {**layer, "name": f"stage{i}.{layer['name']}"}
            for i in range(6)
            for layer in result["layers"]
        ]
        bits = [layer["bits"] for layer in result["layers"]]
        result["visits"] = [{**result["visits"][0], "bits": bits} for _ in range(200)]

    changed(run / "result.json", grow)
    page = page_of(run, out=tmp_path / "a.html")
    assert "stage5.block3.conv2" in page.words
    assert 150_000 < len(page.source.encode()) < MOST_BYTES


def test_names_from_files_are_text_not_markup(run: Path, tmp_path: Path) -> None:
    changed(run / "result.json", lambda result: result.update(model="<script>alert(1)</script>"))
    page = page_of(run, out=tmp_path / "a.html")
    assert "<script>alert" not in page.source
    assert "<script>alert(1)</script>, seed 0" in page.words


def test_several_runs_stand_side_by_side_with_the_hardware_once(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    changed(other / "result.json", lambda result: result.update(seed=7))
    again = tmp_path / "again"
    shutil.copytree(run, again)
    page = page_of(run, other, again, out=tmp_path / "a.html")
    names = ["resnet8, seed 0 (run)", "resnet8, seed 7", "resnet8, seed 0 (again)"]
    for name in names:
        assert page.words.count(name) >= 3  # side by side, in the links, as a heading
    assert page.words.count("Bits of each layer, side by side") == 2  # summary and caption
    assert page.text.count("The array and the baselines of its cost table") == 1
    assert page.text.count("The same cost table as") == 2


def test_runs_on_other_tables_are_not_compared_unsaid(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    digest = {"name": "own", "file": "own.json", "sha256": "0" * 64}
    changed(other / "result.json", lambda r: r["provenance"].update(cost_table=digest))
    page = page_of(run, other, out=tmp_path / "a.html")
    assert "The runs were priced on different cost tables." in page.words
    assert (
        "The cost table own.json of this run (SHA-256 0000000000000000…) is not here: no such file "
        "was given. Name it with --cost-table FILE."
    ) in page.words


def test_a_front_has_its_points_their_bits_and_both_accuracies(front: Path, tmp_path: Path) -> None:
    page = page_of(front, out=tmp_path / "a.html")
    document = json.loads((front / "front.json").read_text())
    assert len(document["points"]) == 6
    for point in document["points"]:
        for field in ("size_bit", "energy_pJ", "latency_ns", "bops_BOPs", "validation_accuracy",
                      "test_accuracy"):  # fmt: skip
            assert repr(point[field]) in page.exact
    assert page.source.count('class="mark') >= 12  # a point on either picture
    assert "Accuracy on test images against energy of the array" in page.words
    assert {*document["layers"]} <= {*page.words}
    assert document["provenance"]["cost_table"]["sha256"] in page.words
    assert "The run has none, so nothing of it was compared bit for bit." in page.text


def test_a_front_of_an_earlier_version_has_no_digests(front: Path, tmp_path: Path) -> None:
    changed(front / "front.json", lambda document: document.pop("provenance"))
    page = page_of(front, out=tmp_path / "a.html")
    assert "not in the files of this run" in page.words
    assert "The files of this run do not name the digest of its cost table." in page.words


def test_an_empty_front_says_so(front: Path, tmp_path: Path) -> None:
    changed(front / "front.json", lambda document: document.update(points=[]))
    page = page_of(front, out=tmp_path / "a.html")
    assert "The front has no allocation within the limits." in page.words


def test_parts_are_those_that_synth_has_published() -> None:
    published = json.loads((ROOT / "docs" / "parts.json").read_text())["kinds"]["bit_pair"]["parts"]
    table = CostTable.load(ROOT / "synth" / "tables" / "nangate45-default.json")
    parts = {part.name: part for part in parts_of(table.array)}
    assert parts.keys() == published.keys()
    for name, part in parts.items():
        assert part.area_um2 == pytest.approx(published[name]["area_um2"], rel=1e-5)
        # the table has six significant digits
        assert part.fj_per_mac == pytest.approx(published[name]["fj_per_mac"], rel=1e-4, abs=2e-3)


def test_hardware_known_by_totals_shows_what_it_knows(run: Path, tmp_path: Path) -> None:
    from quant.files import sha256

    unknown = ("energy_pj", "array_energy_pj", "leakage_energy_pj", "scratchpad_energy_pj",
               "dram_energy_pj")  # fmt: skip

    def of_others(result: Any) -> None:
        costs = result["cost"]
        costs = [costs["searched"], *costs["uniform"].values()]
        for entry in [*costs, *result["layers"], *result["visits"]]:
            entry.update(dict.fromkeys(unknown))
        result["cost"].pop("int8_mac")
        result["cost"].pop("int8_mac_same_weights")
        result["objective"] = "latency_ns"
        result["provenance"]["cost_table"] = {
            "name": "unpu", "file": "unpu.json", "sha256": sha256(UNPU)
        }  # fmt: skip
        result["integer_network"] = {"folder": None, "reason": "add: needs a scale."}
        result["unavailable_costs"] = [{"cost": "energy_pj", "needs": "array.energy"}]

    changed(run / "result.json", of_others)
    page = page_of(run, "--cost-table", UNPU, out=tmp_path / "a.html")
    assert "the cost table does not tell" in page.words
    assert "Energy of a layer" not in page.text
    assert "Accuracy against latency" in page.words
    assert "The cost table cannot give: energy_pj (needs array.energy)." in page.words
    assert "add: needs a scale." in page.text
    assert "UNPU" in page.text
    assert "Not looked for: UNPU" in page.text


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("{run}/none: run must be the folder of a finished search, not missing", ["{run}/none"]),
        ("{run}/result.json: run must be the folder of a finished search, not a file",
         ["{run}/result.json"]),
        ("{run}/integer: run must be the folder of a finished search, with result.json or "
         "front.json, but has neither", ["{run}/integer"]),
        ("{run}/none: records must be a folder, and is none", ["{run}", "--records", "{run}/none"]),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused_in_one_line(line: str, arguments: list[str], run: Path) -> None:
    done = invoke(*(argument.format(run=run) for argument in arguments))
    assert done.exit_code == 2
    assert done.stderr == f"quant.report: {line.format(run=run)}\n"
    assert not (run / "report.html").exists()


def broken(result: Any, *, version: int) -> None:
    result["version"] = version


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda text: text[:5000], "must be JSON as a search wrote it, not: "),
        (lambda text: text[:0], "must be JSON as a search wrote it, not: "),
        (lambda text: "[]", "must be a JSON object, not list"),
        (lambda text: text.replace('"model"', '"version": 2, "model"', 1),
         "version must be 1, not 2; take a sigmaquant that knows it, or run the search again"),
        (lambda text: text.replace('"sigma"', '"spread"'),
         "layers.0.sigma must be there, but is missing; the file is of another version: "
         "run the search again"),
        (lambda text: text.replace('"seed": 0', '"seed": "x"', 1), "seed: Input should be a valid"),
        (lambda text: text.replace('"relative_size": 0.', '"relative_size": NaN, "x": 0.', 1),
         "relative_size: Input should be a finite number, not 'nan'"),
    ],
)  # fmt: skip
def test_a_damaged_result_is_refused_in_one_line(
    change: Callable[[str], str], line: str, run: Path
) -> None:
    path = run / "result.json"
    path.write_text(change(path.read_text()))
    done = invoke(run)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"quant.report: {path}: {line}")
    assert done.stderr.count("\n") == 1


def test_bytes_that_are_no_text_are_refused(run: Path) -> None:
    (run / "result.json").write_bytes(b"\xff\xfe{}")
    done = invoke(run)
    assert done.exit_code == 2
    assert "must be JSON as a search wrote it" in done.stderr


def test_a_damaged_record_or_table_is_refused_in_one_line(run: Path, records: Path) -> None:
    (records / "cosim.json").write_text('{"command": "python -m sim.cosim x"}')
    done = invoke(run, "--records", records)
    assert done.exit_code == 2
    assert done.stderr == (
        f"quant.report: {records}/cosim.json: arrays_sha256: Field required; make the record anew\n"
    )
    done = invoke(run, "--cost-table", records / "none.json")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


def test_one_run_has_its_page_in_its_folder(run: Path) -> None:
    done = invoke(run)
    assert done.exit_code == 0
    size = (run / "report.html").stat().st_size
    assert done.stdout == f"1 run, {size:,} bytes -> {run}/report.html\n"


@pytest.mark.parametrize(
    ("values", "scale", "text"),
    [
        ([2_408_310.0, 1_000.0], ENERGY, "2.41 µJ"),
        ([184.0], ENERGY, "184.0 pJ"),
        ([0.0, None], ENERGY, "0.000 pJ"),
        ([278_108.2], AREA, "278,108 µm²"),
        ([1_152.0], SIZE, "1.15 kbit"),
        ([None], SIZE, "-"),
    ],
)
def test_units_fit_the_largest_figure(
    values: list[float | None], scale: dict[str, float], text: str
) -> None:
    assert unit_for(values, scale).shown(values[0]) == text


def test_ticks_are_round_and_within() -> None:
    assert ticks(0.2, 1.06) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(91.2, 93.0) == pytest.approx([91.5, 92.0, 92.5, 93.0])
    assert ticks(-1.0, 1.0) == pytest.approx([-1.0, -0.5, 0.0, 0.5, 1.0])
