"""Cost tables: their files, their arithmetic, and the committed one."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jschon import JSON, JSONSchema, create_catalog

from hw.catalog import named
from hw.config import ArrayConfig, PEKind, Stage
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule
from synth.costs.schema import COMMITTED as SCHEMA
from synth.costs.schema import schema_text
from synth.designs import baselines, design_sha256
from synth.table import ArrayParameters, CostTable, CostTableError, LayerCost, complete

COMMITTED = Path(__file__).parents[1] / "synth" / "tables" / "nangate45-default.json"


def _cited(value: float) -> dict[str, Any]:
    return {"value": value, "source": "a book", "node_nm": 45}


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
        "schema_version": 2,
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
            "source": "a datasheet",
        },
        "memory": {
            "scratchpad": {"read_pj_per_bit": _cited(0.1), "write_pj_per_bit": _cited(0.2)},
            "dram": {"read_pj_per_bit": _cited(8), "write_pj_per_bit": _cited(9)},
        },
        "provenance": {"command": "by hand"},
    }


def _write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_layer_costs_by_hand(tmp_path: Path) -> None:
    table = CostTable.load(_write(tmp_path / "t.json", _document()))
    shape = GemmShape(pixels=4, depth=6, outputs=2)
    cost = table.layer_cost(shape, WeightMode.W4)
    plan = layer_schedule(shape, WeightMode.W4, complete(table.array).config)
    # 2 tiles of 2 chunks of 2 digits; 48 of the 64 products' slots are filled
    assert (plan.active_cycles, plan.utilisation) == (8, 0.75)
    step = 4 * (0.25 + 0.75 * (2.0 - 0.25)) + 1.0
    idle = 4 * 0.25 + 0.125
    assert cost.array_energy_pj == pytest.approx(8 * step + plan.idle_cycles * idle)
    assert cost.latency_ns == 2.0 * plan.cycles
    # 5 modules of 1 uW; W times ns is 1000 pJ
    assert cost.leakage_energy_pj == pytest.approx(5 * 1e-6 * cost.latency_ns * 1e3)
    assert cost.energy_pj == cost.array_energy_pj + cost.leakage_energy_pj  # type: ignore[operator]
    assert cost.size_bits == 12 * 4
    # 2 tiles of 2 chunks: 2 columns of 4 weights of 4 bits, and 2 rows of 4 activations
    assert cost.scratchpad_read_bits == 2 * 2 * (2 * 4 * 4 + 2 * 4 * 8)
    assert cost.scratchpad_write_bits == 4 * 2 * 8
    assert cost.scratchpad_read_energy_pj == pytest.approx(0.1 * cost.scratchpad_read_bits)
    assert cost.scratchpad_write_energy_pj == pytest.approx(0.2 * cost.scratchpad_write_bits)
    assert (cost.dram_read_bits, cost.dram_write_bits) == (48, 0)
    assert (cost.dram_read_energy_pj, cost.dram_write_energy_pj) == (8 * 48, 0)
    assert cost.memory_energy_pj == pytest.approx(0.1 * 384 + 0.2 * 64 + 8 * 48)


def test_energy_is_measured_in_steps_in_which_some_lanes_had_no_work(tmp_path: Path) -> None:
    document = _document()
    document["array"]["sampled_utilisation"] = {"W8": 0.5}
    array = complete(CostTable.load(_write(tmp_path / "t.json", document)).array)
    # a step at 8 bit, four PEs and the control, and what full lanes, twice as busy, would take
    assert array.energy_pj(WeightMode.W8, utilisation=0.5) == pytest.approx(4 * 4.0 + 2.0)
    full = 4 * (0.25 + 2 * (4.0 - 0.25)) + 2.0
    assert array.energy_pj(WeightMode.W8) == pytest.approx(full)
    quarter = 4 * (0.25 + 0.5 * (4.0 - 0.25)) + 2.0
    assert array.energy_pj(WeightMode.W8, utilisation=0.25) == pytest.approx(quarter)
    # half of 16 lanes a step, a step of four for a product: two multiply-accumulates a cycle
    assert array.energy_per_mac_pj(WeightMode.W8) == pytest.approx(18.0 / 2)
    # where nothing is said, all lanes had work: 16 lanes, a step of two
    assert array.energy_per_mac_pj(WeightMode.W4) == pytest.approx((4 * 2.0 + 1.0) / 8)


def test_costs_of_layers_that_follow_each_other_add_up(tmp_path: Path) -> None:
    table = CostTable.load(_write(tmp_path / "t.json", _document()))
    one = table.layer_cost(GemmShape(pixels=4, depth=6, outputs=2), WeightMode.W4)
    two = LayerCost() + one + one
    for field in fields(LayerCost):
        assert getattr(two, field.name) == 2 * getattr(one, field.name), field.name
    assert two.memory_energy_pj == 2 * (one.memory_energy_pj or 0)


@pytest.mark.parametrize(
    ("buffer_bits", "spilled"), [(None, 0), (4 * 2 * 8, 0), (4 * 2 * 8 - 1, 4 * 2 * 8)]
)
def test_feature_maps_beyond_the_buffer_go_to_dram_and_back(
    buffer_bits: int | None, spilled: int, tmp_path: Path
) -> None:
    document = _document()
    document["memory"]["activation_buffer_bits"] = buffer_bits
    table = CostTable.load(_write(tmp_path / "t.json", document))
    cost = table.layer_cost(GemmShape(pixels=4, depth=6, outputs=2), WeightMode.W4)
    assert (cost.dram_read_bits, cost.dram_write_bits) == (48 + spilled, spilled)
    assert cost.dram_energy_pj == 8 * (48 + spilled) + 9 * spilled


def test_table_without_memory_knows_traffic_and_no_memory_energy(tmp_path: Path) -> None:
    document = _document() | {"memory": None}
    table = CostTable.load(_write(tmp_path / "t.json", document))
    cost = table.layer_cost(GemmShape(pixels=1, depth=1, outputs=1), WeightMode.W2)
    assert (cost.scratchpad_energy_pj, cost.dram_energy_pj, cost.memory_energy_pj) == (None,) * 3
    assert cost.dram_read_bits == 2


def test_version_1_loads_with_the_same_figures(tmp_path: Path) -> None:
    new = _document()
    old = _document() | {
        "schema_version": 1,
        "memory": {"source": "a book", "read_pj_per_bit": 0.1, "write_pj_per_bit": 0.2},
    }
    del old["array"]["source"]
    table = CostTable.load(_write(tmp_path / "old.json", old))
    assert table.schema_version == 2
    assert table.array.energy_method == "gate-level activity"
    shape = GemmShape(pixels=4, depth=6, outputs=2)
    cost = table.layer_cost(shape, WeightMode.W4)
    today = CostTable.load(_write(tmp_path / "new.json", new)).layer_cost(shape, WeightMode.W4)
    assert cost.energy_pj == today.energy_pj
    assert cost.scratchpad_energy_pj == today.scratchpad_energy_pj
    assert cost.dram_energy_pj is None


def test_malformed_version_1_is_one_line(tmp_path: Path) -> None:
    old = _document() | {"schema_version": 1, "memory": {"source": "a book"}}
    path = _write(tmp_path / "old.json", old)
    with pytest.raises(CostTableError) as error:
        CostTable.load(path)
    assert str(error.value) == (
        f"{path}: memory.scratchpad.read_pj_per_bit.value: must be a valid number, not None; "
        "see docs/cost-table.md"
    )


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
        (_change("array", "modules", to={}), "array: modules must not be empty"),
        (
            _change("clock_period_ns", to=0.9),
            "file: clock_period_ns must be at least the 1.0 ns that array takes, not 0.9",
        ),
        (_change("clock_period_ns", to=-1), "clock_period_ns: must be greater than 0, not -1"),
        (_change("clock_ns", to=1), "clock_ns: is no known field"),
        (_change("schema_version", to=3), "schema_version: must be 2, not 3"),
        (_change("name", to=None), "name: must be a valid string, not None"),
        (
            _change("array", "modules", "pe", "energy_pj", to={"W3": 1.0}),
            "array.modules.pe.energy_pj: weight modes must be some of W2, W4, W6, W8, not W3",
        ),
        (
            _change("array", "modules", "pe", "area_um2", to="big" * 20),
            "array.modules.pe.area_um2: must be a valid number, unable to parse string as a "
            "number, not 'bigbigbigbigbigbigbigbigbigbigbigbig...",
        ),
        (_change("array", "modes", to=["W3"]), "array.modes.0: must be 'W2', 'W4', 'W6' or 'W8',"),
        (_change("array", "modes", to=[]), "array: modes must be at least one of W2, W4, W6, W8"),
        (_change("array", "source", to=""), "array: source must say where the cited figures are"),
        (_change("array", "parameters", "rows", to=0), "array: rows must be from 1 to 256, not 0"),
        (_change("array", to={"modules": {}}), "array.parameters: must be given"),
        (_change("array", to=7), "array: must be an object, not 7"),
        (
            _change("memory", "dram", "read_pj_per_bit", "source", to=""),
            "memory.dram.read_pj_per_bit.source: must have at least 1 character, not ''",
        ),
    ],
)
def test_malformed_table_is_one_line(
    document: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "t.json", document)
    with pytest.raises(CostTableError) as error:
        CostTable.load(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert str(error.value).endswith("; see docs/cost-table.md")
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
    edge = named("edge").array
    assert complete(table.array).config == edge
    compared = {name: complete(cost).config for name, cost in table.baselines.items()}
    assert compared == baselines(edge)
    assert table.unavailable == ()
    assert table.provenance.design_sha256 == design_sha256(edge), "run `make synth`"
    for cost in (table.array, *table.baselines.values()):
        for module in complete(cost).modules.values():
            assert module.model is not None
            assert module.parts is not None
            assert sum(part.area_um2 for part in module.parts.values()) == pytest.approx(
                module.area_um2, rel=1e-4
            )
            for mode in WeightMode:
                spent = sum(part.energy_pj.get(mode.name, 0) for part in module.parts.values())
                assert spent == pytest.approx(module.energy_pj[mode.name], rel=1e-3), (mode, module)
    shipped = (COMMITTED.parents[1] / "operands" / f"{table.provenance.operands}.npz").read_bytes()
    assert table.provenance.operands_sha256 == hashlib.sha256(shipped).hexdigest()


@pytest.mark.parametrize(
    ("name", "floors"),
    [
        ("int8_mac", [(0.80, 0.75), (0.47, 0.38), (0.25, 0.19)]),
        # the design asks 0.95, 0.55 and 0.32 of the energy: missed, as README says
        ("int8_dot", [(1.01, 1.15), (0.61, 0.58), (0.36, 0.29)]),
    ],
)
def test_committed_table_passes_the_floors_of_the_design(
    name: str, floors: list[tuple[float, float]]
) -> None:
    table = CostTable.load(COMMITTED)
    baseline, array = complete(table.baseline(name)), complete(table.array)
    modes = (WeightMode.W8, WeightMode.W4, WeightMode.W2)
    for mode, (energy, area) in zip(modes, floors, strict=True):
        assert array.energy_per_mac_pj(mode) <= energy * baseline.energy_per_mac_pj(mode)
        assert array.area_per_throughput_um2(mode) <= area * baseline.area_per_throughput_um2(mode)


def test_committed_table_clocks_no_slower_than_its_slower_baseline() -> None:
    table = CostTable.load(COMMITTED)
    slower = complete(table.baseline("int8_mac"))
    assert complete(table.array).min_period_ns <= slower.min_period_ns


def test_the_committed_schema_is_that_of_the_records() -> None:
    assert SCHEMA.read_text() == schema_text(), "run `python -m synth.costs.schema`"


def test_every_field_of_the_schema_is_explained() -> None:
    text = (COMMITTED.parents[2] / "docs" / "cost-table.md").read_text()
    schema = json.loads(SCHEMA.read_text())
    records = [schema, *schema["$defs"].values()]
    names = {name for record in records for name in record.get("properties", {})}
    undocumented = {name for name in names if f"`{name}`" not in text and f".{name}`" not in text}
    assert len(names) > 50
    assert undocumented == set()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what jschon calls
def test_the_schema_accepts_tables_and_refuses_unknown_fields_and_modes() -> None:
    create_catalog("2020-12")
    schema = JSONSchema(json.loads(SCHEMA.read_text()))

    def valid(document: Any) -> bool:
        return bool(schema.evaluate(JSON(document)).valid)

    assert valid(json.loads(COMMITTED.read_text()))
    assert valid(_document())
    assert not valid(_change("clock_ns", to=1))
    assert not valid(_change("array", "modules", "pe", "energy_pj", to={"W3": 1.0}))
    assert not valid(_change("array", "modules", "pe", "area_um2", to=-1))
