"""What weights of few bits are given back: norms, biases, steps, AdaRound of groups."""

from typing import Any

import numpy as np
import pytest
import torch

from hw.precision import WeightMode
from quant.graph import trace
from quant.ptq.adaround import adaround
from quant.ptq.fit import SHARES, fitted
from quant.ptq.frames import frame_of
from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.network import collected
from quant.ptq.norms import FloatMoments, follow_float
from quant.ptq.optimise import Method
from quant.ptq.recipe import Norms, Recipe
from quant.ptq.schemes import WeightScheme
from quant.ptq.sensitivity import sensitivity
from quant.ptq.solve import solve
from quant.ptq.statistics import LayerStatistics
from quant.quant_network import QuantNetwork, uniform_bits

torch.set_num_threads(1)


def test_norms_follow_what_became_of_the_weights() -> None:
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(4)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, bias=False), norm, torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(144, 3),
    )  # fmt: skip
    assert norm.running_mean is not None
    with torch.no_grad():
        norm.weight[2] = -1.0
        norm.running_mean.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    network = trace(model.eval(), torch.zeros(1, 1, 8, 8))
    images = torch.rand(40, 1, 8, 8)
    quantised = QuantNetwork(network, uniform_bits(network, WeightMode.W8)).eval()
    layer = quantised.layer("0")
    assert layer.norm is not None
    layer.start_from(layer.layer.weight.detach() * 0.75, torch.full((4,), 0.002))
    follow_float(quantised, FloatMoments(network, images))
    # outputs are 0.75 times what they were, so a norm of 0.75 times the statistics gives the same
    sign = torch.tensor([1.0, 1.0, -1.0, 1.0])
    start = torch.tensor([0.1, 0.2, 0.3, 0.4])
    torch.testing.assert_close(layer.norm.running_mean, 0.75 * sign * start, atol=3e-3, rtol=0)
    torch.testing.assert_close(layer.norm.running_var, torch.full((4,), 0.75**2), atol=8e-3, rtol=0)
    plain = network.module.get_submodule("1").running_mean
    assert isinstance(plain, torch.Tensor)
    assert torch.equal(plain, start)  # the float network is left as it is


@pytest.mark.parametrize("scheme", WeightScheme, ids=lambda scheme: scheme.value)
def test_bias_correction_gives_the_mean_of_every_output_back(scheme: WeightScheme) -> None:
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(4)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, bias=False), norm, torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(144, 3, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        norm.weight[2] = -1.0
    network = trace(model.eval(), torch.zeros(1, 1, 8, 8))
    images = torch.rand(40, 1, 8, 8)
    recipe = Recipe(
        method=Method.NEAREST,
        scheme=scheme,
        act_bits=None,
        norms=Norms.KEPT,
        bias_correction=True,
    )
    frame = frame_of(network, {"0": 3, "4": 2}, recipe)
    for name, statistics in collected(network, ["0", "4"], images).items():
        solution = solve(frame.weight(name), statistics, frame.grid(name), recipe)
        assert float(solution.shift.abs().max()) > 1e-3
        frame.put(name, solution.weights, solution.shift)
    frame.finish(images)
    with torch.no_grad():
        inner = network.module.get_submodule("0")(images)
        inner = network.module.get_submodule("1")(inner)
        found = frame.layer("0")(images)
        torch.testing.assert_close(found.mean(dim=(0, 2, 3)), inner.mean(dim=(0, 2, 3)))
        last = torch.nn.functional.relu(inner).flatten(1)
        found, expected = frame.layer("4")(last), network.module.get_submodule("4")(last)
        assert not torch.allclose(found, expected, atol=1e-3)
        torch.testing.assert_close(found.mean(dim=0), expected.mean(dim=0))


@pytest.mark.parametrize("method", [Method.NEAREST, Method.SENSITIVITY])
def test_fitted_steps_lower_the_error_of_every_channel(method: Method) -> None:
    random = np.random.default_rng(0)
    layer = torch.nn.Linear(40, 12, bias=False)
    statistics = LayerStatistics(layer)
    statistics.add(
        torch.from_numpy(random.normal(size=(400, 40)) @ random.normal(size=(40, 40))).float()
    )
    weight = random.standard_t(3, size=(12, 40))
    hessian = statistics.hessian[0].numpy()

    def error(grid: WeightGrid) -> Any:
        if method is Method.NEAREST:
            integers = grid.nearest(grid.units(weight))
        else:
            integers = sensitivity(weight, hessian, grid, alternatives=0, repair=False)
        wrong = grid.values(integers) - weight
        return ((wrong @ hessian) * wrong).sum(axis=1)

    wide = WeightGrid.symmetric(weight, IntegerRange(bits=3, narrow=False))
    found = fitted(weight, statistics, wide, method)
    share = found.scale / wide.scale
    assert set(share.round(6)) <= set(SHARES)
    assert (error(found) <= error(wide)).all()
    assert error(found).sum() < 0.9 * error(wide).sum()
    eight = WeightGrid.symmetric(weight, IntegerRange(bits=8, narrow=False))
    assert fitted(weight, statistics, eight, method) is eight


def test_adaround_of_groups_at_once_is_that_of_each() -> None:
    random = np.random.default_rng(1)
    weight = random.normal(size=(6, 9))
    inputs = random.normal(size=(3, 50, 9))
    hessians = np.stack([x.T @ x / len(x) for x in inputs])
    grid = WeightGrid.symmetric(weight, IntegerRange(bits=3, narrow=False))
    weight[:2] = grid.values(grid.nearest(grid.units(weight)))[:2]  # a group with nothing to round
    together = adaround(weight, hessians, grid, iterations=60)
    for group, hessian in enumerate(hessians):
        part = slice(2 * group, 2 * group + 2)
        alone = adaround(weight[part], hessian, grid.rows(part), iterations=60)
        assert (alone == together[part]).all()
    assert (together != grid.nearest(grid.units(weight))).any()
