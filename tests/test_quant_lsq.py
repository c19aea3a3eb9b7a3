"""Learned scales: gradients worked out weight by weight, starts, snapshots, training, options."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from hw.precision import WeightMode
from quant.calibrate import fit_activations
from quant.data import ImageSet
from quant.errors import QuantError
from quant.graph import Network, trace
from quant.journal import Entry, Journal
from quant.lsq import fake_quantise_at
from quant.models import ResNet8
from quant.options import Options
from quant.qat import QatSettings, train_quantised
from quant.quant_network import QuantNetwork, uniform_bits
from quant.quantizer import fake_quantise_weight, weight_scale
from quant.scales import Scales

torch.set_num_threads(1)

W2, W4, W6, W8 = WeightMode


def seeded(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_at_the_scales_of_the_rule_weights_are_those_of_the_rule(mode: WeightMode) -> None:
    weight = seeded(5, 4, 3, 3)
    found = fake_quantise_at(weight, weight_scale(weight, mode), mode)
    torch.testing.assert_close(found, fake_quantise_weight(weight, mode), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_gradients_are_those_of_the_paper_weight_by_weight(mode: WeightMode) -> None:
    weight, upstream = seeded(3, 7).requires_grad_(), seeded(3, 7).flip(0)
    scale = (0.4 * weight_scale(weight, mode)).requires_grad_()  # so that some are clipped
    fake_quantise_at(weight, scale, mode).backward(upstream)  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert scale.grad is not None
    values, scales = weight.detach().double(), scale.detach().double()
    clipped = 0
    for channel in range(3):
        total = 0.0
        for k in range(7):
            exact = float(values[channel, k] / scales[channel])
            if mode.min < exact < mode.max:
                slope, passed = math.floor(exact + 0.5) - exact, 1.0
            else:
                slope, passed = float(mode.min if exact <= mode.min else mode.max), 0.0
                clipped += 1
            total += float(upstream[channel, k]) * slope
            assert float(weight.grad[channel, k]) == passed * float(upstream[channel, k])
        expected = total / math.sqrt(7 * mode.max)
        assert float(scale.grad[channel]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert clipped > 0


def test_the_narrow_range_leaves_the_most_negative_integer_out() -> None:
    weight = torch.tensor([[-3.0, -1.0, 0.4]])
    assert fake_quantise_at(weight, torch.ones(1), W2).tolist() == [[-2, -1, 0]]
    assert fake_quantise_at(weight, torch.ones(1), W2, narrow=True).tolist() == [[-1, -1, 0]]


@cache
def digits() -> ImageSet:
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    return ImageSet(images=images, labels=np.asarray(bunch.target, dtype=np.int64))


@cache
def traced() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ResNet8(widths=(4, 6, 8))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # a gain of either sign
            module.weight.data.copy_(seeded(module.num_features))
    return trace(model.eval(), torch.zeros(1, 1, 8, 8))


def quantised(mode: WeightMode = W2, scales: Scales = Scales.LEARNED) -> QuantNetwork:
    network = QuantNetwork(traced(), uniform_bits(traced(), mode), scales=scales)
    fit_activations(network, digits(), batches=1)
    return network


def own_scale(network: QuantNetwork, name: str) -> Tensor:
    scale = network.layer(name).scale
    assert scale is not None
    return scale.detach()


def image() -> Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_learned_scales_begin_where_the_rule_has_them() -> None:
    network, plain = quantised(), quantised(scales=Scales.MIN_MAX)
    assert all(layer.scale is None for _, layer in plain.quant_layers())
    torch.testing.assert_close(network(image()), plain(image()))
    for name, layer in network.quant_layers():
        assert own_scale(network, name).equal(weight_scale(layer.layer.weight, W2))


def test_weights_and_scales_from_elsewhere_keep_their_integers() -> None:
    random = np.random.default_rng(0)
    for scales in Scales:
        network = quantised(scales=scales)
        layer = network.layer("block2.conv1")
        integers = random.integers(-2, 2, tuple(layer.layer.weight.shape))
        scale = torch.from_numpy(random.uniform(0.01, 0.3, len(integers))).float()
        weight = torch.from_numpy(integers).float() * scale.reshape(-1, 1, 1, 1)
        layer.start_from(weight, scale)
        assert layer.integers().weight.tolist() == integers.tolist()
        before = network(image())
        other = quantised(scales=Scales.MIN_MAX)
        other.restore(network.snapshot())
        assert torch.equal(other(image()), before)


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (torch.ones(3), r"^scale must have shape \(4,\), not \(3,\)$"),
        (torch.tensor([1.0, 0.0, 1.0, 1.0]), r"^scale must be positive and finite in every"),
        (torch.tensor([1.0, 2.0, 1.0, float("nan")]), r"^scale must be positive and finite in"),
    ],
)
def test_scales_that_cannot_be_are_refused(scale: Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        quantised().layer("stem").set_scale(scale)


def test_weights_of_another_shape_are_refused_and_change_nothing() -> None:
    layer = quantised().layer("stem")
    before = layer.scale
    with pytest.raises(
        ValueError, match=r"^weight must have shape \(4, 1, 3, 3\), not \(4, 1, 1, 1\)$"
    ):
        layer.start_from(torch.ones(4, 1, 1, 1), torch.ones(4))
    assert layer.scale is before


def test_another_precision_takes_the_scales_of_the_rule_and_the_same_one_keeps_its_own() -> None:
    network = quantised(W4)
    layer = network.layer("stem")
    layer.set_scale(torch.full((4,), 0.125))
    network.set_bits(uniform_bits(traced(), W4))
    assert own_scale(network, "stem").tolist() == [0.125] * 4
    with layer.at(W8):
        assert own_scale(network, "stem").equal(weight_scale(layer.layer.weight, W8))
    assert layer.mode is W4
    assert own_scale(network, "stem").tolist() == [0.125] * 4
    network.set_bits(uniform_bits(traced(), W2))
    assert own_scale(network, "stem").equal(weight_scale(layer.layer.weight, W2))


def trained(steps: int = 8, **settings: float) -> QuantNetwork:
    network = quantised()
    recipe = QatSettings(steps=steps, scales=Scales.LEARNED, **settings)  # type: ignore[arg-type]
    train_quantised(network, digits(), recipe)
    return network


def test_training_moves_scales_keeps_them_positive_and_is_the_same_each_time() -> None:
    first, again = trained(scale_lr=0.5), trained(scale_lr=0.5)
    start = quantised()
    for name, layer in first.quant_layers():
        scale = own_scale(first, name)
        assert scale.equal(own_scale(again, name))
        assert not scale.equal(own_scale(start, name))
        assert (scale > 0).all()
        assert np.array_equal(layer.integers().weight, again.layer(name).integers().weight)


def test_a_learning_rate_of_zero_leaves_scales_and_moves_weights() -> None:
    network, start = trained(scale_lr=0.0), quantised()
    for name, layer in network.quant_layers():
        assert own_scale(network, name).equal(own_scale(start, name))
        assert not torch.equal(layer.layer.weight, start.layer(name).layer.weight)


def test_given_scales_are_not_trained_where_scales_are_not_learned() -> None:
    network = quantised(scales=Scales.MIN_MAX)
    network.layer("stem").set_scale(torch.full((4,), 0.3))
    train_quantised(network, digits(), QatSettings(steps=3))
    assert own_scale(network, "stem").tolist() == pytest.approx([0.3] * 4)
    assert network.layer("fc").scale is None


def test_snapshot_and_journal_carry_the_scales(tmp_path: Path) -> None:
    network = trained()
    expected = network(image())
    journal = Journal(tmp_path)
    journal.write("net", {}, Entry(snapshot=network.snapshot()))
    read = journal.read("net", {})
    assert read is not None
    assert read.snapshot is not None
    for scales in Scales:
        other = quantised(W8, scales)
        other.restore(read.snapshot)
        assert torch.equal(other.eval()(image()), expected)
        assert own_scale(other, "fc").equal(own_scale(network, "fc"))
        assert all(
            layer.scale is not None and layer.scale.requires_grad is (scales is Scales.LEARNED)
            for _, layer in other.quant_layers()
        )


def test_a_snapshot_without_scales_starts_learning_from_the_rule() -> None:
    network = quantised()
    plain = quantised(W4, Scales.MIN_MAX)
    with torch.no_grad():
        plain.layer("stem").layer.weight.mul_(3)
    network.restore(plain.snapshot())
    assert own_scale(network, "stem").equal(weight_scale(plain.layer("stem").layer.weight, W4))


def test_scales_of_their_own_are_exported() -> None:
    network = quantised()
    network.layer("fc").set_scale(torch.full((10,), 0.25))
    tensors = network.tensors()
    assert tensors["fc.scale"].tolist() == [0.25] * 10
    assert int(tensors["fc.weight"].min()) >= -2


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"scales": "best"}, "scales must be one of min-max, learned, not best"),
        (
            {"scales": "learned", "ptq_only": True},
            "scales must come without ptq-only, which trains nothing",
        ),
    ],
)
def test_wrong_options_are_refused_in_a_line(given: dict[str, object], text: str) -> None:
    with pytest.raises(QuantError) as caught:
        Options.model_validate(given).request(command="")
    assert str(caught.value) == text


def test_the_option_reaches_the_plan() -> None:
    for scales in Scales:
        assert Options(scales=scales.value).request(command="").plan.scales is scales
