"""Batch norms, traced and watched: which are folded, which stay in float, and what is said."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quant.capture import capture
from quant.errors import QuantError
from quant.network import Gap
from tests.capture_networks import Branching, Shared, images, made, normed, said, w8, watch

torch.set_num_threads(1)


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
