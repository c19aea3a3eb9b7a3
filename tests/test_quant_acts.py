"""Activations of fewer bits: ranges, integers, snapshots, probes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.calibrate import clip, fit_activations
from quant.data import ImageSet
from quant.graph import Network, trace
from quant.journal import Entry, Journal
from quant.models import ResNet8
from quant.probes import act_divergence
from quant.quant_network import QuantNetwork, uniform_bits
from quant.quantizer import (
    ActQuantizer,
    ActRange,
    fake_quantise_activation,
    quantise_activation,
)
from sim.golden import fixed_point, im2col, matmul, requantise

torch.set_num_threads(1)

W2, W4, W6, W8 = WeightMode


def test_4_bits_are_16_integers_over_the_same_interval() -> None:
    eight = ActRange.of(0.0, 5.1)
    four = eight.at(4)
    assert (four.bits, four.largest, four.zero_point) == (4, 15, 0)
    assert four.scale == pytest.approx(17 * eight.scale)
    x = torch.linspace(-1, 7, 200)
    assert set(quantise_activation(x, four).tolist()) == set(range(16))
    assert eight.at(8) is eight


def test_a_signed_interval_stays_within_a_step_and_0_stays_an_integer() -> None:
    eight = ActRange.of(-1.3, 2.9)
    four = eight.at(4)
    low, high = -four.zero_point * four.scale, (15 - four.zero_point) * four.scale
    assert abs(low + 1.3) <= four.scale
    assert abs(high - 2.9) <= four.scale
    assert fake_quantise_activation(torch.zeros(1), four).item() == 0


def test_the_gradient_passes_inside_the_range_of_4_bits_only() -> None:
    x = torch.tensor([-0.1, 0.4, 14.9, 15.1], requires_grad=True)
    act_range = ActRange(scale=1.0, zero_point=0, bits=4)
    values = fake_quantise_activation(x, act_range)
    values.sum().backward()  # type: ignore[no-untyped-call]
    assert values.tolist() == [0, 0, 15, 15]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("zero_point", "bits", "text"),
    [
        (16, 4, "zero_point must be from 0 to 15, not 16"),
        (0, 3, "bits must be from 4 to 8, not 3"),
        (0, 9, "bits must be from 4 to 8, not 9"),
    ],
)
def test_impossible_ranges_are_refused(zero_point: int, bits: int, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        ActRange(scale=1.0, zero_point=zero_point, bits=bits)
    assert str(caught.value) == text


def test_a_quantiser_has_other_bits_for_a_while_and_then_its_own_range() -> None:
    quantizer = ActQuantizer(rectified=False)
    quantizer.range = before = ActRange.of(-1.0, 1.7)
    with quantizer.at(4):
        assert quantizer.range.bits == 4
    assert quantizer.range is before
    quantizer.set_bits(4)
    quantizer.observing = True
    quantizer(torch.linspace(0, 3, 1000))
    quantizer.observing = False
    quantizer.fit(99.9)
    assert quantizer.range.bits == 4


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return trace(ResNet8(widths=(4, 6, 8)).eval(), torch.zeros(1, 1, 8, 8))


@pytest.fixture
def images() -> ImageSet:
    pixels = torch.randint(0, 256, (64, 8, 8), generator=seeded(), dtype=torch.uint8)
    return ImageSet(images=pixels.numpy(), labels=np.zeros(64, dtype=np.int64))


def inputs(images: ImageSet) -> Tensor:
    return torch.from_numpy(images.images[:8].copy())[:, None].float() / 255


ACTS = {"relu": 4, "block2.relu1": 4}


def test_snapshot_and_journal_carry_the_bits_of_activations(
    network: Network, images: ImageSet, tmp_path: Path
) -> None:
    quantised = QuantNetwork(network, uniform_bits(network, W4), acts=ACTS)
    fit_activations(quantised, images, batches=1)
    assert {t for t, bits in quantised.acts.items() if bits == 4} == set(ACTS)
    expected = quantised(inputs(images))
    journal = Journal(tmp_path)
    journal.write("net", {}, Entry(snapshot=quantised.snapshot()))
    read = journal.read("net", {})
    assert read is not None
    assert read.snapshot is not None
    other = QuantNetwork(network, uniform_bits(network, W8)).eval()
    other.restore(read.snapshot)
    assert torch.equal(other(inputs(images)), expected)
    assert other.acts == quantised.acts
    tensors = other.tensors()
    assert tensors["act.relu.bits"].tolist() == [4]
    assert tensors["act.x.bits"].tolist() == [8]


def test_the_clip_follows_the_bits(network: Network, images: ImageSet) -> None:
    acts = {"relu": 4, "block1.relu1": 6}
    quantised = QuantNetwork(network, uniform_bits(network, W8), acts=acts)
    seen: dict[str, Tensor] = {}
    for node in ("relu", "block1.relu1", "block2.relu1"):
        path = quantised.act_quantizers[node]
        quantised.module.get_submodule(path).register_forward_pre_hook(
            lambda _, args, node=node: seen.update({node: args[0].clamp_min(0).flatten()})
        )
    fit_activations(quantised, images, batches=1)
    highest = {}
    for node in seen:
        found = quantised.act_quantizer(node).range
        assert found is not None
        highest[node] = found.scale * ((1 << found.bits) - 1)
    assert highest["block2.relu1"] == pytest.approx(float(seen["block2.relu1"].max()))
    shares = {n: float((seen[n] > 1.000001 * high).float().mean()) for n, high in highest.items()}
    assert shares["relu"] == pytest.approx(1e-3, rel=0.5)
    assert 0 < shares["block1.relu1"] < 4e-4
    assert [clip(bits) for bits in (8, 7, 6, 5, 4, 2)] == [100, 99.99, 99.99, 99.9, 99.9, 99.9]


def test_every_reader_of_a_tensor_sees_the_same_16_values(
    network: Network, images: ImageSet
) -> None:
    quantised = QuantNetwork(network, uniform_bits(network, W8), acts={"block1.relu2": 4})
    fit_activations(quantised, images, batches=1)
    seen: dict[str, Tensor] = {}
    for name in ("block2.conv1", "block2.shortcut.0"):
        quantised.layer(name).register_forward_pre_hook(
            lambda _, args, name=name: seen.update({name: args[0]})
        )
    quantised(inputs(images))
    assert torch.equal(seen["block2.conv1"], seen["block2.shortcut.0"])
    assert 2 < len({*seen["block2.conv1"].flatten().tolist()}) <= 16


def test_4_bit_activations_are_the_golden_models_integers() -> None:
    # scales are powers of 2, so float and fixed point agree to the last bit
    random = np.random.default_rng(0)
    weight = random.integers(W4.min, W4.max + 1, (5, 3, 3, 3))
    act = random.integers(0, 16, (2, 6, 6, 3))  # 4-bit integers on an array of 8
    bias = random.integers(-500, 500, 5) * 2.0**-8
    act_in = ActRange(scale=2.0**-3, zero_point=0, bits=4)
    act_out = ActRange(scale=2.0**-3, zero_point=0, bits=4)
    x = torch.from_numpy(act.transpose(0, 3, 1, 2)).float() * act_in.scale
    assert torch.equal(fake_quantise_activation(x, act_in), x)
    y = functional.conv2d(
        x, torch.from_numpy(weight).float() * 2.0**-5, torch.from_numpy(bias).float(), padding=1
    )
    expected = quantise_activation(y, act_out).numpy().transpose(0, 2, 3, 1)
    columns = im2col(act, kernel=(3, 3), padding=1)
    sums = matmul(columns, weight.transpose(2, 3, 1, 0).reshape(-1, 5), W4)
    multiplier, shift = fixed_point(act_in.scale * 2.0**-5 / act_out.scale)
    found = requantise(
        sums,
        bias=(bias / (act_in.scale * 2.0**-5)).astype(np.int64),
        multiplier=np.full(5, multiplier),
        shift=np.full(5, shift),
        zero_point=0,
        low=0,
        high=act_out.largest,
    )
    assert np.array_equal(found.reshape(expected.shape), expected)
    assert {0, 15} <= set(np.unique(found))


def test_probes_are_the_divergence_of_one_activation_at_a_time(
    network: Network, images: ImageSet
) -> None:
    fc = network.module.get_submodule("fc")
    assert isinstance(fc, nn.Linear)
    with torch.no_grad():
        fc.weight.mul_(30)  # so that the outputs are not all alike
    quantised = QuantNetwork(network, uniform_bits(network, W8))
    fit_activations(quantised, images, batches=1)
    before, x = quantised.snapshot(), inputs(images)
    narrow = ActRange(scale=0.01, zero_point=0, bits=4)
    choices = {"relu": (4, 6, 8), "pool": (4, 8)}
    clipped = act_divergence(quantised, choices, x, {4: {"relu": narrow}})
    found = act_divergence(quantised, choices, x, {})
    assert clipped["relu"][4] != found["relu"][4]  # in the range that was given
    assert clipped["relu"][6] == found["relu"][6]  # in the same interval
    assert clipped["pool"] == found["pool"]
    after = quantised.snapshot()
    assert after.ranges == before.ranges
    assert all(after.state[name].equal(before.state[name]) for name in before.state)
    assert found["relu"][8] == found["pool"][8] == 0
    assert found["relu"][4] > found["relu"][6] > 0
    # no norm lies behind the pooling, so its probe is the plain definition on these images
    with torch.no_grad():
        for norm in (m for m in quantised.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.train()
        p = functional.softmax(quantised(x), dim=1)
        quantised.act_quantizer("pool").set_bits(4)
        q = functional.softmax(quantised(x), dim=1)
    expected = float((p * (p / q).log()).sum(dim=1).mean())
    assert found["pool"][4] == pytest.approx(expected, rel=1e-3)
