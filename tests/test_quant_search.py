"""The command line: a whole search on digits, and one line for each bad input."""

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from typer import Typer
from typer.testing import CliRunner, Result

import quant.search
from hw.cli.config_file import write_config
from hw.config import ArrayConfig
from hw.precision import WeightMode
from quant import methods, workbench
from quant.calibrate import clip, fit_activations
from quant.data import default_folder
from quant.errors import QuantError
from quant.files import save_tensors
from quant.jobs import InProcess, LocalProcesses
from quant.models import build
from quant.options import DEFAULT_TABLE, Options
from quant.qat import QatSettings
from quant.result import COSTS
from quant.rounding import Rounding
from quant.search import app, main
from quant.stopping import INTERRUPTED, TERMINATED
from quant.train import TrainSettings, train
from quant.workbench import Source, Workbench, train_uniform
from synth.table import (
    ArrayCost,
    ArrayParameters,
    Cited,
    CostTable,
    Library,
    MemoryCost,
    MemoryLevel,
    ModuleCost,
    Provenance,
)

torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent
LAYERS = 10
UNPU = ROOT / "docs" / "examples" / "unpu.json"
"""Hardware of others: 4 and 8 bit, cycles and area, no energy."""


def idx(array: NDArray[np.uint8]) -> bytes:
    head = struct.pack(">I", 0x0800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def module(count: int, energy_pj: float) -> ModuleCost:
    return ModuleCost(
        count=count,
        area_um2=100.0,
        sequential_area_um2=40.0,
        min_period_ns=1.0,
        leakage_nw=10.0,
        energy_pj={mode.name: energy_pj for mode in WeightMode},
        idle_energy_pj=0.1,
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ArrayConfig(rows=4, cols=4, lanes=8)
    int8 = config.int8_equivalent()
    path = tmp_path_factory.mktemp("table") / "table.json"
    CostTable(
        name="made up",
        library=Library(
            name="none", node_nm=45, voltage_v=1.1, temperature_c=25.0, corner="typical"
        ),
        clock_period_ns=2.0,
        array=ArrayCost(parameters=ArrayParameters.of(config), modules={"pe": module(16, 1.0)}),
        baselines={
            "int8_mac": ArrayCost(
                parameters=ArrayParameters.of(int8), modules={"pe": module(32, 1.0)}
            )
        },
        memory=MemoryCost(
            scratchpad=MemoryLevel(
                read_pj_per_bit=Cited(value=0.01, source="made up"),
                write_pj_per_bit=Cited(value=0.02, source="made up"),
            )
        ),
        provenance=Provenance(command="none"),
    ).save(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.uint8)
    for part, chosen in (("train", slice(0, 1500)), ("t10k", slice(1500, None))):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[chosen])))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels[chosen]))
    return folder


@pytest.fixture(scope="module")
def weights(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from quant.data import ImageData

    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    model = build("resnet8", seed=0)
    train(
        model, ImageData(data).train, TrainSettings(epochs=3, batch=64, peak_lr=0.1, augment=False)
    )
    save_tensors(dict(model.state_dict()), path, metadata={"seed": "0"})
    return path


@pytest.fixture(autouse=True)
def few_images_for_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are optimised on fewer images, which none of these tests is about."""
    monkeypatch.setattr(workbench, "START_IMAGES", 64)


def search(*options: str) -> Result:
    app = Typer()
    app.command()(main)
    return CliRunner().invoke(app, options, catch_exceptions=False)


@pytest.fixture(scope="module")
def options(data: Path, weights: Path, table: Path) -> list[str]:
    values = {"--data": data, "--weights": weights, "--cost-table": table}
    fixed = ["--workers", "0", "--qat-steps", "40"]
    return [*(str(part) for pair in values.items() for part in pair), *fixed]


def on(path: Path, options: list[str]) -> list[str]:
    """Take another cost table instead; two would be a choice."""
    place = options.index("--cost-table")
    return [*options[: place + 1], str(path), *options[place + 2 :]]


def test_a_whole_search_meets_its_targets_and_writes_all_files(
    options: list[str], tmp_path: Path
) -> None:
    found = search(*options, "--max-drop", "0.1", "--max-size", "0.5", "--out", str(tmp_path))
    assert found.exit_code == 0
    assert "targets met" in found.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.yaml",
        "float.safetensors",
        "folded.safetensors",
        "integer",
        "network.safetensors",
        "pareto.png",
        "quantised.safetensors",
        "result.json",
    ]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["targets"] == {"max_drop": 0.1, "max_size": 0.5}
    assert result["targets_met"] == {"accuracy": True, "size": True, "all": True}
    assert list(result["accuracy"]) == ["float", "searched", "uniform"]
    assert list(result["accuracy"]["uniform"]) == ["2", "4", "8"]
    assert result["accuracy"]["float"] - result["accuracy"]["searched"] <= 0.1
    assert result["accuracy"]["float"] > 0.8
    for cost in (result["cost"]["searched"], result["cost"]["int8_mac"]):
        assert list(cost) == list(COSTS)
        parts = cost["array_energy_pj"] + cost["leakage_energy_pj"]
        assert cost["energy_pj"] == pytest.approx(parts)
        assert cost["scratchpad_energy_pj"] > 0
        assert cost["dram_read_bits"] == cost["size_bits"]
        assert cost["dram_energy_pj"] is cost["memory_energy_pj"] is None  # not in this table
    assert result["objective"] == "energy_pj"
    assert {"cost": "area of scratchpads", "needs": "memory.scratchpad.area_um2_per_bit"} in result[
        "unavailable_costs"
    ]
    uniform = result["cost"]["uniform"]
    assert uniform["8"]["size_bits"] == 4 * uniform["2"]["size_bits"] == 8 * 77_072
    assert result["cost"]["searched"]["size_bits"] <= 0.5 * uniform["8"]["size_bits"]
    assert sum(v["chosen"] for v in result["visits"]) == 1
    assert len(result["provenance"]["data_sha256"]) == 4
    integers = load_file(tmp_path / "quantised.safetensors")
    assert len(result["allocation"]) == LAYERS
    for name, bits in result["allocation"].items():
        weight = integers[f"{name}.weight"]
        mode = WeightMode.from_bits(bits)
        assert weight.dtype == torch.int8
        assert mode.min <= int(weight.min()) <= int(weight.max()) <= mode.max
        assert integers[f"{name}.bias_integer"].dtype == torch.int32


def test_a_search_runs_with_a_hand_written_table_of_other_hardware(
    options: list[str], tmp_path: Path
) -> None:
    targets = ["--max-drop", "0.5", "--max-size", "0.6", "--qat-steps", "4"]
    found = search(*on(UNPU, options), *targets, "--out", str(tmp_path))
    assert found.exit_code == 0
    text = " ".join(found.stdout.split())
    assert "unavailable in unpu: energy_pj at W4: needs array.energy_per_mac_pj.W4" in text
    assert (tmp_path / "pareto.png").stat().st_size > 10_000
    result = json.loads((tmp_path / "result.json").read_text())
    assert {"cost": "energy_pj at W8", "needs": "array.energy_per_mac_pj.W8"} in result[
        "unavailable_costs"
    ]
    assert result["objective"] == "latency_ns"
    # only the modes of the table are used
    assert {*result["allocation"].values()} <= {4, 8}
    assert {bits for visit in result["visits"] for bits in visit["bits"]} == {4, 8}
    assert list(result["cost"]) == ["searched", "uniform"]
    assert list(result["cost"]["uniform"]) == ["4", "8"]
    eight = result["cost"]["uniform"]["8"]
    assert eight["energy_pj"] is eight["scratchpad_energy_pj"] is None
    # each layer at 1728 MACs a cycle and 5 ns
    macs = [layer["macs"] for layer in result["layers"]]
    assert eight["cycles"] == sum(-(-count // 1728) for count in macs)
    assert eight["latency_ns"] == 5 * eight["cycles"]


def test_a_search_runs_with_a_table_that_knows_an_area_only(
    options: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "area.json"
    array = {"name": "e", "source": "a book", "area_um2": 1.0, "modes": ["W2", "W4"]}
    path.write_text(json.dumps({"name": "area", "array": array}))
    tight = ["--max-drop", "0.9", "--max-size", "0.3", "--qat-steps", "4"]
    out = tmp_path / "out"
    found = search(*on(path, options), *tight, "--out", str(out))
    assert found.exit_code == 0
    result = json.loads((out / "result.json").read_text())
    assert result["objective"] == "size_bits"
    assert list(result["cost"]["uniform"]) == ["2", "4"]
    assert result["visits"][0]["bits"] == [4] * LAYERS
    assert result["cost"]["searched"]["cycles"] is None
    assert (out / "pareto.png").stat().st_size > 10_000


def test_a_size_below_what_the_hardware_can_ends_untrained_with_the_smallest(
    options: list[str], tmp_path: Path
) -> None:
    found = search(*on(UNPU, options), "--out", str(tmp_path))
    assert found.exit_code == 3
    text = " ".join(found.stdout.split())
    assert "max_size missed; smallest reachable: 308.3 kbit" in text
    result = json.loads((tmp_path / "result.json").read_text())
    assert [visit["label"] for visit in result["visits"]] == ["smallest size"]
    assert {*result["allocation"].values()} == {4}
    (budget,) = result["budgets"]
    assert budget["limit"] == 0.4 * 8 * 77_072
    assert budget["smallest_reachable"] == budget["value"] == 4 * 77_072
    assert budget["met"] is result["targets_met"]["size"] is False


def test_an_unreachable_target_ends_with_status_3_and_the_best_found(
    options: list[str], tmp_path: Path
) -> None:
    tight = ["--max-drop", "0", "--max-size", "0.25", "--qat-steps", "4", "--rounding", "nearest"]
    found = search(*options, *tight, "--out", str(tmp_path))
    assert found.exit_code == 3
    assert "targets NOT met" in found.stdout
    assert "max_drop missed; smallest drop reached on validation images: " in found.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["targets_met"]["all"] is False
    best = max(visit["validation_accuracy"] for visit in result["visits"])
    least = result["validation_accuracy"]["float"] - best
    assert result["smallest_validation_drop"] == pytest.approx(least, abs=1e-12)
    assert len(result["allocation"]) == LAYERS


def test_jobs_give_the_same_in_this_process_and_in_another(
    data: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # another process knows nothing of it
    source = Source(model="resnet8", weights=weights, data=data)
    settings = QatSettings(steps=3, seed=7)
    results = []
    for jobs in (InProcess(), LocalProcesses(1)):
        with jobs:
            results.append(
                jobs.submit(train_uniform, source, WeightMode.W2, settings).result(timeout=60)
            )
    (here, accuracy_here), (there, accuracy_there) = results
    assert accuracy_here == accuracy_there
    assert here.ranges == there.ranges
    assert all(torch.equal(here.state[name], there.state[name]) for name in here.state)


def test_keeping_the_best_never_loses_validation_accuracy(data: Path, weights: Path) -> None:
    bench = Workbench(Source(model="resnet8", weights=weights, data=data))
    bits = {layer.name: WeightMode.W8 for layer in bench.network.layers}
    quantised = bench.calibrated(bits, seed=0)
    before = bench.validation_accuracy(quantised)
    kept = bench.train_keeping_best(quantised, QatSettings(steps=3, peak_lr=10.0))
    assert kept == before == bench.validation_accuracy(quantised)


def test_networks_start_from_optimised_weights_unless_rounded(data: Path, weights: Path) -> None:
    found = {}
    for rounding in Rounding:
        bench = Workbench(Source(model="resnet8", weights=weights, data=data, rounding=rounding))
        bits = {layer.name: WeightMode.W2 for layer in bench.network.layers}
        quantised = bench.calibrated(bits, seed=0)
        plain = bench.quantised(bits)
        if rounding is Rounding.NEAREST:
            assert bench.starts(0) is None
        else:
            assert bench.starts(0) is bench.starts(0)
            bench.start(plain, bits, seed=0)
        for name, layer in quantised.quant_layers():
            assert (layer.integers().weight == plain.layer(name).integers().weight).all()
        found[rounding] = bench.validation_accuracy(quantised)
        # batch norms take up what quantisation changed
        with torch.no_grad():
            x = bench.example
            expected = bench.teacher(x)
            fit_activations(plain, bench.train_set)
            assert (quantised(x) - expected).norm() < (plain(x) - expected).norm()
    assert found[Rounding.SENSITIVITY] > found[Rounding.NEAREST]


def test_ranges_of_fewer_bits_are_those_of_the_whole_image(data: Path, weights: Path) -> None:
    bench = Workbench(Source(model="resnet8", weights=weights, data=data))
    quantised = bench.rounded({n.name: WeightMode.W8 for n in bench.network.layers}, seed=0)
    ranges = bench.act_ranges(quantised, 4, seed=0)
    (image,) = bench.network.images
    assert ranges[image].bits == 8
    assert {found.bits for tensor, found in ranges.items() if tensor != image} == {4}
    fit_activations(quantised, bench.train_set, percentile=clip(4))
    for tensor, found in ranges.items():
        eight = quantised.act_quantizer(tensor).range
        assert eight is not None
        assert found.scale * found.largest == pytest.approx(eight.scale * 255, rel=1e-5)


def refused(*options: str) -> str:
    """Run the real command; returns its one line on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "quant.search", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    return done.stderr.rstrip("\n")


@pytest.mark.parametrize("value", ["nan", "-0.5"])
def test_an_impossible_drop(value: str) -> None:
    assert refused("--max-drop", value) == (
        f"max_drop must be from 0 (no loss, the smallest that can be asked) to below 1, not {value}"
    )


def test_an_unknown_model() -> None:
    assert refused("--model", "vgg") == (
        "model must be one of resnet8, dscnn, efficientnet-lite0, mobilenet-v2, or module:factory, "
        "or FILE.onnx, not vgg"
    )


def test_a_missing_table(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    assert refused("--cost-table", str(path)) == (
        f"{path}: cannot read the cost table (No such file or directory); run `make synth` or "
        "name one with --cost-table"
    )


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_truncated_images(part: str, data: Path, table: Path, tmp_path: Path) -> None:
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / f"{part}-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    line = refused("--data", str(tmp_path), "--cost-table", str(table))
    assert line.startswith(f"{path}: ")
    assert line.endswith(
        "run `apt-get install dataset-fashion-mnist` or name a folder with --data FOLDER "
        "(`make search DATA=folder`)"
    )


def test_weights_of_another_network(data: Path, table: Path, weights: Path) -> None:
    options = ["--model", "dscnn", "--weights", str(weights), "--data", str(data)]
    assert refused(*options, "--cost-table", str(table)) == (
        f"{weights}: weights must fit dscnn, not another network; make them with "
        "`python -m quant.train --model dscnn --out FILE`"
    )


def test_too_few_training_steps(table: Path) -> None:
    assert refused("--qat-steps", "1", "--cost-table", str(table)) == (
        "qat_steps must be at least 2, not 1"
    )


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)]
)
def test_a_search_stopped_before_it_began_leaves_nothing(
    number: signal.Signals, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quant.search, "open_data", lambda *_: os.kill(os.getpid(), number))
    done = search("--out", str(tmp_path / "run"))
    assert done.exit_code == status
    assert done.stderr == "stopped before anything was done\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", ["", "--ptq-only", "--map map.json", "--pareto size --points 3"])
def test_what_a_configuration_implies_does_not_stand_in_the_way_of_other_options(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("map.json").write_text('{"stem": 4}')
    default = Options()
    write_config(
        Path("c.yaml"), command="search", values=default.given(), implied=default.implied()
    )
    text = Path("c.yaml").read_text()
    assert text.endswith(
        f"# It follows:\n# data: {default_folder()}\n# method: sigmaquant\n# buffer: balanced\n"
        "# scales: min-max\n"
        "# max-size: '0.4'\n"
    )

    def past_the_options(*_: object) -> None:
        raise QuantError("all options are right")

    monkeypatch.setattr(quant.search, "open_data", past_the_options)
    done = CliRunner().invoke(app, ["--config", "c.yaml", *more.split()])
    assert (done.exit_code, done.stderr) == (2, "all options are right\n")


def test_the_default_table_is_the_committed_one() -> None:
    assert DEFAULT_TABLE == ROOT / "synth" / "tables" / "nangate45-default.json"


@pytest.mark.parametrize(
    "method",
    [
        ["--method", "milp", "--sensitivity", "hessian"],
        ["--method", "milp", "--sensitivity", "fisher"],
        ["--method", "milp", "--sensitivity", "kl"],
        ["--method", "greedy"],
        ["--method", "auto"],
        ["--method", "uniform"],
        ["--method", "sigmaquant"],
    ],
    ids=lambda method: "-".join(method[1::2]),
)
def test_every_method_keeps_limits_of_any_mix_without_training(
    options: list[str], method: list[str], tmp_path: Path
) -> None:
    limits = ["--max-energy", "0.6", "--max-latency", "90%", "--max-drop", "0.9"]
    uniform = [] if "greedy" in method else ["--no-uniform"]
    found = search(*options, "--ptq-only", *method, *limits, *uniform, "--out", str(tmp_path))
    assert found.exit_code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    searched = result["cost"]["searched"]
    energy, latency = result["budgets"]
    assert (energy["resource"], latency["resource"]) == ("energy", "latency")
    assert searched["energy_pj"] == energy["value"] <= energy["limit"]
    assert searched["latency_ns"] == latency["value"] <= latency["limit"]
    for eight in (result["cost"]["uniform"]["8"],) if not uniform else ():
        assert energy["limit"] == pytest.approx(0.6 * eight["energy_pj"])
        assert latency["limit"] == pytest.approx(0.9 * eight["latency_ns"])
    assert result["method"] == method[1]
    assert result["targets"] == {"max_drop": 0.9, "max_energy": 0.6, "max_latency": 0.9}
    assert result["provenance"]["qat"]["total_steps"] == 0


def test_auto_may_aim_at_accuracy(options: list[str], tmp_path: Path) -> None:
    limits = ["--ptq-only", "--max-size", "0.6", "--max-drop", "0.9", "--no-uniform"]
    found = {}
    for name, method in (
        ("milp", ["--method", "milp"]),
        ("uniform", ["--method", "uniform"]),
        ("cost", ["--method", "auto"]),
        ("accuracy", ["--method", "auto", "--aim", "accuracy"]),
    ):
        out = tmp_path / name
        assert search(*options, *limits, *method, "--out", str(out)).exit_code == 0
        found[name] = json.loads((out / "result.json").read_text())
    nats = {
        name: sum(layer["sensitivity"] for layer in found[name]["layers"])
        for name in ("milp", "accuracy")
    }
    energy = {name: result["cost"]["searched"]["energy_pj"] for name, result in found.items()}
    assert energy["cost"] < energy["accuracy"] <= energy["milp"]
    first = found["cost"]["visits"][0]["energy_pj"]  # halfway up from uniform 2 bit
    assert first <= (energy["uniform"] + energy["accuracy"]) / 2
    assert nats["milp"] <= nats["accuracy"] <= nats["milp"] + methods.SLACK_NATS
    assert "# aim: cost\n" in (tmp_path / "cost" / "config.yaml").read_text()


def test_a_map_is_replayed_and_gets_all_training_steps(options: list[str], tmp_path: Path) -> None:
    names = [layer.name for layer in Workbench(source_of(options)).network.layers]
    bits = {name: (4, 6)[i % 2] for i, name in enumerate(reversed(names))}
    path = tmp_path / "bits.json"
    path.write_text(json.dumps(bits))
    more = ["--map", str(path), "--max-size", "1", "--max-drop", "0.9", "--qat-steps", "4"]
    more += ["--no-uniform"]
    assert search(*options, *more, "--out", str(tmp_path / "out")).exit_code == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["allocation"] == bits
    assert list(result["allocation"]) == names
    assert [visit["label"] for visit in result["visits"]] == ["map", "final training"]
    assert result["provenance"]["qat"]["total_steps"] == 4


def test_modes_and_the_policy_of_first_and_last_layer_are_kept(
    options: list[str], tmp_path: Path
) -> None:
    more = ["--modes", "2,4", "--first-last", "8", "--max-drop", "0.9", "--qat-steps", "20"]
    search(*options, *more, "--max-size", "0.5", "--no-uniform", "--out", str(tmp_path))
    result = json.loads((tmp_path / "result.json").read_text())
    for visit in result["visits"]:
        assert visit["bits"][0] == visit["bits"][-1] == 8
        assert {*visit["bits"][1:-1]} <= {2, 4}


def test_a_front_is_walked_in_one_run(options: list[str], tmp_path: Path) -> None:
    more = ["--pareto", "energy", "--points", "4", "--ptq-only", "--max-size", "1"]
    found = search(*options, *more, "--max-drop", "0.9", "--out", str(tmp_path))
    assert found.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.yaml",
        "front.csv",
        "front.json",
        "front.png",
    ]
    front = json.loads((tmp_path / "front.json").read_text())
    energies = [point["energy_pJ"] for point in front["points"]]
    assert energies == sorted(energies)
    assert 2 <= len(energies) <= 4
    assert front["points"][0]["bits"] == " ".join(["2"] * LAYERS)
    assert len((tmp_path / "front.csv").read_text().splitlines()) == 1 + len(energies)


def source_of(options: list[str]) -> Source:
    given = dict(zip(options[::2], options[1::2], strict=True))
    return Source(model="resnet8", weights=Path(given["--weights"]), data=Path(given["--data"]))


def test_two_tables_and_an_area_that_only_one_keeps(
    options: list[str], table: Path, tmp_path: Path
) -> None:
    large = json.loads(table.read_text())
    large["name"] = "large"
    large["array"]["modules"]["pe"]["area_um2"] = 1e6
    path = tmp_path / "large.json"
    path.write_text(json.dumps(large))
    more = ["--cost-table", str(path), "--max-area", "0.01mm2", "--max-drop", "0.9"]
    more += ["--no-uniform"]
    found = search(*options, *more, "--ptq-only", "--method", "milp", "--out", str(tmp_path / "o"))
    assert found.exit_code == 0
    result = json.loads((tmp_path / "o" / "result.json").read_text())
    assert result["hardware"]["table"] == "made up"
    (area,) = result["budgets"]
    assert area == {
        "resource": "area",
        "unit": "um2",
        "limit": 1e4,
        "value": 1600.0,
        "smallest_reachable": 1600.0,
        "met": True,
    }
    assert result["provenance"]["cost_table"]["file"] == table.name


LOW = ["--max-bops", "0.2", "--max-drop", "0.9", "--ptq-only", "--no-uniform"]
"""Below the 0.25 of 2-bit weights with 8-bit activations."""


@pytest.mark.parametrize("method", ["milp", "greedy", "auto", "uniform", "sigmaquant"])
def test_activations_go_to_4_bit_where_a_budget_needs_it_and_the_request_allows_it(
    options: list[str], method: str, tmp_path: Path
) -> None:
    given = [*options, *LOW, "--method", method, "--act-bits", "8,4"]
    assert search(*given, "--out", str(tmp_path)).exit_code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["activations"].values()) == {4, 8}
    assert result["activations"]["x"] == 8
    assert result["visits"][-1]["activations"] == result["activations"]
    network = Workbench(source_of(options)).network
    assert {n.name: result["activations"][n.source] for n in network.layers} == {
        layer["name"]: layer["act_bits"] for layer in result["layers"]
    }
    bops = [layer["bits"] * layer["act_bits"] * layer["macs"] for layer in result["layers"]]
    assert bops == [layer["bops"] for layer in result["layers"]]
    (budget,) = result["budgets"]
    assert budget["value"] == pytest.approx(sum(bops))
    assert budget["limit"] == pytest.approx(0.2 * sum(64 * n["macs"] for n in result["layers"]))
    tensors = load_file(tmp_path / "quantised.safetensors")
    assert {t: int(tensors[f"act.{t}.bits"]) for t in result["activations"]} == result[
        "activations"
    ]


def test_without_leave_for_4_bit_activations_the_same_budget_is_out_of_reach(
    options: list[str], tmp_path: Path
) -> None:
    found = search(*options, *LOW, "--method", "milp", "--out", str(tmp_path))
    assert found.exit_code == 3
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["activations"].values()) == {8}
    (budget,) = result["budgets"]
    assert budget["smallest_reachable"] / budget["limit"] == pytest.approx(0.25 / 0.2)


def test_a_result_with_4_bit_activations_is_replayed_by_its_map(
    options: list[str], tmp_path: Path
) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    search(*options, *LOW, "--method", "milp", "--act-bits", "8,4", "--out", str(first))
    path = first / "result.json"
    assert search(*options, *LOW, "--map", str(path), "--out", str(again)).exit_code == 0
    expected, found = (json.loads((f / "result.json").read_text()) for f in (first, again))
    for key in ("allocation", "activations", "accuracy", "cost", "layers", "budgets"):
        if key == "layers":  # a replay measures no sensitivity
            for layer in expected["layers"]:
                del layer["sensitivity"]
        assert found[key] == expected[key], key


def test_one_number_of_activation_bits_holds_for_all_but_the_image(
    options: list[str], tmp_path: Path
) -> None:
    more = ["--act-bits", "4", "--max-size", "1", "--max-drop", "0.9", "--qat-steps", "4"]
    found = search(*options, *more, "--method", "uniform", "--out", str(tmp_path))
    assert found.exit_code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert {t for t, bits in result["activations"].items() if bits == 8} == {"x"}
    assert result["validation_accuracy"]["uniform"]["2"] == pytest.approx(
        result["validation_accuracy"]["searched"]
    )
    assert result["allocation"] == dict.fromkeys(result["allocation"], 2)


def test_an_array_of_4_bit_activations_has_4_bit_images(
    options: list[str], table: Path, tmp_path: Path
) -> None:
    narrow = json.loads(table.read_text())
    narrow["array"]["parameters"]["act_bits"] = 4
    path = tmp_path / "narrow.json"
    path.write_text(json.dumps(narrow))
    more = ["--max-size", "1", "--max-drop", "0.9", "--ptq-only", "--method", "milp"]
    found = search(*on(path, options), *more, "--no-uniform", "--out", str(tmp_path / "out"))
    assert found.exit_code == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert set(result["activations"].values()) == {4}
    tensors = load_file(tmp_path / "out" / "quantised.safetensors")
    assert {
        int(v) for name, v in tensors.items() if name.endswith(".bits") and name[:4] == "act."
    } == {4}


def test_a_front_may_choose_the_bits_of_activations(options: list[str], tmp_path: Path) -> None:
    more = ["--pareto", "size", "--points", "3", "--ptq-only", *LOW[:4], "--act-bits", "8,4"]
    search(*options, *more, "--out", str(tmp_path))
    front = json.loads((tmp_path / "front.json").read_text())
    assert front["points"]
    for point in front["points"]:
        assert len(point["act_bits"].split()) == len(front["activations"])
        assert "4" in point["act_bits"].split()


def test_a_report_is_made_of_a_search_and_of_a_front(options: list[str], tmp_path: Path) -> None:
    from rich.console import Console

    from quant.integer_check import check
    from quant.report.__main__ import app

    table = options[options.index("--cost-table") + 1]
    options = [*options[: options.index("--qat-steps")], "--ptq-only", "--workers", "0"]
    found, front = tmp_path / "found", tmp_path / "front"
    search(*options, "--method", "uniform", "--max-drop", "0.5", "--out", str(found))
    search(*options, "--pareto", "size", "--points", "2", "--max-drop", "0.5", "--out", str(front))
    assert json.loads((found / "result.json").read_text())["version"] == 1
    digests = json.loads((front / "front.json").read_text())["provenance"]["data_sha256"]
    check(found, None, Console(quiet=True))
    page = tmp_path / "page.html"
    arguments = [str(found), str(front), "--cost-table", table, "-o", str(page)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert len(digests) == 4
    assert all(text.count(digest) == 2 for digest in digests.values())
    result = json.loads((found / "result.json").read_text())
    assert f'<data value="{result["cost"]["searched"]["energy_pj"]!r}">' in text
    accuracy = f"{100 * result['accuracy']['searched']:.2f}"
    assert f"297 test images are equal; accuracy of the integers {accuracy} %." in text
