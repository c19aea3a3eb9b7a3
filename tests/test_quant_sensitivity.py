"""Sensitivities against what they are defined as, on a network small enough to differentiate."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant import probes, threads
from quant.calibrate import fit_activations
from quant.curvature import fisher, hessian, hutchinson, perturbation
from quant.data import ImageSet
from quant.evaluate import accuracy
from quant.graph import Network, trace
from quant.probes import logit_divergence
from quant.quant_network import QuantNetwork
from quant.threads import in_threads, one_thread, pool_of, threads_for

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]

NAMES = ("first", "second")
CHOICES = dict.fromkeys(NAMES, tuple(WeightMode))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.second = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu(self.norm(self.first(x)))
        return self.second(self.flatten(self.pool(hidden)))  # type: ignore[no-any-return]


@pytest.fixture
def network() -> Network:
    return trace(Tiny().eval(), torch.zeros(1, 1, 6, 6))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def pictures(images: Tensor) -> ImageSet:
    pixels = (images[:, 0] * 255).to(torch.uint8).numpy()
    return ImageSet(images=pixels, labels=np.arange(12) % 4)


def test_probes_are_the_divergence_of_one_layer_at_a_time(network: Network, images: Tensor) -> None:
    quantised = QuantNetwork(network, dict.fromkeys(NAMES, WeightMode.W8))
    fit_activations(quantised, pictures(images), batches=1)
    before = quantised.snapshot()
    found = logit_divergence(quantised, CHOICES, images)
    after = quantised.snapshot()
    assert after.bits == before.bits
    assert all(after.state[name].equal(before.state[name]) for name in before.state)
    for name in NAMES:
        assert found[name][WeightMode.W8] == 0
        assert found[name][WeightMode.W2] > found[name][WeightMode.W6] >= 0
    # the last layer has no norm behind it, so its probe is the plain definition on these images
    with torch.no_grad():
        for norm in (m for m in quantised.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.train()
        p = functional.softmax(quantised(images), dim=1)
        quantised.layer("second").mode = WeightMode.W2
        q = functional.softmax(quantised(images), dim=1)
    expected = float((p * (p / q).log()).sum(dim=1).mean())
    assert found["second"][WeightMode.W2] == pytest.approx(expected, rel=1e-4)


def test_the_trace_is_near_that_of_the_exact_hessian(network: Network, images: Tensor) -> None:
    labels = torch.arange(12) % 4
    layer = network.module.get_submodule("second")
    weight = layer.weight
    assert isinstance(weight, Tensor)

    def loss(value: Tensor) -> Tensor:
        logits = torch.func.functional_call(network.module, {"second.weight": value}, (images,))
        return functional.cross_entropy(logits, labels)

    exact = torch.autograd.functional.hessian(loss, weight.detach())  # type: ignore[no-untyped-call]
    trace_exact = float(exact.reshape(weight.numel(), weight.numel()).trace())
    runs = [hutchinson(network, NAMES, images, labels, seed=seed)["second"] for seed in range(40)]
    assert sum(runs) / len(runs) == pytest.approx(trace_exact, rel=0.1)
    assert not weight.requires_grad or weight.grad is None


def test_second_order_measures_fall_with_bits(network: Network, images: Tensor) -> None:
    labels = torch.arange(12) % 4
    for found in (
        hessian(network, CHOICES, images, labels, seed=0),
        fisher(network, CHOICES, images, seed=0),
    ):
        for name in NAMES:
            values = [found[name][mode] for mode in WeightMode]
            assert values == sorted(values, reverse=True)
            assert values[-1] >= 0
        assert found["second"][WeightMode.W2] > found["second"][WeightMode.W8]  # convex in these


def test_fisher_is_the_mean_squared_gradient_times_the_squared_perturbation(
    network: Network, images: Tensor
) -> None:
    found = fisher(network, CHOICES, images[:1], seed=0)["second"][WeightMode.W2]
    layer = network.module.get_submodule("second")
    weight = layer.weight
    assert isinstance(weight, Tensor)
    squared = perturbation(weight, WeightMode.W2).square()
    options = []
    for label in range(4):  # the label is drawn; one of them it must be
        logits = network.module(images[:1])
        loss = functional.cross_entropy(logits, torch.tensor([label]))
        weight.requires_grad_(True)
        logits = network.module(images[:1])
        loss = functional.cross_entropy(logits, torch.tensor([label]))
        (gradient,) = torch.autograd.grad(loss, weight)
        options.append(0.5 * float((gradient.square() * squared).sum()))
    assert any(found == pytest.approx(option, rel=1e-5) for option in options)


def test_probes_do_not_depend_on_the_number_of_threads(
    network: Network, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantised = QuantNetwork(network, dict.fromkeys(NAMES, WeightMode.W8))
    fit_activations(quantised, pictures(images), batches=1)
    found, right = [], []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "cores", lambda count=count: count)
        assert threads_for(quantised) == count
        found.append(logit_divergence(quantised, CHOICES, images))
        right.append(accuracy(quantised, pictures(images), batch=5))
    assert found[0] == found[1] == found[2]
    assert list(found[2]) == list(NAMES)
    assert right[0] == right[1] == right[2]
    assert 0 < right[0] < 1


def test_probes_of_large_images_have_one_copy_of_them_in_memory(
    network: Network, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantised = QuantNetwork(network, dict.fromkeys(NAMES, WeightMode.W8))
    fit_activations(quantised, pictures(images), batches=1)
    parts: list[int] = []

    def counted(work: Any, module: nn.Module, of: list[Any]) -> list[Any]:
        parts.append(len(of))
        return in_threads(work, module, of)

    monkeypatch.setattr(probes, "in_threads", counted)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    found = logit_divergence(quantised, CHOICES, images)
    monkeypatch.setattr(probes, "at_once", lambda shape, most: most - 1)
    assert logit_divergence(quantised, CHOICES, images) == found
    assert parts == [2, 1]


def test_one_thread_is_one_of_torch_and_of_numpy() -> None:
    with threadpool_limits(2, user_api="blas"):
        torch.set_num_threads(2)
        one_thread()
        assert torch.get_num_threads() == 1
        with pool_of(2) as pool:
            assert list(pool.map(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
        pools = [found for found in threadpool_info() if found["user_api"] == "blas"]
        assert [found["num_threads"] for found in pools] == [1] * len(pools)
        assert pools


def test_one_thread_is_one_of_scipy_too_whoever_imports_it_later() -> None:
    code = (
        "import threadpoolctl, quant.threads; quant.threads.one_thread(); import scipy.linalg; "
        "print([p['num_threads'] for p in threadpoolctl.threadpool_info()])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert len(found) > 1, done.stderr
    assert {*found} == {1}


def test_threads_take_copies_and_give_results_in_order(network: Network) -> None:
    seen = []

    def work(module: nn.Module, part: int) -> int:
        seen.append(module)
        if part == 3:
            raise ValueError("part 3")
        return 10 * part

    assert in_threads(work, network.module, [7]) == [70]
    assert seen == [network.module]
    assert in_threads(work, network.module, [5, 1, 2]) == [50, 10, 20]
    assert network.module not in seen[1:]
    with pytest.raises(ValueError, match="part 3"):
        in_threads(work, network.module, [1, 3])


def test_a_network_that_cannot_be_copied_takes_all_parts_itself() -> None:
    class Session(nn.Module):
        def __deepcopy__(self, memo: object) -> None:
            raise TypeError("cannot pickle a session")

    session = Session()
    found = in_threads(lambda module, part: (module, part), session, [1, 2])
    assert found == [(session, 1), (session, 2)]


def test_threads_end_soon_when_the_main_one_is_interrupted() -> None:
    class Slow(nn.Module):
        def forward(self, x: float) -> float:
            time.sleep(x)
            return x

    runs: list[int] = []

    def work(module: nn.Module, part: int) -> None:
        if part == 0:
            raise KeyboardInterrupt
        for _ in range(1000):
            module(0.01)
            runs.append(part)

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, Slow(), [0, 1])
    assert len(runs) < 500


def test_a_network_with_hooks_stays_in_one_thread(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    assert threads_for(network.module) == 2
    handle = network.module.get_submodule("first").register_forward_hook(lambda *_: None)
    assert threads_for(network.module) == 1
    handle.remove()
    assert threads_for(network.module) == 2
