"""Large images through the library: statistics of many layers in one run, norms, the benchmark."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from typer import Typer
from typer.testing import CliRunner

from hw.precision import WeightMode
from quant import catalogue, models
from quant.batches import inputs_of
from quant.calibrate import calibration_batches
from quant.capture import capture
from quant.catalogue import Preprocessing
from quant.data import ImageSet
from quant.graph import Network
from quant.mobile import MOBILENET_V2, MobileNetwork, Stage
from quant.ptq import network as networks
from quant.ptq.bench import large
from quant.ptq.bench.large_report import markdown
from quant.ptq.bench.photographs import CUT_OUTS, SCENES, photographs
from quant.ptq.network import layer_solutions
from quant.ptq.norms import FloatMoments, follow_float
from quant.ptq.optimise import Method
from quant.ptq.statistics import LayerStatistics
from quant.quant_network import QuantNetwork, uniform_bits

torch.set_num_threads(1)

TINY = replace(
    MOBILENET_V2,
    stages=(
        Stage(expansion=1, outputs=4, repeats=1, stride=1),
        Stage(expansion=2, outputs=6, repeats=2, stride=2),
    ),
    stem=5,
    head=8,
    classes=3,
)
SIZE = 32
SEED = 3


def tiny() -> MobileNetwork:
    return MobileNetwork(TINY)


def lively(model: MobileNetwork) -> MobileNetwork:
    """The network with norms that have something to do."""
    torch.manual_seed(SEED)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.weight.data[1] *= -1  # its sign moves into the weights
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.01, 0.1)  # type: ignore[arg-type]
    return model.eval()


@pytest.fixture(scope="module")
def data() -> ImageSet:
    random = np.random.default_rng(SEED)
    images = random.integers(0, 256, (24, SIZE, SIZE, 3), dtype=np.uint8)
    return ImageSet(images=images, labels=random.integers(0, 3, 24))


@pytest.fixture(scope="module")
def network(data: ImageSet) -> Network:
    torch.manual_seed(SEED)
    return capture(lively(tiny()), inputs_of(data, np.arange(2)))


def test_layers_in_one_run_are_solved_as_one_by_one(
    network: Network, data: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = inputs_of(data, np.arange(len(data)))
    choices = {layer.name: (WeightMode.W4,) for layer in network.layers}
    together = dict(layer_solutions(network, images, choices, method=Method.ACT_ORDER))
    monkeypatch.setattr(networks, "STATISTICS_BYTES", 1)
    alone = dict(layer_solutions(network, images, choices, method=Method.ACT_ORDER))
    assert list(together) == list(alone) == [layer.name for layer in network.layers]
    for name, found in together.items():
        assert torch.equal(found[WeightMode.W4].integers, alone[name][WeightMode.W4].integers)


def test_a_run_has_no_more_statistics_than_allowed(
    network: Network, data: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    collect_all = networks.collect_all

    def watched(
        module: nn.Module, layers: Sequence[tuple[nn.Module, LayerStatistics]], x: torch.Tensor
    ) -> None:
        runs.append(sum(LayerStatistics.size_bytes(s.layer) for _, s in layers))
        collect_all(module, layers, x)

    monkeypatch.setattr(networks, "collect_all", watched)
    monkeypatch.setattr(networks, "STATISTICS_BYTES", 9000)
    images = inputs_of(data, np.arange(2))
    choices = {layer.name: (WeightMode.W8,) for layer in network.layers}
    assert len(dict(layer_solutions(network, images, choices, method=Method.NEAREST))) == 11
    assert 1 < len(runs) < 11
    assert max(runs) <= 9000


def test_statistics_tell_their_size() -> None:
    layer = nn.Conv2d(4, 8, 3, groups=2)
    statistics = LayerStatistics(layer)
    statistics.add(torch.rand(1, 4, 5, 5))
    numbers = statistics.hessian.numel() + statistics.mean.numel()
    assert LayerStatistics.size_bytes(layer) == 8 * numbers


def moments(quantised: nn.Module, data: ImageSet, name: str) -> torch.Tensor:
    """Mean and deviation of what one layer, norm included, gives: float [2, M]."""
    found: list[torch.Tensor] = []
    handle = quantised.get_submodule(name).register_forward_hook(lambda _, __, y: found.append(y))
    with torch.no_grad():
        quantised(inputs_of(data, np.arange(len(data))))
    handle.remove()
    values = found[0].transpose(0, 1).flatten(1)
    return torch.stack([values.mean(dim=1), values.std(dim=1, correction=0)])


def test_norms_give_layers_the_moments_that_they_had_in_float(
    network: Network, data: ImageSet
) -> None:
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W2)).eval()
    pairs = [(layer.name, str(layer.norm)) for layer in network.layers if layer.norm]
    wanted = {a: moments(network.module, data, b) for a, b in pairs}

    def worst() -> float:
        found = {a: moments(quantised.module, data, a) for a in wanted}
        change = [(found[a] - aim)[:, aim[1] > 0] for a, aim in wanted.items()]  # dead ones stay
        return max(float(values.abs().max()) for values in change)

    before = worst()
    follow_float(quantised, FloatMoments(network, inputs_of(data, np.arange(len(data)))))
    assert before > 0.3
    assert worst() < 1e-3


def test_norms_stay_where_nothing_changed(data: ImageSet) -> None:
    model = lively(tiny())
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            steps = (module.weight.data / 1e-2).round().clamp(-127, 127)
            module.weight.data.copy_(steps * 1e-2)
    network = capture(model, inputs_of(data, np.arange(2)))
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W8))
    for _, layer in quantised.quant_layers():
        layer.set_scale(torch.full((len(layer.layer.weight),), 1e-2))
    before = {name: value.clone() for name, value in quantised.state_dict().items()}
    follow_float(quantised, FloatMoments(network, inputs_of(data, np.arange(len(data)))))
    for name, value in quantised.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-4, rtol=1e-4)


def test_no_large_image_comes_twice_in_a_calibration() -> None:
    images = np.arange(30, dtype=np.uint8).repeat(224 * 224 * 3).reshape(30, 224, 224, 3)
    wide = ImageSet(images=images, labels=np.zeros(30, np.int64))
    batches = list(calibration_batches(wide, batches=8, seed=0))
    assert [len(batch) for batch in batches] == [13, 13]
    seen = [round(float(x) * 255) for batch in batches for x in batch[:, 0, 0, 0]]
    assert len(set(seen)) == 26


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """MobileNet-v2 made tiny, for 32 x 32 photographs of 3 classes; returns its weights."""
    entry = replace(
        catalogue.PRETRAINED["mobilenet-v2"],
        preprocessing=Preprocessing(resize=36, crop=SIZE),
        classes=3,
    )
    monkeypatch.setitem(catalogue.PRETRAINED, "mobilenet-v2", entry)
    monkeypatch.setitem(models.REGISTRY, "mobilenet-v2", tiny)
    torch.manual_seed(SEED)
    path = tmp_path / "tiny.safetensors"
    save_file(lively(tiny()).state_dict(), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(SEED)
    for part, count in (("train", 8), ("val", 5)):
        for kind in ("a", "b", "c"):
            place = tmp_path / "photos" / part / kind
            place.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return tmp_path / "photos"


def test_the_benchmark_measures_every_cell_and_resumes(
    small_model: Path, folder: Path, tmp_path: Path
) -> None:
    task = large.Task(
        model="mobilenet-v2",
        weights=small_model,
        data=folder,
        calibration=12,
        held_out=10,
        folder=tmp_path / "steps",
    )
    found = large.measured(task)
    kinds = [(cell["method"], cell["bits"], cell["calibration"]) for cell in found["cells"]]
    assert kinds == list(large.CELLS)
    assert found["calibration"] == 12
    assert found["held_out"] == {"test": 10}
    assert found["layers"] == 11
    by = {(cell["bits"], cell["method"], cell["calibration"]): cell for cell in found["cells"]}
    for method in ("nearest", "act-order", "sensitivity"):
        cell, fewer = by[8, method, "min-max"], by[4, method, "min-max"]
        assert cell["sqnr_db"] > fewer["sqnr_db"] + 3
        assert cell["labelled"] == 10
    ranges = {
        c["sqnr_db"] for c in found["cells"] if c["bits"] == 8 and c["method"] == "sensitivity"
    }
    assert len(ranges) > 2
    (tmp_path / "steps/large-mobilenet-v2-w4-nearest-min-max.safetensors").unlink()
    again = large.measured(task)
    seconds = ("solve_seconds", "statistics_seconds", "calibrate_seconds", "peak_bytes")
    for a, b in zip(found["cells"], again["cells"], strict=True):
        assert {k: v for k, v in a.items() if k not in seconds} == {
            k: v for k, v in b.items() if k not in seconds
        }
    for path in folder.rglob("*.png"):
        path.unlink()  # not needed any more
    assert large.measured(task) == again
    document = {
        "command": "x",
        "machine": "y",
        "limit_bytes": large.LIMIT_BYTES,
        "networks": [again],
    }
    text = markdown(json.loads(json.dumps(document)))
    assert text.count("| W4A8 |") == text.count("| W8A8 |") == 7


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--model", "vgg"], "--model must be one of efficientnet-lite0, mobilenet-v2, not vgg"),
        (["--weights", "x.pth"], "--weights must come with --model"),
        (
            ["--calibration", "1"],
            "--calibration must be at least 2 and --held-out at least 1, not 1 and 200",
        ),
    ],
)
def test_wrong_options_give_one_line(options: list[str], text: str) -> None:
    app = Typer()
    app.command()(large.main)
    found = CliRunner().invoke(app, options)
    assert found.exit_code == 2
    assert found.stderr == f"{text}\n"


def test_photographs_of_packages_are_split_and_labelled(tmp_path: Path) -> None:
    places = {
        "foolbox/data/imagenet_00_243.jpg": 1,
        "foolbox/data/imagenet_01_559.jpg": 1,
        "usr/share/backgrounds/mate/nature/Dune.jpg": 1,
        "usr/share/backgrounds/mate/nature/Wood.jpg": 1,
        **{f"usr/share/tuxpaint/stamps/animals/birds/{i}.png": 1 for i in range(9)},
        "usr/share/tuxpaint/stamps/animals/cartoon/x.png": 0,
        "usr/share/tuxpaint/stamps/animals/birds/0_mirror.png": 0,
        "usr/share/tuxpaint/stamps/symbols/a.png": 0,
    }
    for place in places:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(path)
    found = photographs([tmp_path], Preprocessing(), calibration=4, held_out=6)
    scenes, cut_outs = found.held_out[SCENES], found.held_out[CUT_OUTS]
    assert (len(found.calibration), len(scenes), len(cut_outs)) == (4, 3, 3)
    assert sorted(scenes.labels.tolist()) == [-1, 243, 559]
    used = [*found.calibration.paths, *scenes.paths, *cut_outs.paths]
    assert len(set(used)) == len(used) == 10
    assert {places[str(path.relative_to(tmp_path))] for path in used} == {1}
    assert {s["package"]: s["files"] for s in found.sources}["tuxpaint-stamps-default"] == 9
