"""Exports of cost tables, read back, and bad input to the command."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hw.precision import WeightMode
from hw.schedule import GemmShape
from quant.models import IMAGE_SIZE, build
from synth.export.shapes import load_layers
from synth.table import CostTable, complete

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "synth" / "tables" / "nangate45-default.json"
UNPU = ROOT / "docs" / "examples" / "unpu.json"
NETWORKS = ROOT / "sim" / "networks.json"


def export(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "synth.export", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_csv_has_every_figure_with_unit_and_method(tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    done = export(COMMITTED, "--format", "csv", "--out", out)
    assert (done.returncode, done.stdout) == (0, f"{out}\n")
    rows = list(csv.DictReader(out.read_text().splitlines()))
    table = CostTable.load(COMMITTED)
    assert all(row["unit"] and row["method"] and float(row["value"]) >= 0 for row in rows)
    assert all((row["source"] != "") == (row["method"] == "cited") for row in rows)
    by_name = {
        (r["hardware"], r["module"], r["figure"], r["mode"], r["unit"]): float(r["value"])
        for r in rows
    }
    assert len(by_name) == len(rows)
    array, int8 = complete(table.array), complete(table.baseline("int8_mac"))
    assert by_name["array", "pe", "energy", "W4", "pJ/cycle"] == array.modules["pe"].energy_pj["W4"]
    assert by_name["baselines.int8_mac", "", "area", "", "um2"] == pytest.approx(int8.area_um2)
    assert by_name["memory.dram", "", "read", "", "pJ/access"] == 640
    # per module 5 figures and 4 energies; per array 2 totals and 2 figures a mode
    modules = sum(len(complete(h).modules) for h in table.hardware.values())
    assert len(rows) == 9 * modules + 3 * (2 + 8) + 5 + 4


def test_accelergy_tables_hold_every_energy_and_area(tmp_path: Path) -> None:
    out = tmp_path / "folder"
    done = export(COMMITTED, "--format", "accelergy", "--out", out)
    assert done.stdout == f"{out / 'ERT.yaml'}\n{out / 'ART.yaml'}\n"
    array = complete(CostTable.load(COMMITTED).array)
    ert = yaml.safe_load((out / "ERT.yaml").read_text())["ERT"]
    assert ert["version"] == 0.3
    energies = {entry["name"]: entry["actions"] for entry in ert["tables"]}
    pe = array.modules["pe"]
    leak = {
        "name": "leak",
        "arguments": None,
        "energy": pytest.approx(pe.leakage_nw * 1.65e-6, rel=1e-5),
    }
    assert energies["nangate45_default.array.pe[0..63]"] == [
        *(
            {
                "name": "compute",
                "arguments": {"weight_bits": mode.bits},
                "energy": pe.energy_pj[mode.name],
            }
            for mode in WeightMode
        ),
        {"name": "idle", "arguments": None, "energy": pe.idle_energy_pj},
        leak,
    ]
    assert energies["nangate45_default.dram"] == [
        {"name": name, "arguments": {"bits": 32}, "energy": 640.0} for name in ("read", "write")
    ]
    art = yaml.safe_load((out / "ART.yaml").read_text())["ART"]
    areas = {entry["name"]: entry["area"] for entry in art["tables"]}
    assert areas["nangate45_default.array.control"] == array.modules["control"].area_um2
    assert len(areas) == 12
    head = (out / "ERT.yaml").read_text().splitlines()[:2]
    assert head[0].startswith("# nangate45-default: energies in pJ")
    assert head[1] == "# array: gate-level activity, leakage synthesised"


def look_up(tmp_path: Path, name: str, table: Path = COMMITTED) -> Path:
    out = tmp_path / name
    done = export(table, "--format", "haq", "--network", "resnet8", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_look_up_as_json_names_layers_bits_costs_and_units(tmp_path: Path) -> None:
    document = json.loads(look_up(tmp_path, "t.json").read_text())
    assert document["units"]["energy_pj"] == "pJ"
    assert document["weight_bits"] == [2, 4, 6, 8]
    table, layers = CostTable.load(COMMITTED), load_layers(NETWORKS, "resnet8")
    assert list(document["layers"]) == list(layers)
    cost = table.layer_cost(layers["block1.conv1"], WeightMode.W4)
    entry = document["layers"]["block1.conv1"]["4"]
    assert entry == {name: getattr(cost, name) for name in document["units"]}


def test_look_up_as_npz_needs_no_pickle_and_agrees_with_json(tmp_path: Path) -> None:
    document = json.loads(look_up(tmp_path, "t.json").read_text())
    with np.load(look_up(tmp_path, "t.npz"), allow_pickle=False) as arrays:
        assert arrays["layers"].tolist() == list(document["layers"])
        assert json.loads(str(arrays["units"])) == document["units"]
        for name in document["units"]:
            expected = [[c[name] for c in costs.values()] for costs in document["layers"].values()]
            assert arrays[name].tolist() == expected


def test_look_up_of_a_table_without_energy_has_nulls_and_its_modes_only(tmp_path: Path) -> None:
    document = json.loads(look_up(tmp_path, "t.json", UNPU).read_text())
    assert document["weight_bits"] == [4, 8]
    assert {c["energy_pj"] for layer in document["layers"].values() for c in layer.values()} == {
        None
    }
    with np.load(look_up(tmp_path, "t.npz", UNPU)) as arrays:
        assert np.isnan(arrays["energy_pj"]).all()
        assert (arrays["latency_ns"] == 5 * arrays["cycles"]).all()


def test_shapes_of_convolutions_are_those_of_the_traced_network() -> None:
    import torch

    from quant.graph import trace

    traced = trace(build("dscnn"), torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE))
    assert load_layers(NETWORKS, "dscnn") == {layer.name: layer.shape for layer in traced.layers}


def test_layers_may_be_matrix_products(tmp_path: Path) -> None:
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps([{"name": "fc", "pixels": 1, "depth": 64, "outputs": 10}]))
    assert load_layers(path) == {"fc": GemmShape(pixels=1, depth=64, outputs=10)}


LAYER = {"name": "a", "in_h": 4, "in_w": 4, "in_channels": 1, "out_channels": 1}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "shapes: file: must have at least 1 item after validation, not 0"),
        ([LAYER | {"in_h": 0}], "layer 0: in_h must be from 1 to 65535, not 0"),
        ([LAYER | {"size": 1}], "layer 0: size: is no known field"),
        ([LAYER, LAYER], "layer 1: name must be new, not a again"),
        ({"x": [LAYER], "y": []}, "network must be one of x, y, not none"),
        ([{"name": "a"}], "layer 0: in_h: must be given"),
    ],
)
def test_bad_shapes_are_one_line(document: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps(document))
    out = tmp_path / "t.npz"
    done = export(COMMITTED, "--format", "haq", "--shapes", path, "--out", out)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"synth.export: {path}: {message}\n"
    assert not out.exists()


def test_bad_input_is_one_line_and_status_2(tmp_path: Path) -> None:
    cases: list[tuple[list[str | Path], str]] = [
        (["no.json", "--format", "csv"], "no.json: cannot read the cost table (No such file"),
        ([UNPU, "--format", "accelergy"], "unpu: an ERT must have an energy, but the table has"),
        (
            [COMMITTED, "--format", "haq", "--network", "resnet8"],
            "out must end in .json or .npz for haq, not out",
        ),
    ]
    for arguments, message in cases:
        done = export(*arguments, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert done.stderr.startswith(f"synth.export: {message}")
        assert done.stderr.count("\n") == 1


def test_a_layer_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps([{"name": "deep", "pixels": 1, "depth": 99999, "outputs": 1}]))
    done = export(COMMITTED, "--format", "haq", "--shapes", path, "--out", tmp_path / "t.npz")
    assert done.stderr == (
        "synth.export: layer deep: depth must be at most max_depth = 2304, not 99999\n"
    )
