"""What the nodes of a traced network do, as far as the array is concerned."""

from __future__ import annotations

import inspect
import math
import operator
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd

from quant.network import is_norm, quantisable


class Kind(Enum):
    """What a node does."""

    IMAGE = auto()
    OUTPUT = auto()
    LAYER = auto()
    """A convolution or dense layer that is quantised."""
    NORM = auto()
    """A batch norm that may be folded."""
    RELU = auto()
    CLIP = auto()
    """ReLU6: its upper end is that of the range."""
    ADD = auto()
    """The sum of two tensors of one shape."""
    POOL = auto()
    """An average over pixels."""
    CAT = auto()
    PASS = auto()
    """Moves values or picks some; their scale stays."""
    NOTHING = auto()
    OTHER = auto()
    """What the array has no operation for; stays in float."""


RECTIFIED = {Kind.RELU: math.inf, Kind.CLIP: 6.0}
"""Largest value of what a quantiser does along."""

ON_ARRAY = (Kind.LAYER, Kind.RELU, Kind.CLIP, Kind.ADD, Kind.POOL, Kind.CAT)
"""Operations that read integers."""

_SHUFFLES = (nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)
_MODULES: tuple[tuple[Kind, tuple[type[nn.Module], ...]], ...] = (
    (Kind.RELU, (nn.ReLU,)),
    (Kind.CLIP, (nn.ReLU6,)),
    (Kind.POOL, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)),
    (
        Kind.PASS,
        (nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Unflatten, nn.ZeroPad2d, *_SHUFFLES),
    ),
    (Kind.NOTHING, (nn.Identity, _DropoutNd)),
)
_PLAIN = (nn.ReLU, nn.ReLU6, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.Flatten)
_SUMS: set[Any] = {operator.add, torch.add, "add"}
_CALLS: tuple[tuple[Kind, set[Any]], ...] = (
    (Kind.RELU, {functional.relu, torch.relu, "relu"}),
    (Kind.CLIP, {functional.relu6}),
    (Kind.POOL, {functional.avg_pool2d, functional.adaptive_avg_pool2d}),
    (Kind.CAT, {torch.cat, torch.concat, torch.concatenate}),
    (
        Kind.PASS,
        {torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze}
        | {torch.unsqueeze, torch.chunk, torch.split, functional.max_pool2d, torch.max_pool2d}
        | {functional.adaptive_max_pool2d, functional.pixel_shuffle, functional.channel_shuffle}
        | {"flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze"}
        | {"contiguous", "chunk", "split", "unflatten", "clone"},
    ),
)
_MEANS: set[Any] = {torch.mean, "mean"}
_OUT_OF_PLACE: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    torch.relu_: torch.relu,
    functional.relu_: functional.relu,
}


def values_of(module: fx.GraphModule, example: Tensor) -> dict[fx.Node, Any]:
    """Run a graph and return what every node gives."""
    recorder = _Recorder(module)
    with torch.no_grad():
        recorder.run(example)
    return recorder.values


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]


def is_map(value: object) -> bool:
    """Whether a value is a tensor of activations."""
    return isinstance(value, Tensor) and value.is_floating_point()


def holds_maps(value: object) -> bool:
    """Whether a value is such a tensor or has some in it, unlike a shape."""
    return is_map(value) or (isinstance(value, list | tuple) and any(map(holds_maps, value)))


def read_maps(node: fx.Node, values: dict[fx.Node, Any]) -> list[fx.Node]:
    """Return the inputs of a node that are tensors of activations or have some in them."""
    return [n for n in node.all_input_nodes if holds_maps(values[n])]


def kinds_of(module: fx.GraphModule, values: dict[fx.Node, Any]) -> dict[fx.Node, Kind]:
    """Return what every node does.

    Parameters
    ----------
    module : fx.GraphModule
        Its operations out of place (`out_of_place`).
    values : dict of node to value
        Of an example (`values_of`).
    """
    own = parameters_read(module)
    kinds: dict[fx.Node, Kind] = {}
    for node in module.graph.nodes:
        kinds[node] = _kind(node, module, values, kinds, own)
    return kinds


def _kind(
    node: fx.Node,
    module: fx.GraphModule,
    values: dict[fx.Node, Any],
    kinds: dict[fx.Node, Kind],
    read_elsewhere: set[str],
) -> Kind:
    if node.op == "placeholder":
        return Kind.IMAGE
    if node.op == "output":
        return Kind.OUTPUT
    maps = read_maps(node, values)
    if node.op == "call_module":
        called = module.get_submodule(str(node.target))
        kind = _module_kind(called)
        if kind in (Kind.LAYER, Kind.NORM) and node.target in read_elsewhere:
            return Kind.OTHER
    else:
        kind = _call_kind(node, maps, values, kinds)
    if kind is Kind.OTHER and len(maps) == 1 and values[node] is values[maps[0]]:
        return Kind.NOTHING
    return kind


def _module_kind(called: nn.Module) -> Kind:
    if quantisable(called):
        return Kind.LAYER
    if is_norm(called):
        return Kind.NORM
    return next((kind for kind, types in _MODULES if isinstance(called, types)), Kind.OTHER)


def _call_kind(
    node: fx.Node,
    maps: list[fx.Node],
    values: dict[fx.Node, Any],
    kinds: dict[fx.Node, Kind],
) -> Kind:
    if not maps or any(n.op == "get_attr" for n in maps):
        return Kind.OTHER
    if node.target in _SUMS:
        terms = node.args[:2]
        both = len(terms) == 2 and all(isinstance(n, fx.Node) for n in terms) and not node.kwargs
        shapes = {tuple(values[n].shape) for n in maps if is_map(values[n])}
        return Kind.ADD if both and len(shapes) == 1 else Kind.OTHER
    if node.target is operator.getitem:
        source = maps[0]
        picked = is_map(values[source]) or kinds[source] is Kind.PASS
        return Kind.PASS if picked else Kind.OTHER
    if node.target in _MEANS:
        given = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        axes = set(given) if isinstance(given, list | tuple) else {given}
        whole = values[maps[0]].ndim == 4 and axes in ({2, 3}, {-1, -2})
        return Kind.POOL if whole else Kind.OTHER
    return next((kind for kind, targets in _CALLS if node.target in targets), Kind.OTHER)


def is_plain(node: fx.Node, kind: Kind, module: fx.GraphModule) -> bool:
    """Whether an operation is one that an integer network can be written of."""
    if node.op == "call_module":
        called = module.get_submodule(str(node.target))
        return kind in (Kind.LAYER, Kind.NORM) or isinstance(called, _PLAIN)
    flattens = node.target in (torch.flatten, "flatten")
    return kind in (Kind.IMAGE, Kind.OUTPUT, Kind.ADD, Kind.RELU, Kind.CLIP) or flattens


def parameters_read(module: fx.GraphModule) -> set[str]:
    """Return the paths of the modules whose parameters the graph reads without calling them."""
    targets = (str(n.target) for n in module.graph.nodes if n.op == "get_attr")
    return {target.rpartition(".")[0] for target in targets}


def out_of_place(module: fx.GraphModule) -> None:
    """Let no operation write over its input, so that quantisers can stand anywhere.

    Later readers of a tensor that was written over get the result instead.
    """
    order = {node: index for index, node in enumerate(module.graph.nodes)}
    written = {n for n, m in module.named_modules() if getattr(m, "inplace", False) is True}
    for name in written:
        module.get_submodule(name).inplace = False  # type: ignore[assignment]
    for node in module.graph.nodes:
        if not (node.target in written if node.op == "call_module" else _made_pure(node)):
            continue
        source = node.all_input_nodes[0]
        for user in list(source.users):
            if order[user] > order[node]:
                user.replace_input_with(source, node)
    module.recompile()


def _made_pure(node: fx.Node) -> bool:
    """Change a call that writes over its input to one that does not; whether it was one."""
    if node.op == "call_method":
        name = str(node.target)
        if not name.endswith("_") or name.endswith("__") or not hasattr(Tensor, name[:-1]):
            return False
        node.target = name[:-1]
        return True
    if node.op != "call_function":
        return False
    if node.target in _OUT_OF_PLACE:
        node.target = _OUT_OF_PLACE[node.target]
        return True
    try:
        given = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # a built-in function does not tell its parameters
        return False
    if given.arguments.get("inplace") is not True:
        return False
    given.arguments["inplace"] = False
    node.args, node.kwargs = given.args, given.kwargs
    return True
