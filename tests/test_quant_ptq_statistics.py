"""Layer statistics against plain loops, and what bad ones do."""

import copy
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quant import threads
from quant.errors import QuantError
from quant.ptq import network
from quant.ptq import statistics as module
from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.network import BATCH
from quant.ptq.optimise import Method, OptimisedWeights, matrix, optimise, output_error
from quant.ptq.statistics import LayerStatistics, output_moments

torch.set_num_threads(1)


def _layers() -> dict[str, nn.Conv2d | nn.Linear]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {
            "plain": nn.Conv2d(4, 6, 3, padding=1),
            "strided": nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 1)),
            "dilated": nn.Conv2d(4, 6, 3, padding=2, dilation=2),
            "grouped": nn.Conv2d(4, 6, 3, groups=2),
            "depthwise": nn.Conv2d(4, 4, 3, padding=1, groups=4),
            "linear": nn.Linear(5, 3),
        }


LAYERS = _layers()


def inputs_of(layer: nn.Module, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 5) if isinstance(layer, nn.Linear) else (count, 4, 6, 7)
    return torch.randn(shape, generator=generator, dtype=torch.float64).float()


def grid_of(layer: nn.Module, bits: int) -> WeightGrid:
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    return WeightGrid.symmetric(matrix(layer.weight), IntegerRange(bits=bits, narrow=False))


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_hessian_and_mean_predict_the_outputs(layer: nn.Conv2d | nn.Linear) -> None:
    x = inputs_of(layer, 5)
    statistics = LayerStatistics(layer)
    statistics.add(x[:2])
    statistics.add(x[2:])
    weight = layer.weight.detach().double()
    y = _outputs(layer, weight, x.double())
    outputs = y.movedim(1, 0).reshape(len(weight), -1)  # [M, n]
    rows = weight.reshape(statistics.groups, -1, statistics.mean.shape[1])  # [groups, M', K]
    means = (rows @ statistics.mean[:, :, None]).flatten()
    squares = ((rows @ statistics.hessian) * rows).sum(dim=2).flatten()
    assert statistics.count == outputs.shape[1]
    torch.testing.assert_close(means, outputs.mean(dim=1))
    torch.testing.assert_close(squares, outputs.square().mean(dim=1))


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_pieces_of_a_batch_add_up(
    layer: nn.Conv2d | nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = inputs_of(layer, 7)
    whole, pieces = LayerStatistics(layer), LayerStatistics(layer)
    whole.add(x)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    pieces.add(x)
    assert whole.count == pieces.count
    torch.testing.assert_close(whole.hessian, pieces.hessian)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("method", [m for m in Method if m is not Method.NEAREST])
def test_every_group_is_optimised_on_its_own_inputs(
    layer: nn.Conv2d | nn.Linear, method: Method
) -> None:
    statistics = LayerStatistics(layer)
    x = inputs_of(layer, 8)
    x[:, 1:] += 2 * x[:, :1]  # correlated channels
    statistics.add(x)
    grid = grid_of(layer, 3)  # at 2 bit clipping may cost GPTQ more than it gains
    found = optimise(layer.weight, statistics, grid, method)
    nearest = optimise(layer.weight, statistics, grid, Method.NEAREST)
    assert found.integers.shape == layer.weight.shape
    assert _output_change(layer, found, x) <= _output_change(layer, nearest, x) * 1.001
    expected = _output_change(layer, found, x) / _signal(layer, x)
    assert output_error(layer.weight, found, statistics) == pytest.approx(expected, rel=1e-4)


def _outputs(layer: nn.Conv2d | nn.Linear, weight: Tensor, x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return torch.nn.functional.linear(x, weight)
    return torch.nn.functional.conv2d(
        x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
    )


def _output_change(layer: nn.Conv2d | nn.Linear, found: OptimisedWeights, x: Tensor) -> float:
    return float(_outputs(layer, found.values() - layer.weight.detach(), x).square().sum())


def _signal(layer: nn.Conv2d | nn.Linear, x: Tensor) -> float:
    return float(_outputs(layer, layer.weight.detach(), x).square().sum())


@pytest.mark.parametrize("method", Method, ids=lambda method: method.value)
def test_columns_without_input_are_rounded_to_nearest(method: Method) -> None:
    layer = nn.Linear(5, 3)
    x = inputs_of(layer, 20)
    x[:, 1] = 0
    x[:, 3] = 0
    statistics = LayerStatistics(layer)
    statistics.add(x)
    grid = grid_of(layer, 3)
    nearest = optimise(layer.weight, statistics, grid, Method.NEAREST).integers
    found = optimise(layer.weight, statistics, grid, method).integers
    assert torch.equal(found[:, [1, 3]], nearest[:, [1, 3]])


@pytest.mark.parametrize("method", Method, ids=lambda method: method.value)
def test_black_images_give_rounding_to_nearest(method: Method) -> None:
    layer = nn.Conv2d(2, 3, 3)
    statistics = LayerStatistics(layer)
    statistics.add(torch.zeros(4, 2, 5, 5))
    grid = grid_of(layer, 4)
    found = optimise(layer.weight, statistics, grid, method)
    nearest = optimise(layer.weight, statistics, grid, Method.NEAREST)
    assert torch.equal(found.integers, nearest.integers)
    assert output_error(layer.weight, found, statistics) == 0.0


@pytest.mark.parametrize("method", Method, ids=lambda method: method.value)
def test_one_image_of_one_pixel_is_enough_to_go_on(method: Method) -> None:
    layer = nn.Linear(6, 4)
    statistics = LayerStatistics(layer)
    statistics.add(inputs_of(nn.Linear(5, 1), 1)[:, [0, 1, 2, 3, 4, 4]])
    grid = grid_of(layer, 4)
    found = optimise(layer.weight, statistics, grid, method)
    assert output_error(layer.weight, found, statistics) < 0.1


class InPlace(nn.Module):
    """What five layers read is halved in place after each."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(LAYERS["plain"]) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        y = torch.zeros(1)
        for layer in self.layers:
            y = y + layer(x)
            x.mul_(0.5)
        return y

    def statistics(self) -> list[tuple[nn.Module, LayerStatistics]]:
        return [(m, LayerStatistics(m, "layer")) for m in self.layers if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("size", [BATCH, BATCH // 2], ids=["small", "large"])
def test_threads_take_the_statistics_that_one_takes(
    count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, by = LayerStatistics.add, set()

    def late(self: LayerStatistics, inputs: Tensor) -> None:
        time.sleep(0.01)  # the network goes on meanwhile
        by.add(threading.get_ident())
        add(self, inputs)

    monkeypatch.setattr(threads, "cores", lambda: count)
    monkeypatch.setattr(network, "at_once", lambda shape, most: size)
    monkeypatch.setattr(LayerStatistics, "add", late)
    images = inputs_of(LAYERS["plain"], 3 * BATCH + 5)
    net = InPlace().eval()
    found = net.statistics()
    network.collect_all(net, found, images)
    assert (by == {threading.get_ident()}) is (count == 1 or size < BATCH)
    for place, (_, seen) in enumerate(found):
        (_, expected) = net.statistics()[place]
        for batch in torch.split(images, size):
            add(expected, batch * 0.5**place)
        assert seen.count == expected.count
        assert torch.equal(seen.hessian, expected.hessian)
        assert torch.equal(seen.mean, expected.mean)


def test_an_error_in_a_thread_ends_the_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    net = InPlace().eval()
    images = inputs_of(LAYERS["plain"], 2 * BATCH)
    images[3] = torch.nan
    with pytest.raises(QuantError, match=r"^layer: inputs must be finite, not infinite or NaN; "):
        network.collect_all(net, net.statistics(), images)
    assert not any(layer._forward_pre_hooks for layer in net.layers)


def test_a_layer_never_reached_is_named() -> None:
    layer = nn.Linear(2, 2)
    statistics = LayerStatistics(layer, "head.fc")
    with pytest.raises(QuantError) as error:
        optimise(layer.weight, statistics, grid_of(layer, 4), Method.GPTQ)
    assert str(error.value) == (
        "head.fc: layer must be reached by a calibration image, not by none; give other "
        "images, or take the layer out of the network"
    )
    nearest = optimise(layer.weight, statistics, grid_of(layer, 4), Method.NEAREST)
    assert nearest.integers.shape == (2, 2)


def test_weights_and_inputs_that_are_not_finite_are_named() -> None:
    layer = nn.Linear(2, 2)
    statistics = LayerStatistics(layer, "fc")
    with pytest.raises(QuantError) as error:
        statistics.add(torch.tensor([[1.0, float("inf")]]))
    assert str(error.value) == (
        "fc: inputs must be finite, not infinite or NaN; check the network's weights and the images"
    )
    statistics.add(torch.ones(1, 2))
    grid = grid_of(layer, 4)
    weight = layer.weight.detach().clone()
    weight[0, 0] = float("nan")
    with pytest.raises(QuantError) as error:
        optimise(weight, statistics, grid, Method.GPTQ)
    assert str(error.value) == (
        "fc: weights must be finite, not infinite or NaN; take a network whose training did not "
        "diverge"
    )


@pytest.mark.parametrize("method", [m for m in Method if m is not Method.NEAREST])
def test_inputs_too_large_to_square_are_named(method: Method) -> None:
    layer = nn.Linear(2, 2).double()
    statistics = LayerStatistics(layer, "fc")
    statistics.add(torch.tensor([[1e200, 1.0]], dtype=torch.float64))
    with pytest.raises(QuantError) as error:
        optimise(layer.weight, statistics, grid_of(layer, 4), method)
    assert str(error.value) == (
        "fc: mean square of the inputs must be finite, not infinite or NaN; check the network's "
        "weights and the images"
    )


@pytest.mark.parametrize(
    ("padding", "mode"), [(1, "reflect"), ((2, 1), "circular"), ("same", "zeros"), (1, "replicate")]
)
def test_every_padding_is_that_of_the_layer(padding: Any, mode: Any) -> None:
    layer = nn.Conv2d(4, 4, 3, padding=padding, padding_mode=mode)
    statistics = LayerStatistics(layer)
    x = inputs_of(layer, 9)
    statistics.add(x)
    mean, _ = output_moments(layer.weight.double(), statistics)
    assert layer.bias is not None
    expected = layer(x).detach().mean(dim=(0, 2, 3)) - layer.bias.detach()
    torch.testing.assert_close(mean.float(), expected, atol=1e-5, rtol=1e-4)


def test_statistics_are_float64_and_do_not_grow_with_the_images() -> None:
    layer = nn.Conv2d(4, 4, 3, groups=4)
    statistics = LayerStatistics(layer)
    for seed in range(3):
        statistics.add(inputs_of(layer, 2, seed))
    assert statistics.hessian.dtype == torch.float64
    assert statistics.hessian.shape == (4, 9, 9)
    assert np.allclose(statistics.hessian, statistics.hessian.transpose(1, 2))
