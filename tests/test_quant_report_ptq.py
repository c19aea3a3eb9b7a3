"""The report about `quant.ptq`, alone and beside searches; tables and files that it looks for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quant.files import sha256
from tests.report_page import Page, invoke, page_of

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data" / "report"
NETWORK = ROOT / "sim" / "networks" / "resnet8"
INTEGERS = ROOT / "sim" / "networks" / "dscnn"
SHIPPED = ROOT / "synth" / "tables" / "nangate45-default.json"
EMPTY_BOXES = ("sigma", "KL / KL8", "Targets", "Cost per layer", "Array energy per inference",
               "Hardware", "Gateware", "Formal proofs")  # fmt: skip


def changed(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.fixture
def quantised(tmp_path: Path) -> Path:
    """What `quant.ptq --model dscnn --bits 4 --calibration 64` leaves, with integers of others."""
    folder = tmp_path / "quantised"
    folder.mkdir()
    shutil.copy(DATA / "ptq.json", folder / "result.json")
    shutil.copytree(INTEGERS, folder / "integer")
    return folder


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """A search, as it leaves its folder."""
    folder = tmp_path / "search"
    folder.mkdir()
    shutil.copy(DATA / "result.json", folder)
    shutil.copytree(NETWORK, folder / "integer")
    return folder


def result_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


def row(page: Page, name: str, *, columns: int) -> list[str]:
    """Return the cells of the row of a name that comes first."""
    start = page.words.index(name) + 1
    return page.words[start : start + columns]


def test_a_quantised_network_is_a_page_of_what_it_has(quantised: Path, tmp_path: Path) -> None:
    page, result = page_of(quantised, out=tmp_path / "a.html"), result_of(quantised)
    fields = ("bits", "weights", "packed_bytes", "nearest_error", "error", "seconds")
    for layer in result["layers"]:
        assert layer["name"] in page.words
        assert {repr(layer[field]) for field in fields} <= {*page.exact}
    assert "92.12 %" in page.words
    assert "0.19 points below float 92.31 %; of the integers" in page.words
    assert "34,480 bytes" in page.words
    assert "211.7 kbit" in page.words
    for name, text in (("integers of weights", "sensitivity"), ("bits of activations", "8"),
                       ("bias correction", "no"), ("calibration images", "64")):  # fmt: skip
        assert row(page, name, columns=1) == [text]
    assert result["provenance"]["command"] in page.words
    assert "64 of them for calibration" in page.text
    for word in EMPTY_BOXES:
        assert word not in page.words
    page.check_links()


def test_a_cosimulation_of_its_integers_counts_for_a_quantised_network(
    quantised: Path, tmp_path: Path
) -> None:
    page = page_of(quantised, "--records", ROOT / "docs", out=tmp_path / "a.html")
    assert page.words.count("✔ this run") == 2  # the integers, and their images on the RTL
    assert "From docs/cosim-dscnn.json." in page.words


def test_what_a_quantised_network_leaves_in_float_is_said(quantised: Path, tmp_path: Path) -> None:
    def in_float(result: Any) -> None:
        result["recipe"]["act_bits"] = None
        result["accuracy_of_integers"] = False
        result["array_packed_bytes"] += 100
        result["accuracy"]["searched"] = 0.9241
        result["integer_network"] = {"folder": None, "reason": "activations are in float"}
        result["gaps"] = [{"gap": "float", "place": "pool", "text": "stays in float"}]

    changed(quantised / "result.json", in_float)
    page = page_of(quantised, out=tmp_path / "a.html")
    assert row(page, "bits of activations", columns=1) == ["float"]
    assert "0.10 points above float 92.31 %; of the fake quantisation" in page.words
    assert "34,580 bytes as the array packs weights of 3 bit" in page.text
    assert "activations are in float" in page.text
    assert "float pool: stays in float" in page.words


def test_rounding_to_nearest_has_one_picture_of_errors(quantised: Path, tmp_path: Path) -> None:
    assert page_of(quantised, out=tmp_path / "a.html").source.count("Error of a layer") == 2

    def nearest(result: Any) -> None:
        result["method"] = "ptq-nearest"
        for layer in result["layers"]:
            layer["error"] = layer["nearest_error"]

    changed(quantised / "result.json", nearest)
    assert page_of(quantised, out=tmp_path / "b.html").source.count("Error of a layer") == 1


def test_searches_and_quantised_networks_stand_side_by_side(
    search: Path, quantised: Path, tmp_path: Path
) -> None:
    page = page_of(search, quantised, out=tmp_path / "a.html")
    assert row(page, "method", columns=2) == ["sigmaquant", "ptq-sensitivity"]
    assert row(page, "top-1 quantised, test", columns=2) == ["91.52 %", "92.12 %"]
    assert row(page, "packed", columns=2) == ["26,592 bytes", "34,480 bytes"]
    assert row(page, "array energy", columns=2) == ["2.41 µJ", "-"]
    assert row(page, "calibration images", columns=2) == ["-", "64"]
    assert "Accuracy against energy, searched and uniform" not in page.words
    assert "resnet8, seed 0, 4 bit: top-1 92.37 % (test), weights 308.3 kbit" in page.source
    assert "dscnn, seed 0, quantised: top-1 92.12 % (test), weights 211.7 kbit" in page.source


def test_two_searches_keep_their_energies_beside_a_quantised_network(
    search: Path, quantised: Path, tmp_path: Path
) -> None:
    shutil.copytree(search, tmp_path / "other")
    page = page_of(search, tmp_path / "other", quantised, out=tmp_path / "a.html")
    assert page.words.count("Accuracy against energy, searched and uniform") == 1
    assert len(page.ids) == len({*page.ids})


def test_quantised_networks_alone_have_no_rows_of_hardware(quantised: Path, tmp_path: Path) -> None:
    shutil.copytree(quantised, tmp_path / "other")
    page = page_of(quantised, tmp_path / "other", out=tmp_path / "a.html")
    assert row(page, "below float", columns=2) == ["0.19 points", "0.19 points"]
    assert "Bits of each layer, side by side" in page.words
    for name in ("hardware", "targets", "array energy", "latency"):
        assert name not in page.words


def test_a_damaged_file_of_a_quantised_network_is_refused_in_one_line(quantised: Path) -> None:
    changed(quantised / "result.json", lambda result: result.pop("packed_bytes"))
    done = invoke(quantised)
    assert done.exit_code == 2
    assert done.stderr == (
        f"quant.report: {quantised}/result.json: packed_bytes must be there, but is missing; the "
        "file is of another version: run quant.ptq again\n"
    )


def own_table(search: Path, where: Path, *, config: str) -> Path:
    """Give a search a cost table that is not shipped, and a config.yaml."""
    where.mkdir(exist_ok=True)
    table = where / "mine.json"
    table.write_text(SHIPPED.read_text() + "\n")
    digest = {"name": "mine", "file": "mine.json", "sha256": sha256(table)}
    changed(search / "result.json", lambda r: r["provenance"].update(cost_table=digest))
    (search / "config.yaml").write_text(f"command: search\n{config}\n")
    return table


@pytest.mark.parametrize(
    "config",
    ["cost-table: {path}", "cost-table: [{path}]", "cost-table: [none.json, tables/mine.json]"],
    ids=["a path", "a list", "from where the run began"],
)
def test_the_cost_table_that_config_names_is_taken(
    config: str, search: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "tables"
    own_table(search, where, config=config.format(path=where / "mine.json"))
    monkeypatch.chdir("/")
    page = page_of(search, out=tmp_path / "a.html")
    assert "The array and the baselines of its cost table" in page.text
    assert "is not here" not in page.text


def test_a_cost_table_that_has_changed_or_gone_is_said_to(search: Path, tmp_path: Path) -> None:
    where = tmp_path / "tables"
    table = own_table(search, where, config=f"cost-table: {where / 'mine.json'}")
    digest = sha256(table)[:16]
    table.write_text(table.read_text() + "\n")
    start = f"The cost table mine.json of this run (SHA-256 {digest}…) is not here: "
    end = " Name it with --cost-table FILE."
    page = page_of(search, out=tmp_path / "a.html")
    assert f"{start}a file of that name is another version.{end}" in page.words
    table.unlink()
    page = page_of(search, out=tmp_path / "b.html")
    gone = f"config.yaml of the run names {table}, which is not there any more."
    assert f"{start}{gone}{end}" in page.words


@pytest.mark.parametrize("text", ["[", "- a", "cost-table: {a: 1}", "\x00", "cost-table: 3"])
def test_a_damaged_config_is_no_fault_of_the_page(text: str, search: Path, tmp_path: Path) -> None:
    (search / "config.yaml").write_text(text)
    assert "is not here" not in page_of(search, out=tmp_path / "a.html").text


def test_a_folder_as_output_is_refused_and_nothing_is_left(search: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    before = sorted(tmp_path.rglob("*"))
    done = invoke(search, "-o", folder)
    assert done.exit_code == 2
    assert done.stderr == (
        f"quant.report: {folder}: output must be a file, not a folder; name one in it, such as "
        f"{folder}/report.html\n"
    )
    done = invoke(search, "-o", search / "result.json" / "a.html")
    assert done.exit_code == 2
    assert done.stderr == (
        f"quant.report: {search}/result.json/a.html: output must be in a folder, and "
        f"{search}/result.json is a file; name another\n"
    )
    assert sorted(tmp_path.rglob("*")) == before
