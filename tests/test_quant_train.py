"""Batches, float training and quantisation-aware training on scikit-learn's digits."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from hw.precision import WeightMode
from quant.batches import eval_batches, flip_and_shift, train_batches
from quant.calibrate import fit_activations, reestimate_norms
from quant.data import ImageSet
from quant.evaluate import accuracy
from quant.graph import Network, trace
from quant.models import ResNet8
from quant.qat import QatSettings, train_quantised
from quant.quant_network import QuantNetwork, uniform_bits
from quant.train import TrainSettings, train

torch.set_num_threads(1)


@cache
def digits() -> tuple[ImageSet, ImageSet]:
    bunch = load_digits()
    images = np.asarray(bunch.images * 255 / 16, dtype=np.uint8)
    labels = np.asarray(bunch.target, dtype=np.int64)
    cut = 1400
    return (
        ImageSet(images=images[:cut], labels=labels[:cut]),
        ImageSet(images=images[cut:], labels=labels[cut:]),
    )


@cache
def trained() -> tuple[nn.Module, Network]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ResNet8(widths=(8, 12, 16))
    train(model, digits()[0], TrainSettings(epochs=8, batch=64, peak_lr=0.1, augment=False))
    model.eval()
    return model, trace(model, torch.zeros(1, 1, 8, 8))


def quantised(mode: WeightMode) -> QuantNetwork:
    network = QuantNetwork(trained()[1], uniform_bits(trained()[1], mode))
    reestimate_norms(network, digits()[0])
    fit_activations(network, digits()[0])
    return network


def test_float_training_learns_the_digits() -> None:
    assert accuracy(trained()[0], digits()[1]) > 0.9


def test_training_batches_are_shuffled_whole_epochs() -> None:
    data = ImageSet(images=np.arange(12, dtype=np.uint8).reshape(12, 1, 1), labels=np.arange(12))
    batches = list(train_batches(data, steps=6, size=4, seed=0, augment=False))
    seen = [label for _, labels in batches for label in labels.tolist()]
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]
    images, labels = batches[0]
    assert torch.equal((images[:, 0, 0, 0] * 255).round().long(), labels)


def test_batches_depend_on_the_seed_only() -> None:
    first, again, other = (
        next(train_batches(digits()[0], steps=1, seed=seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_evaluation_batches_keep_order_and_the_last_images() -> None:
    labels = torch.cat([labels for _, labels in eval_batches(digits()[1], size=100)])
    assert labels.tolist() == digits()[1].labels.tolist()


def test_flips_and_shifts_move_pixels_by_at_most_two() -> None:
    images = torch.zeros(200, 9, 9, dtype=torch.uint8)
    images[:, 4, 4] = 1
    moved = flip_and_shift(images, generator=torch.Generator().manual_seed(0))
    places = moved.nonzero()
    assert len(places) == 200
    assert {(int(y), int(x)) for _, y, x in places} == {
        (y, x) for y in range(2, 7) for x in range(2, 7)
    }


def test_half_of_the_images_are_mirrored() -> None:
    images = torch.zeros(400, 5, 9, dtype=torch.uint8)
    images[:, 2, 0:2] = torch.tensor([5, 9], dtype=torch.uint8)
    moved = flip_and_shift(images, generator=torch.Generator().manual_seed(0))
    mirrored = int((moved[:, :, 5:] > 0).any(dim=(1, 2)).sum())
    assert 150 < mirrored < 250


def test_8_bit_loses_next_to_nothing() -> None:
    loss = accuracy(trained()[0], digits()[1]) - accuracy(quantised(WeightMode.W8), digits()[1])
    assert abs(loss) <= 0.02


def test_training_wins_back_what_2_bit_lost() -> None:
    network = quantised(WeightMode.W2)
    before = accuracy(network, digits()[1])
    settings = QatSettings(steps=60)
    train_quantised(network, digits()[0], settings, teacher=trained()[0])
    reestimate_norms(network, digits()[0])
    assert accuracy(network, digits()[1]) > before + 0.02


def test_training_leaves_activation_ranges_and_the_float_network_alone() -> None:
    model, _ = trained()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network = quantised(WeightMode.W4)
    ranges = {name: network.act_quantizer(name).range for name in network.act_quantizers}
    train_quantised(network, digits()[0], QatSettings(steps=3), teacher=model)
    assert ranges == {name: network.act_quantizer(name).range for name in ranges}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_training_is_the_same_each_time() -> None:
    states = []
    for _ in range(2):
        network = quantised(WeightMode.W2)
        train_quantised(network, digits()[0], QatSettings(steps=5), teacher=trained()[0])
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_trained_integers_fit_their_precision_and_scales_stay_positive() -> None:
    network = quantised(WeightMode.W2)
    train_quantised(network, digits()[0], QatSettings(steps=20, peak_lr=0.05))
    for _, layer in network.quant_layers():
        values = layer.integers()
        assert set(np.unique(values.weight)) <= {-2, -1, 0, 1}
        assert (values.scale > 0).all()


def test_images_keep_their_range_when_calibrated() -> None:
    act_range = quantised(WeightMode.W8).act_quantizer("x").range
    assert act_range is not None
    assert (act_range.scale, act_range.zero_point) == (1 / 255, 0)


def test_rectified_tensors_have_zero_point_zero_and_sums_do_not() -> None:
    network = quantised(WeightMode.W8)
    for name in network.act_quantizers:
        act_range = network.act_quantizer(name).range
        assert act_range is not None
        is_sum = "bn2" in name or "shortcut" in name
        assert (act_range.zero_point > 0) == is_sum, name


@pytest.mark.parametrize(
    ("steps", "distil", "text"),
    [
        (0, 0.5, "steps must be at least 1, not 0"),
        (1, 1.5, "distil must be from 0 to 1, not 1.5"),
    ],
)
def test_impossible_recipes_are_refused(steps: int, distil: float, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        QatSettings(steps=steps, distil=distil)
    assert str(caught.value) == text
