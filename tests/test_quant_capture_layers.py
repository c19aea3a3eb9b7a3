"""Layers, traced and watched: which can be replaced, which the accelerator can run."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from hw.precision import WeightMode
from hw.schedule import GemmShape
from quant.capture import capture
from quant.errors import QuantError
from quant.models import ResNet8
from quant.network import Gap
from quant.operands import layer_samples
from quant.quantizer import ActRange
from quant.shapes import layer_shapes
from tests.capture_networks import NETWORKS, Branching, Shared, images, made, said, w8, watch

torch.set_num_threads(1)


class OwnConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


class Obstacles(nn.Module):
    """Layers that must not be replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.own = OwnConv(1, 4, 3)
        self.computed = parametrizations.weight_norm(nn.Conv2d(4, 4, 1))
        self.read, self.fine = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = self.read(self.computed(self.own(x)))
        y = functional.conv2d(self.up(self.fine(y)), self.read.weight)
        return self.fc(y.mean((2, 3)))


def test_layers_that_cannot_be_replaced_stay_in_float_and_are_told() -> None:
    model = made(Obstacles)
    after = "parameters stay in float and have no cost"
    for network in (capture(model, images()), watch(model)):
        assert [layer.name for layer in network.layers] == ["fine", "fc"]
        told = said(network, Gap.IN_FLOAT)
        assert told[0] == f"own: its 40 {after}: OwnConv has a forward() of its own"
        assert f"up: its 68 {after}: ConvTranspose2d is no Conv2d or Linear" in told
        assert any(t.startswith("computed: ") and "remove the parametrisation" in t for t in told)
        assert any(t.startswith("read: ") and "its weight is read" in t for t in told)
        assert (w8(network)(images()) - model(images())).abs().max() < 0.05


class Uneven(nn.Module):
    """Convolutions that the accelerator has no descriptor for, and one that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.dilated = nn.Conv2d(1, 4, 3, padding="same", dilation=2)
        self.mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.oblong = nn.Conv2d(4, 4, (3, 1), stride=(2, 1), padding=(1, 0))
        self.grouped = nn.Conv2d(4, 8, 3, padding="same", groups=2)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.grouped(self.oblong(self.mirrored(self.dilated(x)))).mean((2, 3)))


def test_what_the_accelerator_cannot_run_is_told_and_has_no_shape() -> None:
    model = made(Uneven)
    network = capture(model, images())
    priced = "quantised and priced as a matrix product, but"
    where = "on the accelerator"
    assert said(network, Gap.OFF_ARRAY) == [
        f"dilated: {priced} dilation must be 1, not (2, 2) {where}",
        f"mirrored: {priced} padding must be with zeros, not reflect {where}",
        f"oblong: {priced} stride must be the same in both directions, not (2, 1) {where}",
    ]
    with pytest.raises(QuantError, match=re.escape("dilated: dilation must be 1, not (2, 2)")):
        layer_shapes(model, images())
    even = nn.Sequential(nn.Conv2d(1, 8, 2, padding="same"))
    with pytest.warns(UserWarning, match="even kernel lengths"):
        (shape,) = layer_shapes(even, images())
    assert [shape[f"pad_{side}"] for side in ("top", "left", "bottom", "right")] == [0, 0, 1, 1]
    twice = nn.Sequential(conv := nn.Conv2d(1, 1, 1), conv)
    with pytest.raises(QuantError, match="0: layer must be called once, not several times"):
        layer_shapes(twice, images())


def test_operands_of_any_padding_stride_and_zero_point_give_the_sums() -> None:
    torch.manual_seed(0)
    for network in (capture(made(Uneven), images(8)), watch(made(Uneven))):
        quantised = w8(network)
        for name in quantised.act_quantizers:
            quantised.act_quantizer(name).range = ActRange.of(-2.0, 2.0)
        names = [layer.name for layer in network.layers]
        inputs: dict[str, Tensor] = {}
        for name in names:
            quantised.layer(name).register_forward_pre_hook(noting(name, inputs))
        samples = layer_samples(quantised, images(8), names, seed=3)
        assert "grouped" not in samples
        for name in ("dilated", "mirrored", "oblong"):
            layer, zero = quantised.layer(name), 128
            found = samples[name].act.astype(np.int64) - zero
            sums = found @ samples[name].weight[WeightMode.W8].astype(np.int64)
            x = quantised.act_quantizer(quantised.sources[name])(inputs[name])
            scale = layer.integers().scale * ActRange.of(-2.0, 2.0).scale
            y = layer.layer._conv_forward(x, fake(layer.layer.weight), None)  # type: ignore[operator]
            flat = (y.detach().numpy() / scale[:, None, None]).round().astype(np.int64)
            rows = {tuple(row) for row in flat.transpose(0, 2, 3, 1).reshape(-1, len(scale))}
            assert {tuple(row) for row in sums} <= rows


def noting(name: str, inputs: dict[str, Tensor]) -> Callable[..., None]:
    return lambda _, args: inputs.update({name: args[0]})


def fake(weight: Tensor) -> Tensor:
    from quant.quantizer import fake_quantise_weight

    return fake_quantise_weight(weight, WeightMode.W8)


def test_dense_layers_on_tokens_have_a_pixel_per_token() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.norm = nn.Conv2d(1, 6, 2, 2), nn.LayerNorm(6)
            self.mlp, self.fc = nn.Linear(6, 5), nn.Linear(5, 10)

        def forward(self, x: Tensor) -> Any:
            tokens = self.patch(x).flatten(2).transpose(1, 2)  # [N, T, 6]
            return self.fc(functional.gelu(self.mlp(self.norm(tokens))).mean(1))

    for network in (capture(made(Tokens), images(8)), watch(made(Tokens))):
        assert network.layer("mlp").shape == GemmShape(pixels=16, depth=6, outputs=5)
        quantised = w8(network)
        for name in quantised.act_quantizers:
            quantised.act_quantizer(name).range = ActRange.of(-2.0, 2.0)
        samples = layer_samples(quantised, images(8), ["mlp", "fc"], seed=0)
        assert samples["mlp"].act.shape == (64, 6)
        assert samples["fc"].act.shape == (8, 5)


def test_a_replaced_layer_has_its_attributes_and_takes_its_input_by_name() -> None:
    class Asks(Branching):
        def forward(self, x: Tensor) -> Any:
            assert self.conv.weight.shape == (4, 1, 3, 3)
            y = self.conv(input=x)
            return self.fc(self.bn(y).mean((2, 3)))

    for network in (watch(made(Asks)), capture(made(Asks), images())):
        w8(network)(images())


def test_layers_under_two_names_are_replaced_under_both() -> None:
    class Alias(Shared):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Sequential(self.conv, self.bn)

        def forward(self, x: Tensor) -> Any:
            y = self.again(self.bn(self.conv(self.stem(x))))
            return self.fc(y.mean((2, 3)))

    model = made(Alias)
    traced, seen = w8(capture(model, images())), w8(watch(model))
    assert torch.equal(traced(images()), seen(images()))
    assert not torch.equal(seen(images()), model(images()))


def test_what_an_integer_network_can_be_written_of() -> None:
    assert capture(made(ResNet8), images()).plain
    assert not watch(made(ResNet8)).plain
    assert not any(capture(made(kind), images()).plain for kind in (*NETWORKS, Branching, Uneven))
    quantised = w8(watch(made(ResNet8)))
    assert not quantised.plain
    assert "module.stem.layer.weight" in quantised.state_dict()
