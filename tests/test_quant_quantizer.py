"""Fake quantisation against values worked out by hand, and its gradients."""

import numpy as np
import pytest
import torch

from hw.precision import WeightMode
from quant.quantizer import (
    ActQuantizer,
    ActRange,
    fake_quantise_activation,
    fake_quantise_weight,
    quantise_activation,
    quantise_weight,
    round_half_up,
    weight_scale,
)

torch.set_num_threads(1)


def test_halves_are_rounded_up() -> None:
    x = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5])
    assert round_half_up(x).tolist() == [-1, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("mode", "scale"),
    [(WeightMode.W4, 0.7 / 7), (WeightMode.W6, 0.7 / 31), (WeightMode.W8, 0.7 / 127)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_scale_covers_the_largest_weight_exactly(mode: WeightMode, scale: float) -> None:
    weight = torch.tensor([[0.7, -0.2]])
    torch.testing.assert_close(weight_scale(weight, mode), torch.tensor([scale]))
    assert int(quantise_weight(weight, weight_scale(weight, mode), mode)[0, 0]) == mode.max


def test_most_negative_integer_is_used_when_it_allows_a_smaller_scale() -> None:
    weight = torch.tensor([[-0.8, 0.1]])
    scale = weight_scale(weight, WeightMode.W4)
    torch.testing.assert_close(scale, torch.tensor([0.1]))
    assert quantise_weight(weight, scale, WeightMode.W4).tolist() == [[-8, 1]]


def test_narrow_range_leaves_the_most_negative_integer_out() -> None:
    weight = torch.tensor([[-0.7, 0.1]])
    scale = weight_scale(weight, WeightMode.W4, narrow=True)
    torch.testing.assert_close(scale, torch.tensor([0.1]))
    assert quantise_weight(weight, scale, WeightMode.W4, narrow=True).tolist() == [[-7, 1]]


def test_two_bit_scale_covers_half_of_the_range_and_clips_the_rest() -> None:
    weight = torch.tensor([[1.0, 0.3, 0.2, -0.8, -1.0]])
    scale = weight_scale(weight, WeightMode.W2)
    assert scale.tolist() == [0.5]
    assert quantise_weight(weight, scale, WeightMode.W2).tolist() == [[1, 1, 0, -2, -2]]


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_integers_stay_within_the_mode(mode: WeightMode) -> None:
    weight = torch.randn(16, 50, generator=torch.Generator().manual_seed(3))
    integers = quantise_weight(weight, weight_scale(weight, mode), mode)
    assert mode.min <= int(integers.min())
    assert int(integers.max()) <= mode.max


def test_a_channel_of_zeros_stays_zero() -> None:
    assert fake_quantise_weight(torch.zeros(2, 3), WeightMode.W2).tolist() == [[0.0] * 3] * 2


def test_weight_gradient_passes_straight_through() -> None:
    weight = torch.tensor([[1.0, 0.3, -0.9]], requires_grad=True)
    output = fake_quantise_weight(weight, WeightMode.W2)
    (gradient,) = torch.autograd.grad(output, weight, torch.tensor([[1.0, 2.0, 3.0]]))
    assert gradient.tolist() == [[1.0, 2.0, 3.0]]


def test_range_after_relu_has_zero_point_zero() -> None:
    act_range = ActRange.of(0.0, 2.55)
    assert act_range.scale == pytest.approx(0.01)
    assert act_range.zero_point == 0


def test_range_always_contains_zero() -> None:
    assert ActRange.of(1.0, 2.55).zero_point == 0
    assert ActRange.of(-2.55, -1.0).zero_point == 255


def test_signed_range_puts_zero_on_an_integer() -> None:
    act_range = ActRange.of(-1.0, 1.55)
    assert act_range.zero_point == 100
    assert int(quantise_activation(torch.zeros(1), act_range)) == 100


def test_activation_integers_are_clamped_to_a_byte() -> None:
    act_range = ActRange(scale=0.5, zero_point=4)
    x = torch.tensor([-9.0, -2.0, 0.24, 0.25, 125.5, 999.0])
    q = quantise_activation(x, act_range)
    assert q.dtype == torch.uint8
    assert q.tolist() == [0, 0, 4, 5, 255, 255]


def test_fake_quantised_activations_are_their_integers_dequantised() -> None:
    act_range = ActRange(scale=0.03125, zero_point=77)
    x = torch.linspace(-4, 8, 1001)
    integers = quantise_activation(x, act_range).float()
    expected = (integers - 77) * 0.03125
    assert torch.equal(fake_quantise_activation(x, act_range), expected)
    assert torch.equal(fake_quantise_activation(x.requires_grad_(), act_range).detach(), expected)


def test_activation_gradient_passes_inside_the_range_only() -> None:
    x = torch.tensor([-0.1, 0.1, 1.0, 2.6], requires_grad=True)
    act_range = ActRange.of(0.0, 2.55)
    (gradient,) = torch.autograd.grad(fake_quantise_activation(x, act_range), x, torch.ones(4))
    assert gradient.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("scale", "zero_point", "text"),
    [
        (0.0, 0, "scale must be positive and finite, not 0.0"),
        (float("nan"), 0, "scale must be positive and finite, not nan"),
        (1.0, 256, "zero_point must be from 0 to 255, not 256"),
        (1.0, -1, "zero_point must be from 0 to 255, not -1"),
    ],
)
def test_impossible_ranges_are_refused(scale: float, zero_point: int, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        ActRange(scale=scale, zero_point=zero_point)
    assert str(caught.value) == text


def test_calibration_clips_the_rarest_values() -> None:
    quantizer = ActQuantizer(rectified=True)
    quantizer.observing = True
    values = torch.arange(1000, dtype=torch.float32)
    passed = quantizer(torch.cat([values, torch.tensor([-5.0])]))
    assert passed[-1] == 0
    quantizer.observing = False
    quantizer.fit(99.0)
    # the 991st of 1001 values, among them two zeros
    assert quantizer.range == ActRange.of(0.0, 989.0)


def test_the_image_keeps_its_pixels_as_integers() -> None:
    from quant.quantizer import IMAGE_RANGE

    pixels = np.arange(256, dtype=np.uint8)
    x = torch.from_numpy(pixels).float() / 255
    assert quantise_activation(x, IMAGE_RANGE).tolist() == pixels.tolist()


def test_a_sample_does_not_keep_the_whole_batch_in_memory() -> None:
    quantizer = ActQuantizer(rectified=False)
    quantizer.observing = True
    quantizer(torch.rand(4 * ActQuantizer.SAMPLE))
    (sample,) = quantizer.samples
    assert sample.numel() == ActQuantizer.SAMPLE
    assert sample.untyped_storage().nbytes() == sample.numel() * sample.element_size()
