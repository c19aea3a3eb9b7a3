"""Networks of every kind, traced and watched: what is folded, shared, left in float, and said."""

import copy
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import replace
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
from quant.hooks import watched
from quant.models import ResNet8
from quant.network import Gap, InPlaceNetwork, Network
from quant.operands import layer_samples
from quant.quant_network import QuantNetwork, uniform_bits
from quant.quantizer import ActQuantizer, ActRange
from quant.shapes import layer_shapes

torch.set_num_threads(1)


def normed(inputs: int, outputs: int, kernel: int, **more: Any) -> list[nn.Module]:
    """Give a convolution and its batch norm, with statistics that training would leave."""
    norm = nn.BatchNorm2d(outputs)
    generator = torch.Generator().manual_seed(outputs)
    for values in (norm.weight, norm.bias, norm.running_mean):
        assert values is not None
        values.data.copy_(torch.randn(outputs, generator=generator))
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **more)
    return [conv, norm]


class Branching(nn.Module):
    """Takes a way that depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = normed(1, 4, 3)
        self.extra = nn.Conv2d(4, 4, 1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = functional.relu(self.bn(self.conv(x)))
        if x.mean() > 0.9:
            y = self.extra(y)
        return self.fc(self.drop(y.mean((2, 3))))


class Shared(nn.Module):
    """Calls one convolution and its batch norm twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv, self.bn = normed(4, 4, 3)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = self.bn(self.conv(self.stem(x)))
        y = functional.relu(self.bn(self.conv(y)))
        return self.fc(functional.adaptive_avg_pool2d(y, 1).flatten(1))


class Inception(nn.Module):
    """Concatenates branches; every ReLU is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.a, self.bn_a = normed(4, 3, 1)
        self.b, self.bn_b = normed(4, 5, 3)
        self.out = nn.Conv2d(12, 4, 1)
        nn.init.ones_(self.out.bias)  # type: ignore[arg-type]
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = functional.relu(self.stem(x))
        a, b = functional.relu(self.bn_a(self.a(y))), functional.relu(self.bn_b(self.b(y)))
        y = torch.cat([a, b, functional.max_pool2d(y, 3, 1, 1)], 1)
        return self.fc(functional.avg_pool2d(functional.relu(self.out(y)), 8).flatten(1))


class Residual(nn.Module):
    """Adds without a ReLU behind it, then normalises by groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv, self.bn = normed(4, 4, 3)
        self.last = nn.Conv2d(4, 4, 3)
        self.group_norm = nn.GroupNorm(2, 4)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = self.stem(x)
        y = y + self.bn(self.conv(y))
        return self.fc(self.group_norm(self.last(y)).mean([2, 3]))


class Inverted(nn.Module):
    """MobileNet-v2's block with ReLU6 in place, and a squeeze-excite gate."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(*normed(1, 8, 1), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(*normed(8, 8, 3, groups=8), nn.ReLU6(inplace=True))
        self.squeeze = nn.Conv2d(8, 2, 1)
        self.excite = nn.Conv2d(2, 8, 1)
        self.project, self.bn = normed(8, 8, 1)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Any:
        y = self.expand(x)
        z = self.depthwise(y)
        gate = functional.relu(self.squeeze(functional.adaptive_avg_pool2d(z, 1)))
        y = y + self.bn(self.project(z * torch.sigmoid(self.excite(gate))))
        return self.fc(y.mean((-1, -2)))


NETWORKS = [Shared, Inception, Residual, Inverted]


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def watch(model: nn.Module) -> InPlaceNetwork:
    return watched(model, [images()], reason="asked")


def w8(network: Network) -> QuantNetwork:
    return QuantNetwork(network, uniform_bits(network, WeightMode.W8)).eval()


def said(network: Network, gap: Gap) -> list[str]:
    return [str(note) for note in network.notes if note.gap is gap]


@pytest.mark.parametrize("kind", NETWORKS)
def test_traced_and_watched_networks_have_the_same_layers_norms_and_outputs(
    kind: type[nn.Module],
) -> None:
    model = made(kind)
    traced, seen = capture(model, images()), watch(model)
    assert not isinstance(traced, InPlaceNetwork)
    assert [replace(layer, source="") for layer in traced.layers] == [
        replace(layer, source="") for layer in seen.layers
    ]
    assert torch.equal(w8(traced)(images()), w8(seen)(images()))
    assert (w8(traced)(images()) - model(images())).abs().max() < 0.05


@pytest.mark.parametrize("kind", [*NETWORKS, Branching])
def test_every_network_is_calibrated_trained_and_brought_back(kind: type[nn.Module]) -> None:
    for network in (capture(made(kind), images()), watch(made(kind))):
        quantised = w8(network)
        before = quantised(images())
        for name in quantised.act_quantizers:
            quantised.act_quantizer(name).observing = True
        quantised(images())
        for name in quantised.act_quantizers:
            quantised.act_quantizer(name).observing = False
            quantised.act_quantizer(name).fit(100.0)
        calibrated, snapshot = quantised(images()), quantised.snapshot()
        assert 0 < (calibrated - before).abs().max() < 0.05 * before.abs().max() + 0.02
        quantised.train()
        optimiser = torch.optim.SGD(quantised.parameters(), lr=0.1)
        quantised(images()).square().sum().backward()
        assert all(layer.layer.weight.grad is not None for _, layer in quantised.quant_layers())
        optimiser.step()
        quantised.eval()
        assert not torch.equal(quantised(images()), calibrated)
        again = w8(network)
        again.restore(snapshot)
        assert torch.equal(again(images()), calibrated)
        tensors = again.tensors()
        assert all(f"{layer.name}.bias_integer" in tensors for layer in network.layers)


def test_calls_of_one_layer_count_together_and_share_a_quantiser() -> None:
    network = capture(made(Shared), images())
    layer = network.layer("conv")
    assert layer.shape == GemmShape(pixels=2 * 64, depth=36, outputs=4)
    assert layer.norm == "bn"
    assert list(network.sites.values()).count(layer.source) == 2
    quantised = w8(network)
    assert len(quantised.act_quantizers) == len(set(network.sites.values()))
    assert network.notes == ()


def test_a_norm_shared_by_two_layers_stays_in_float() -> None:
    class TwoLayers(Shared):
        def forward(self, x: Tensor) -> Any:
            y = self.bn(self.conv(self.bn(self.stem(x))))
            return self.fc(y.mean((2, 3)))

    model = made(TwoLayers)
    for network, found in (
        (capture(model, images()), "conv and stem"),
        (watch(model), "conv, ste"),
    ):
        assert network.layer("conv").norm is None
        (text,) = said(network, Gap.UNFOLDED)
        assert text.startswith("bn: batch norm stays in float: it must ")
        assert found in text
        assert (w8(network)(images()) - model(images())).abs().max() < 0.05


def test_branches_are_written_at_the_scale_of_their_concatenation() -> None:
    network = capture(made(Inception), images())
    assert list(network.sites.values()) == ["x", "relu", "cat", "relu_3", "avg_pool2d"]
    assert network.layer("a").source == network.layer("b").source == "relu"
    assert network.layer("out").source == "cat"
    assert network.rectified == {"relu": math.inf, "relu_3": math.inf}


def test_sums_and_both_their_summands_are_quantised() -> None:
    network = capture(made(Residual), images())
    assert [*network.sites.values()][:4] == ["x", "stem", "bn", "add"]
    assert network.layer("last").source == "add"
    assert network.rectified == {}
    assert said(network, Gap.OFF_ARRAY) == [
        "GroupNorm: no operation of the array, computed in float: group_norm"
    ]


def test_a_relu6_and_what_a_gate_computes_in_float() -> None:
    network = capture(made(Inverted), images())
    assert network.layer("depthwise.0").shape == GemmShape(pixels=64, depth=9, outputs=1, groups=8)
    assert network.layer("depthwise.0").source == "expand.2"
    assert network.layer("squeeze").source == "adaptive_avg_pool2d"
    assert network.layer("project").source == "mul"
    assert "sigmoid" not in network.sites.values()
    assert said(network, Gap.OFF_ARRAY) == [
        "sigmoid: no operation of the array, computed in float: sigmoid",
        "mul: no operation of the array, computed in float: mul",
    ]


def test_a_branching_network_is_watched_and_the_first_note_names_the_line() -> None:
    network = capture(made(Branching), images())
    assert isinstance(network, InPlaceNetwork)
    lines, first = inspect.getsourcelines(Branching.forward)
    line = first + next(i for i, text in enumerate(lines) if " > 0.9" in text)
    assert said(network, Gap.UNTRACED) == [
        "network: quantised layer by layer: network: must be traceable by torch.fx, not: "
        "symbolically traced variables cannot be used as inputs to control flow "
        f"(test_quant_capture.py, line {line}: if x.mean() > 0.9:, after node gt); take control "
        "flow that depends on data out of forward()"
    ]
    assert [(layer.name, layer.norm) for layer in network.layers] == [("conv", "bn"), ("fc", None)]
    assert said(network, Gap.IN_FLOAT) == [
        "extra: its 20 parameters stay in float and have no cost: it is not called"
    ]
    assert network.image_layers == {"conv"}
    bright = images() / 10 + 0.9
    assert (w8(network)(bright) - made(Branching)(bright)).abs().max() < 0.05


def test_watched_sums_concatenations_and_shared_inputs_are_told() -> None:
    assert said(watch(made(Residual)), Gap.UNSHARED) == [
        "network: sum of stem and bn stays in float, with no quantiser of its own"
    ]
    assert said(watch(made(Inception)), Gap.UNSHARED) == [
        "a, b: they read one tensor, each through a quantiser of its own",
        "network: concatenation of relu in the network and relu in the network and "
        "max_pool2d_with_indices in the network stays in float, with no quantiser of its own",
    ]


class NotFoldable(nn.Module):
    """One batch norm reads the image, one a sum, one a layer that a sum reads, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.BatchNorm2d(1)
        self.a, self.bn_a = normed(1, 4, 3)
        self.b, self.bn_b = normed(4, 4, 3)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Any:
        y = self.a(self.first(x))
        z = self.b(y + self.bn_a(y))
        return self.fc(self.bn_b(z + 1).mean((2, 3)))


def test_norms_that_cannot_be_folded_are_told_with_the_reason() -> None:
    model = made(NotFoldable)
    traced, seen = capture(model, images()), watch(model)
    assert said(traced, Gap.UNFOLDED) == [
        f"{norm}: batch norm stays in float: it must read a layer that nothing else reads, not {of}"
        for norm, of in (("first", "x"), ("bn_a", "a"), ("bn_b", "add_1"))
    ]
    assert said(seen, Gap.UNFOLDED) == [
        "first: batch norm stays in float: it must read a layer's output as it is, not the image",
        "bn_a: batch norm stays in float: it must be all that reads a, not add in the network, too",
        "bn_b: batch norm stays in float: it must read a layer's output as it is, not add in the "
        "network",
    ]
    for network in (traced, seen):
        assert all(layer.norm is None for layer in network.layers)
        assert (w8(network)(images()) - model(images())).abs().max() < 0.2
        quantised = w8(network).train()
        assert all(m.training for m in quantised.modules() if isinstance(m, nn.BatchNorm2d))


def test_values_that_leave_torch_count_as_read() -> None:
    class Looks(Branching):
        def forward(self, x: Tensor) -> Any:
            y = self.conv(x)
            if float(y.detach().numpy().max()) > 1e9:
                y = y * 2
            return self.fc(self.bn(y).mean((2, 3)))

    (text,) = said(watch(made(Looks)), Gap.UNFOLDED)
    assert text.endswith("it must be all that reads conv, not numpy in the network, too")


def test_a_folded_norm_that_another_image_takes_elsewhere_is_refused() -> None:
    class Elsewhere(Branching):
        def forward(self, x: Tensor) -> Any:
            y = self.conv(x)
            y = self.bn(y) if x.mean() < 0.9 else self.bn(y * 2)
            return self.fc(y.mean((2, 3)))

    class Skips(Branching):
        def forward(self, x: Tensor) -> Any:
            y = self.conv(x)
            return self.fc((self.bn(y) if x.mean() < 0.9 else y).mean((2, 3)))

    rest = "; take control flow that depends on data out of forward()"
    for kind, found in ((Elsewhere, "something else"), (Skips, "nothing")):
        quantised = w8(capture(made(kind), images()))
        quantised(images())
        text = f"bn: must read what conv gives, on every image as on the samples, not {found}{rest}"
        with pytest.raises(QuantError, match=re.escape(text)):
            quantised(images() + 1)
        quantised(images())


def test_a_sample_that_shows_the_other_way_keeps_the_norm_in_float() -> None:
    class Skips(Branching):
        def forward(self, x: Tensor) -> Any:
            y = self.conv(x)
            return self.fc((self.bn(y) if x.mean() < 0.9 else y).mean((2, 3)))

    mixed = images()
    mixed[0] = 1.0
    network = capture(made(Skips), mixed)
    assert network.layer("conv").norm is None
    w8(network)(images() + 1)


def test_watched_networks_train_their_norms_and_nothing_else() -> None:
    quantised = w8(watch(made(Branching))).train()
    norm = quantised.layer("conv").norm
    assert norm is not None
    assert norm.training
    assert norm.running_mean is not None
    mean = norm.running_mean.clone()
    assert torch.equal(quantised(images()), quantised(images()))  # no dropout
    assert not torch.equal(norm.running_mean, mean)


def test_other_readers_of_a_tensor_see_what_was_written_over_it() -> None:
    class Overwrites(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1)
            self.fc = nn.Linear(4, 10)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Any:
            y = self.a(x)
            z = self.b(self.relu(y))  # y is rectified from here on
            z += y
            return self.fc(z.relu_().mean((2, 3)))

    model = made(Overwrites)
    network = capture(model, images())
    assert not isinstance(network, InPlaceNetwork)
    assert (w8(network)(images()) - model(images())).abs().max() < 0.05
    assert list(network.sites.values()) == ["x", "relu", "b", "relu_", "mean"]


def test_a_module_called_for_two_tensors_does_not_join_them() -> None:
    class OneRelu(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.relu = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()
            self.fc = nn.Linear(4, 10)

        def forward(self, x: Tensor) -> Any:
            return self.fc(self.relu(self.b(self.relu(self.a(x)))).mean((2, 3)))

    network = capture(made(OneRelu), images())
    assert list(network.sites.values()) == ["x", "relu", "relu:2", "mean"]
    assert len(w8(network).act_quantizers) == 4


def test_inputs_with_defaults_keep_them() -> None:
    class Masked(Shared):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
            return super().forward(x if mask is None else x * mask)

    network = capture(made(Masked), images())
    assert not isinstance(network, InPlaceNetwork)
    assert torch.equal(w8(network)(images()), w8(capture(made(Shared), images()))(images()))


def test_a_graph_that_does_something_else_is_not_taken() -> None:
    class Peeks(Shared):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x if type(x) is Tensor else -x)

    network = capture(made(Peeks), images())
    assert isinstance(network, InPlaceNetwork)
    assert said(network, Gap.UNTRACED) == [
        "network: quantised layer by layer: network must give the same as a graph as by itself, "
        "not something else: its forward() takes several ways; take control flow that depends on "
        "data out of it"
    ]


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


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (nn.Linear(64, 10).double(), "weight: parameter must be torch.float32, not torch.float64"),
        (nn.Conv2d(3, 4, 1), "network must accept an input of shape (4, 1, 8, 8), not: Given"),
        (nn.Conv2d(1, 4, 1), "network must have a Conv2d or Linear layer, not none"),
        (nn.Identity(), "network must have a Conv2d or Linear layer, not none"),
    ],
)
def test_what_is_no_network_for_these_images_is_refused(model: nn.Module, text: str) -> None:
    with pytest.raises(QuantError) as caught:
        capture(model.eval(), images())
    assert str(caught.value).startswith(text)


def test_an_output_that_is_no_tensor_is_refused() -> None:
    class Two(Shared):
        def forward(self, x: Tensor) -> Any:
            return {"out": super().forward(x)}

    text = (
        "network must give one tensor of logits, not a dict; pick it out in a module around the "
        "network"
    )
    with pytest.raises(QuantError, match=re.escape(text)):
        capture(made(Two), images())


def test_what_an_integer_network_can_be_written_of() -> None:
    assert capture(made(ResNet8), images()).plain
    assert not watch(made(ResNet8)).plain
    assert not any(capture(made(kind), images()).plain for kind in (*NETWORKS, Branching, Uneven))
    quantised = w8(watch(made(ResNet8)))
    assert not quantised.plain
    assert "module.stem.layer.weight" in quantised.state_dict()


def test_the_network_that_was_given_stays_as_it_is() -> None:
    model = made(Inverted)
    before = copy.deepcopy(model.state_dict())
    for network in (capture(model, images()), watch(model)):
        w8(network).train()(images())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(m.inplace for m in model.modules() if isinstance(m, nn.ReLU6))
    assert not any(isinstance(m, ActQuantizer) for m in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
