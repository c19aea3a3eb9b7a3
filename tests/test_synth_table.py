"""Cost tables: their files, their arithmetic, and the committed one."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hw.config import ArrayConfig, PEKind, Stage
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule
from synth.characterise import baselines, design_sha256
from synth.table import ArrayParameters, CostTable, CostTableError

COMMITTED = Path(__file__).parents[1] / "synth" / "tables" / "nangate45-default.json"


def _document() -> dict[str, Any]:
    def module(count: int, step: float, idle: float) -> dict[str, Any]:
        return {
            "count": count,
            "area_um2": 100.0,
            "sequential_area_um2": 40.0,
            "min_period_ns": 1.0,
            "leakage_nw": 1000.0,
            "energy_pj": {mode.name: step * mode.digits for mode in WeightMode},
            "idle_energy_pj": idle,
        }

    config = ArrayConfig(rows=2, cols=2, lanes=4, drain_rows=1)
    return {
        "schema_version": 1,
        "name": "by-hand",
        "library": {
            "name": "none",
            "node_nm": 28,
            "voltage_v": 0.9,
            "temperature_c": 25,
            "corner": "typical",
        },
        "clock_period_ns": 2.0,
        "array": {
            "parameters": ArrayParameters.of(config).model_dump(mode="json"),
            "modules": {"pe": module(4, 1.0, 0.25), "control": module(1, 0.5, 0.125)},
        },
        "memory": {"source": "a book", "read_pj_per_bit": 0.1, "write_pj_per_bit": 0.2},
        "provenance": {"command": "by hand"},
    }


def _write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_layer_costs_by_hand(tmp_path: Path) -> None:
    table = CostTable.load(_write(tmp_path / "t.json", _document()))
    shape = GemmShape(pixels=4, depth=6, outputs=2)
    cost = table.layer_cost(shape, WeightMode.W4)
    plan = layer_schedule(shape, WeightMode.W4, table.array.config)
    # 2 tiles of 2 chunks of 2 digits; 48 of the 64 products' slots are filled
    assert (plan.active_cycles, plan.utilisation) == (8, 0.75)
    step = 4 * (0.25 + 0.75 * (2.0 - 0.25)) + 1.0
    idle = 4 * 0.25 + 0.125
    assert cost.array_energy_pj == pytest.approx(8 * step + plan.idle_cycles * idle)
    assert cost.latency_ns == 2.0 * plan.cycles
    # 5 modules of 1 uW; W times ns is 1000 pJ
    assert cost.leakage_energy_pj == pytest.approx(5 * 1e-6 * cost.latency_ns * 1e3)
    assert cost.size_bits == 12 * 4
    read = plan.weight_bits + plan.act_bits
    assert cost.memory_energy_pj == pytest.approx(0.1 * read + 0.2 * plan.output_bits)
    assert (cost + cost).cycles == 2 * cost.cycles
    assert cost.energy_pj == cost.array_energy_pj + cost.leakage_energy_pj


def test_table_without_memory_has_no_memory_energy(tmp_path: Path) -> None:
    document = _document() | {"memory": None}
    table = CostTable.load(_write(tmp_path / "t.json", document))
    shape = GemmShape(pixels=1, depth=1, outputs=1)
    assert table.layer_cost(shape, WeightMode.W2).memory_energy_pj == 0


def test_saved_table_loads_to_the_same(tmp_path: Path) -> None:
    table = CostTable.load(_write(tmp_path / "t.json", _document()))
    table.save(tmp_path / "folder" / "again.json")
    assert CostTable.load(tmp_path / "folder" / "again.json") == table
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["again.json"]


def _change(*path: str, to: object) -> dict[str, Any]:
    document = _document()
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (_change("array", "modules", to={}), "array: Value error, modules must not be empty"),
        (_change("clock_period_ns", to=0.9), "file: Value error, clock_period_ns must be at least"),
        (_change("clock_period_ns", to=-1), "clock_period_ns: Input should be greater than 0"),
        (_change("clock_ns", to=1), "clock_ns: Extra inputs are not permitted"),
        (_change("schema_version", to=2), "schema_version: Input should be 1"),
        (
            _change("array", "modules", "pe", "energy_pj", to={"W2": 1.0}),
            "array.modules.pe: Value error, energy_pj must have W4, W6, W8",
        ),
        (_change("array", "parameters", "rows", to=0), "array: Value error, rows must be from 1"),
    ],
)
def test_malformed_table_is_one_line(
    document: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "t.json", document)
    with pytest.raises(CostTableError) as error:
        CostTable.load(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_nan_in_a_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(_change("clock_period_ns", to=float("nan"))))
    with pytest.raises(CostTableError, match="clock_period_ns"):
        CostTable.load(path)


def test_missing_and_truncated_tables_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(CostTableError, match=r"no\.json: cannot read the cost table \(No such"):
        CostTable.load(tmp_path / "no.json")
    path = tmp_path / "cut.json"
    path.write_text(COMMITTED.read_text()[:1000])
    with pytest.raises(CostTableError, match=r"cut\.json: file: Invalid JSON"):
        CostTable.load(path)


@pytest.mark.parametrize(
    "config",
    [
        ArrayConfig(registers=(Stage.PRODUCT, Stage.SUM)),
        ArrayConfig(pe=PEKind.SHIFT_ADD, lanes=1, max_shift=2, acc_bits=None),
    ],
    ids=lambda config: config.pe.value,
)
def test_parameters_give_the_configuration_back_through_json(config: ArrayConfig) -> None:
    text = ArrayParameters.of(config).model_dump_json()
    assert ArrayParameters.model_validate_json(text).config() == config


def test_unknown_baseline_is_named() -> None:
    with pytest.raises(CostTableError, match=r"must be one of int8_mac, int8_dot, not fp32$"):
        CostTable.load(COMMITTED).baseline("fp32")


def test_committed_table_is_of_the_default_configuration_as_it_is_now() -> None:
    table = CostTable.load(COMMITTED)
    assert table.array.config == ArrayConfig()
    assert {name: cost.config for name, cost in table.baselines.items()} == baselines(ArrayConfig())
    assert table.provenance.design_sha256 == design_sha256(ArrayConfig()), "run `make synth`"
    shipped = (COMMITTED.parents[1] / "operands" / f"{table.provenance.operands}.npz").read_bytes()
    assert table.provenance.operands_sha256 == hashlib.sha256(shipped).hexdigest()


@pytest.mark.parametrize(
    ("name", "floors"),
    [
        ("int8_mac", [(0.80, 0.75), (0.47, 0.38), (0.25, 0.19)]),
        ("int8_dot", [(0.95, 1.15), (0.55, 0.58), (0.32, 0.29)]),
    ],
)
def test_committed_table_passes_the_floors_of_the_design(
    name: str, floors: list[tuple[float, float]]
) -> None:
    table = CostTable.load(COMMITTED)
    baseline, array = table.baseline(name), table.array
    modes = (WeightMode.W8, WeightMode.W4, WeightMode.W2)
    for mode, (energy, area) in zip(modes, floors, strict=True):
        assert array.energy_per_mac_pj(mode) <= energy * baseline.energy_per_mac_pj(mode)
        assert array.area_per_throughput_um2(mode) <= area * baseline.area_per_throughput_um2(mode)


def test_committed_table_clocks_no_slower_than_its_slower_baseline() -> None:
    table = CostTable.load(COMMITTED)
    assert table.array.min_period_ns <= table.baseline("int8_mac").min_period_ns
