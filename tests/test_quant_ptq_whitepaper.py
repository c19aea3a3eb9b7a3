"""The whitepaper's schemes: grids of weights, ranges of activations, folded batch norms."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from quant.data import ImageSet
from quant.graph import Network, trace
from quant.ptq.folded import FoldedLayer, FoldedNetwork, train_folded
from quant.ptq.frames import frame_of
from quant.ptq.grid import BITS, IntegerRange
from quant.ptq.network import calibration_images
from quant.ptq.ranges import SAMPLE, ActGrid, Calibration, RangeQuantizer, act_range
from quant.ptq.recipe import Norms, Recipe
from quant.ptq.schemes import Scheme, WeightScheme, weight_grid
from quant.qat import QatSettings

torch.set_num_threads(1)


def scheme(
    weights: WeightScheme = WeightScheme.CHANNEL_SYMMETRIC,
    bits: int = 8,
    *,
    act_bits: int | None = None,
    bias_correction: bool = False,
    reestimate_norms: bool = False,
) -> Scheme:
    return Scheme(
        weights=weights,
        integers=IntegerRange(bits=bits, narrow=False),
        act_bits=act_bits,
        bias_correction=bias_correction,
        reestimate_norms=reestimate_norms,
    )


def test_grids_of_the_three_schemes_by_hand() -> None:
    weight = np.array([[-1.0, 0.5], [0.5, 2.0]])
    full = IntegerRange(bits=2, narrow=False)

    def grid(scheme: WeightScheme) -> tuple[list[float], list[float], list[list[float]]]:
        found = weight_grid(weight, scheme, full)
        integers = found.nearest(found.units(weight))
        return found.scale.tolist(), found.zero_point.tolist(), integers.tolist()

    assert grid(WeightScheme.LAYER_ASYMMETRIC) == ([1, 1], [-1, -1], [[-2, 0], [0, 1]])
    assert grid(WeightScheme.CHANNEL_SYMMETRIC) == ([0.5, 2], [0, 0], [[-2, 1], [0, 1]])
    scale, zero_point, integers = grid(WeightScheme.CHANNEL_ASYMMETRIC)
    assert scale == [0.5, np.float32(2 / 3)]
    assert zero_point == [0, -2]
    assert integers == [[-2, 1], [-1, 1]]


@pytest.mark.parametrize("weights", WeightScheme, ids=lambda weights: weights.value)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("narrow", [False, True])
def test_no_weight_is_off_by_more_than_its_scheme_allows(
    weights: WeightScheme, bits: int, narrow: bool
) -> None:
    weight = np.random.default_rng(bits).normal(size=(4, 30)) + 0.3
    integers = IntegerRange(bits=bits, narrow=narrow)
    grid = weight_grid(weight, weights, integers)
    chosen = grid.nearest(grid.units(weight))
    assert integers.low <= chosen.min() <= chosen.max() <= integers.high
    steps = np.abs(grid.values(chosen) - weight) / grid.scale[:, None]
    # a rounded zero point moves the grid by up to half a step
    symmetric = weights is WeightScheme.CHANNEL_SYMMETRIC
    assert steps.max() <= (0.5 if symmetric else 1.0) + 1e-6
    assert (grid.values(grid.zero_point[:, None]) == 0).all()
    if weights is WeightScheme.LAYER_ASYMMETRIC:
        assert len(set(grid.scale)) == 1


def test_ranges_by_hand() -> None:
    batches = [np.array([0, 1, 3], np.float32), np.array([-1, 0, 5], np.float32)]

    def ends(calibration: Calibration) -> tuple[float, float]:
        grid = act_range(batches, calibration, 8)
        return grid.low, grid.high

    assert ends(Calibration.MIN_MAX) == pytest.approx((-1, 5), abs=6 / 255)
    low, high = ends(Calibration.MOVING_AVERAGE)
    assert (low, high) == pytest.approx((-0.1, 3.2), abs=3.3 / 255)
    many = [np.arange(10_000, dtype=np.float32)]
    assert act_range(many, Calibration.PERCENTILE, 8).high == pytest.approx(9998, abs=1)
    assert act_range(many, Calibration.PERCENTILE, 4).high == pytest.approx(9989, abs=1)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_mse_range_has_the_least_squared_error(bits: int) -> None:
    values = np.random.default_rng(0).laplace(size=20_000).astype(np.float32)

    def loss(calibration: Calibration) -> float:
        grid = act_range([values], calibration, bits)
        return float(
            (grid.nearest(torch.from_numpy(values)) - torch.from_numpy(values)).square().mean()
        )

    best = loss(Calibration.MSE)
    alike = [c for c in Calibration if c is not Calibration.PERCENTILE]  # whose ends differ
    assert all(best <= loss(other) for other in alike)
    assert best <= 1.1 * loss(Calibration.PERCENTILE)
    if bits <= 4:
        assert best < 0.7 * loss(Calibration.MIN_MAX)


@pytest.mark.parametrize("calibration", [Calibration.ENTROPY, Calibration.PERCENTILE])
def test_a_lone_outlier_is_clipped(calibration: Calibration) -> None:
    values = np.abs(np.random.default_rng(1).normal(size=20_000)).astype(np.float32)
    values[0] = 20
    assert act_range([values], calibration, 8).high < 15
    assert act_range([values], Calibration.MIN_MAX, 8).high == pytest.approx(20)


def test_what_relu6_leaves_at_both_ends_is_not_clipped_for_its_zeros() -> None:
    random = np.random.default_rng(1)
    inside = np.abs(random.normal(scale=2.5, size=20_000)).clip(0, 6)
    values = np.concatenate([np.zeros(60_000), inside, np.full(1000, 6.0)]).astype(np.float32)
    assert act_range([values], Calibration.ENTROPY, 8).high > 5.5


def test_a_sample_of_zeros_does_not_tell_how_much_to_clip() -> None:
    found = act_range([np.zeros(5, np.float32)], Calibration.ENTROPY, 8, ends=[(-1.0, 5.0)])
    assert found == ActGrid.of(-1.0, 5.0, 8)


@pytest.mark.parametrize("calibration", Calibration, ids=lambda calibration: calibration.value)
def test_a_tensor_of_zeros_gets_a_grid(calibration: Calibration) -> None:
    grid = act_range([np.zeros(5, np.float32)], calibration, 4)
    assert grid.nearest(torch.zeros(2)).tolist() == [0, 0]


@pytest.mark.parametrize("calibration", Calibration, ids=lambda calibration: calibration.value)
@pytest.mark.parametrize("values", [(5.0, 6.0), (-6.0, -5.0), (1e-3, 1e-3)], ids=str)
def test_values_away_from_zero_are_not_all_clipped(
    calibration: Calibration, values: tuple[float, float]
) -> None:
    tensor = np.linspace(*values, 300, dtype=np.float32)
    grid = act_range([tensor], calibration, 8)
    found = grid.nearest(torch.from_numpy(tensor)).numpy()
    assert np.abs(found - tensor).max() <= 0.2 * np.abs(tensor).max()
    assert grid.nearest(torch.zeros(1)).tolist() == [0]


def test_activation_gradient_passes_inside_the_range_only() -> None:
    x = torch.tensor([-1.0, 0.2, 0.9, 2.0], requires_grad=True)
    y = ActGrid.of(0.0, 1.0, 2).nearest(x)
    y.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(y, torch.tensor([0, 1 / 3, 1, 1]))
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_quantiser_rectifies_and_passes_floats_until_it_is_fitted() -> None:
    quantizer = RangeQuantizer(rectified=True)
    x = torch.tensor([-1.0, 0.25, 1.0])
    assert quantizer(x).tolist() == [0, 0.25, 1]
    quantizer.observing = True
    quantizer(x)
    quantizer.observing = False
    quantizer.fit(Calibration.MIN_MAX, 2)
    torch.testing.assert_close(quantizer(x), torch.tensor([0, 1 / 3, 1]))


@pytest.mark.parametrize("calibration", [Calibration.MIN_MAX, Calibration.MOVING_AVERAGE])
def test_ends_are_those_of_all_values_and_not_of_a_sample(calibration: Calibration) -> None:
    x = torch.zeros(4 * SAMPLE)
    x[1], x[2] = 5.0, -1.0  # between the values of the sample
    quantizer = RangeQuantizer(rectified=False)
    quantizer.observing = True
    quantizer(x)
    quantizer.fit(calibration, 8)
    assert quantizer.grid == ActGrid.of(-1.0, 5.0, 8)


@pytest.mark.parametrize("weights", list(WeightScheme)[:2], ids=lambda weights: weights.value)
def test_ranges_are_chosen_from_every_image(weights: WeightScheme) -> None:
    conv = nn.Conv2d(3, 2, 1, bias=False).requires_grad_(False)
    conv.weight.fill_(1.0)
    model = nn.Sequential(conv, nn.AvgPool2d(224), nn.Flatten())
    network = trace(model.eval(), torch.zeros(1, 3, 224, 224))
    images = torch.zeros(1, 3, 224, 224).expand(17 * 13, -1, -1, -1).clone()
    images[-1] = 1.0  # in the last of 17 batches
    frame = frame_of(network, {"0": 8}, Recipe(scheme=weights, norms=Norms.KEPT))
    frame.finish(images)
    assert float(frame.module(images[-1:]).detach().max()) == pytest.approx(3.0, abs=0.05)


def test_a_width_of_activations_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^act_bits must be from 2 to 8 or None, not 9$"):
        scheme(act_bits=9)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn(self.conv(x)))
        return self.fc(self.flatten(self.pool(y)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def data() -> ImageSet:
    random = np.random.default_rng(1)
    labels: NDArray[np.int64] = random.integers(0, 3, 60)
    images = random.integers(0, 80, (60, 9, 9)) + 60 * labels[:, None, None]
    return ImageSet(images=images.astype(np.uint8), labels=labels)


@pytest.fixture(scope="module")
def network(data: ImageSet) -> Network:
    torch.manual_seed(0)
    model = Small()
    model.train()
    for _ in range(40):
        model(calibration_images(data, 60, seed=0))
    with torch.no_grad():
        model.bn.weight.uniform_(-1, 1)
        model.bn.bias.uniform_(-1, 1)
    return trace(model, torch.zeros(1, 1, 9, 9))


@pytest.mark.parametrize("weights", WeightScheme, ids=lambda weights: weights.value)
def test_eight_bits_are_close_to_float(
    weights: WeightScheme, network: Network, data: ImageSet
) -> None:
    images = calibration_images(data, 20, seed=0)
    quantised = FoldedNetwork(network, scheme(weights, act_bits=8))
    quantised.calibrate(data)
    expected = network.module(images)
    torch.testing.assert_close(quantised(images), expected, atol=0.05, rtol=0.05)
    assert not torch.equal(quantised(images), expected)


def test_fold_correction_in_training_gives_what_the_unfolded_norm_gives(network: Network) -> None:
    conv, norm = network.module.get_submodule("conv"), network.module.get_submodule("bn")
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    reference = copy.deepcopy(norm).train()
    layer = FoldedLayer(conv, norm, scheme(bits=8)).train()
    x = torch.rand(16, 1, 9, 9, generator=torch.Generator().manual_seed(2)) * 3
    found, expected = layer(x), reference(conv(x))
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    assert layer.norm is not None
    assert isinstance(layer.norm.running_mean, torch.Tensor)
    torch.testing.assert_close(layer.norm.running_mean, reference.running_mean)
    torch.testing.assert_close(layer.norm.running_var, reference.running_var, rtol=0.01, atol=1e-4)
    layer.frozen = True
    before = layer.norm.running_mean.clone()
    frozen = layer(x)
    assert torch.equal(layer.norm.running_mean, before)
    layer.eval()
    assert torch.equal(layer(x), frozen)


@pytest.mark.parametrize("correction", ["bias_correction", "reestimate_norms"])
def test_corrections_bring_the_float_networks_moments_back(
    correction: str, network: Network, data: ImageSet
) -> None:
    images = calibration_images(data, 60, seed=0)

    def moments(module: nn.Module, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        seen: list[torch.Tensor] = []
        hook = layer.register_forward_hook(lambda _m, _i, y: seen.append(y))
        with torch.no_grad():
            module(images)
        hook.remove()
        return seen[0].mean(dim=(0, 2, 3)), seen[0].var(dim=(0, 2, 3))

    plain = FoldedNetwork(network, scheme(bits=2))
    bias = correction == "bias_correction"
    corrected = FoldedNetwork(
        network, scheme(bits=2, bias_correction=bias, reestimate_norms=not bias)
    )
    corrected.correct(images)
    mean, variance = moments(network.module, network.module.get_submodule("bn"))
    off, _ = moments(plain, dict(plain.layers())["conv"])
    found, spread = moments(corrected, dict(corrected.layers())["conv"])
    assert (off - mean).abs().max() > 0.02
    torch.testing.assert_close(found, mean, atol=1e-4, rtol=1e-3)
    if correction == "reestimate_norms":
        torch.testing.assert_close(spread, variance, atol=1e-4, rtol=1e-2)


def test_training_recovers_what_two_bits_lose(network: Network, data: ImageSet) -> None:
    images = calibration_images(data, 60, seed=0)
    random = np.random.default_rng(0)
    chosen = random.choice(60, 60, replace=False)
    labels = torch.from_numpy(data.labels[chosen])

    def loss(module: nn.Module) -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(module(images), labels))

    quantised = FoldedNetwork(network, scheme(WeightScheme.CHANNEL_ASYMMETRIC, 2, act_bits=8))
    quantised.calibrate(data)
    before = loss(quantised)
    train_folded(quantised, data, QatSettings(steps=60, batch=30, peak_lr=0.01))
    assert not quantised.training
    assert loss(quantised) < before - 0.2
