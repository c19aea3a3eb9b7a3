"""Networks of every kind, traced and watched: what is found, shared, refused, and said."""

import copy
import inspect
import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hw.schedule import GemmShape
from quant.capture import capture
from quant.errors import QuantError
from quant.network import Gap, InPlaceNetwork
from quant.quantizer import ActQuantizer
from tests.capture_networks import (
    NETWORKS,
    Branching,
    Inception,
    Inverted,
    Residual,
    Shared,
    images,
    made,
    said,
    w8,
    watch,
)

torch.set_num_threads(1)


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
        f"(capture_networks.py, line {line}: if x.mean() > 0.9:, after node gt); take control "
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


def test_values_that_leave_torch_count_as_read() -> None:
    class Looks(Branching):
        def forward(self, x: Tensor) -> Any:
            y = self.conv(x)
            if float(y.detach().numpy().max()) > 1e9:
                y = y * 2
            return self.fc(self.bn(y).mean((2, 3)))

    (text,) = said(watch(made(Looks)), Gap.UNFOLDED)
    assert text.endswith("it must be all that reads conv, not numpy in the network, too")


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


def test_the_network_that_was_given_stays_as_it_is() -> None:
    model = made(Inverted)
    before = copy.deepcopy(model.state_dict())
    for network in (capture(model, images()), watch(model)):
        w8(network).train()(images())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(m.inplace for m in model.modules() if isinstance(m, nn.ReLU6))
    assert not any(isinstance(m, ActQuantizer) for m in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
