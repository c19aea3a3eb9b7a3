"""Symbolic tracing by `torch.fx`, with errors that name the module, the node and the line."""

from __future__ import annotations

import inspect
import linecache
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from quant.errors import QuantError
from quant.network import is_norm, quantisable

PROBE_IMAGES = 2
PROBE_SEED = 0
TOLERANCE = 1e-4
"""Of the comparison of the graph's outputs with those of forward(), relative to the largest."""

_TORCH = Path(torch.__file__).parent


def symbolic(model: nn.Module) -> fx.GraphModule:
    """Trace a network, each Conv2d, Linear and batch norm being one node.

    Parameters
    ----------
    model : nn.Module
        The caller's own; inputs after the first take their defaults from now on.

    Raises
    ------
    QuantError
        If `torch.fx` cannot follow forward(); names the module, the line of its code and the last
        node before it.
    """
    if len(inspect.signature(model.forward).parameters) > 1:
        model.__class__ = _of_one_input(type(model))
    tracer = _NamingTracer()
    try:
        graph = tracer.trace(model)
    except Exception as error:  # forward() may raise anything when it meets a symbolic value
        last = [node.name for node in tracer.graph.nodes][-1:]
        where = ", ".join([line_of(error), *(f"after node {name}" for name in last)])
        raise QuantError(
            f"{tracer.place}: must be traceable by torch.fx, not: {first_line(error)} ({where}); "
            "take control flow that depends on data out of forward()"
        ) from error
    return fx.GraphModule(model, graph)


def probe_images(example: Tensor) -> Tensor:
    """Return random images, float [`PROBE_IMAGES`, C, H, W], of the size of an example's."""
    generator = torch.Generator().manual_seed(PROBE_SEED)
    return torch.rand(PROBE_IMAGES, *example.shape[1:], generator=generator)


@torch.no_grad()
def check_same(module: fx.GraphModule, images: Tensor, expected: Tensor) -> None:
    """Compare what a graph gives with what the network that it was traced from gave.

    Tracing takes one way through forward() and may not notice that there are others.

    Parameters
    ----------
    module : fx.GraphModule
    images : float [N, C, H, W]
    expected : float
        The network's own outputs.

    Raises
    ------
    QuantError
        If the outputs differ.
    """
    try:
        found = module(images)
        largest = float(expected.nan_to_num().abs().max())
        same = torch.allclose(found, expected, atol=TOLERANCE * largest, equal_nan=True)
    except Exception as error:
        raise QuantError(
            f"network must run as a graph as it does by itself, not: {first_line(error)}"
        ) from error
    if not same:
        raise QuantError(
            "network must give the same as a graph as by itself, not something else: its forward() "
            "takes several ways; take control flow that depends on data out of it"
        )


@torch.no_grad()
def run(model: nn.Module, images: Tensor) -> Tensor:
    """Return what a network gives for images, float [N, C, H, W].

    Raises
    ------
    QuantError
        If it does not accept the images, or gives something else than one tensor.
    """
    try:
        logits = model(images)
    except Exception as error:  # of the user's code
        raise QuantError(
            f"network must accept an input of shape {tuple(images.shape)}, not: "
            f"{first_line(error)} ({line_of(error)})"
        ) from error
    if not isinstance(logits, Tensor):
        raise QuantError(
            f"network must give one tensor of logits, not a {type(logits).__name__}; pick it "
            "out in a module around the network"
        )
    return logits


def line_of(error: BaseException) -> str:
    """Return the last line of code outside torch that led to an error: file, line, text."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if _TORCH not in Path(f.filename).parents and f.filename != __file__]
    if not own:
        return "line unknown"
    frame = own[-1]
    text = linecache.getline(frame.filename, frame.lineno or 0).strip()
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"{place}: {text}" if text else place


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _of_one_input(kind: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass whose forward() takes the image only."""

    def forward(self: nn.Module, x: Tensor) -> Any:
        return kind.forward(self, x)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


class _NamingTracer(fx.Tracer):
    """Remembers the module that is being traced, for errors."""

    place = "network"

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf = quantisable(m) or is_norm(m)
        return leaf or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        before, self.place = self.place, self.path_of_module(m)
        result = super().call_module(m, forward, args, kwargs)
        self.place = before
        return result
