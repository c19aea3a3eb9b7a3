"""Tracing a network: its quantisable layers, batch-norm pairs and shared activation tensors.

Tracing is `torch.fx`; where it cannot follow, `quant.hooks` does without. What the array has no
operation for is kept in the graph, in float, and noted.
"""

from __future__ import annotations

import copy
import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

from torch import Tensor, fx, nn

from quant.errors import QuantError
from quant.network import (
    Gap,
    Layer,
    Network,
    Norm,
    Note,
    WeightLayer,
    array_notes,
    float_notes,
    folded,
    gemm_shape,
    norm_affine,
    obstacle,
)
from quant.operations import (
    ON_ARRAY,
    RECTIFIED,
    Kind,
    holds_maps,
    is_map,
    is_plain,
    kinds_of,
    out_of_place,
    parameters_read,
    read_maps,
    values_of,
)
from quant.tracing import check_same, probe_images, run, symbolic

__all__ = [
    "Layer",
    "Network",
    "Norm",
    "Note",
    "WeightLayer",
    "folded",
    "gemm_shape",
    "norm_affine",
    "trace",
]


def trace(model: nn.Module, example: Tensor) -> Network:
    """Trace a network and find its layers.

    Parameters
    ----------
    model : nn.Module
        Maps one tensor to logits; left as it is.
    example : float [N, C, H, W]
        An input, for the shapes.

    Returns
    -------
    Network
        Its `notes` tell what has no integer form.

    Raises
    ------
    QuantError
        If tracing fails, the graph gives something else than the network, or nothing is there to
        quantise; names the module and line.
    """
    model = copy.deepcopy(model).eval()
    images = probe_images(example)
    expected = run(model, images)  # before its modules are made to work out of place
    module = symbolic(model)
    out_of_place(module)
    check_same(module, images, expected)
    graph = _Graph(module, example)
    layers = tuple(graph.layers(images=len(example)))
    if not layers:
        raise QuantError("network must have a Conv2d or Linear layer, not none")
    notes = tuple(graph.notes(model, layers))
    return Network(
        module=module,
        layers=layers,
        sites=MappingProxyType(graph.sites),
        rectified=MappingProxyType(graph.rectified),
        notes=notes,
        plain=graph.plain and not notes,
    )


class _Graph:
    """A traced graph with what is known of its nodes.

    Parameters
    ----------
    module : fx.GraphModule
        Changed: operations that do nothing go.
    example : float [N, C, H, W]
        An input.
    """

    def __init__(self, module: fx.GraphModule, example: Tensor) -> None:
        self.module = module
        self.values = values_of(module, example)
        self.kinds = kinds_of(module, self.values)
        self._erase()
        for node in [n for n, kind in self.kinds.items() if kind is Kind.LAYER]:
            node.args, node.kwargs = (node.all_input_nodes[0],), {}  # whatever it was called by
        self.unfolded: dict[str, str] = {}
        self.norms = self._norms()
        self.calls = Counter(n.target for n, kind in self.kinds.items() if kind is Kind.LAYER)
        names = self._tensor_names()
        self.sites = {node.name: names[node] for node in self.kinds if self._is_site(node)}

    @property
    def rectified(self) -> dict[str, float]:
        """Tensors that ReLUs of one kind made, and nothing else, with their largest value."""
        made: dict[str, set[Kind]] = {}
        for node, kind in self.kinds.items():
            if node.name in self.sites:
                made.setdefault(self.sites[node.name], set()).add(kind)
        one = {tensor: next(iter(by)) for tensor, by in made.items() if len(by) == 1}
        return {tensor: RECTIFIED[kind] for tensor, kind in one.items() if kind in RECTIFIED}

    @property
    def plain(self) -> bool:
        """Whether each operation is one that an integer network can be written of."""
        once = max(self.calls.values(), default=0) == 1
        clips = {
            self.sites.get(node.name) for node, kind in self.kinds.items() if kind is Kind.CLIP
        }
        by_range = clips <= set(self.rectified)  # integers cannot be cut off anywhere else
        plain = all(is_plain(node, k, self.module) for node, k in self.kinds.items())
        return once and by_range and plain

    def layers(self, *, images: int) -> Iterator[Layer]:
        """Yield the layers in order of execution, each once."""
        calls: dict[str, list[fx.Node]] = {}
        for node, kind in self.kinds.items():
            if kind is Kind.LAYER:
                calls.setdefault(str(node.target), []).append(node)
        for name, nodes in calls.items():
            module = self.module.get_submodule(name)
            shapes = [gemm_shape(module, self.values[n].shape, images=images) for n in nodes]
            yield Layer(
                name=name,
                shape=replace(shapes[0], pixels=sum(shape.pixels for shape in shapes)),
                source=self.sites[self._origin(nodes[0]).name],
                norm=self.norms.get(name),
            )

    def notes(self, model: nn.Module, layers: tuple[Layer, ...]) -> Iterator[Note]:
        """Yield what has no integer form."""
        yield from array_notes(model, layers)
        for name, reason in self.unfolded.items():
            yield Note(gap=Gap.UNFOLDED, place=name, text=f"batch norm stays in float: {reason}")
        others: dict[str, list[str]] = {}
        for node, kind in self.kinds.items():
            picks = node.target is operator.getitem
            computes = kind is Kind.OTHER and self._reads_maps(node) and not picks
            if computes and node.target not in self.unfolded:
                others.setdefault(_operation(node, self.module), []).append(_path(node))
        for operation, places in others.items():
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            text = f"no operation of the array, computed in float: {places[0]}{more}"
            yield Note(gap=Gap.OFF_ARRAY, place=operation, text=text)
        quantised = {layer.name for layer in layers}
        read = parameters_read(self.module)
        reasons: dict[str, str | None] = dict.fromkeys(quantised)
        for name, found in model.named_modules():
            if isinstance(found, WeightLayer) and name not in quantised:
                apart = "its weight is read without calling it" if name in read else None
                reasons[name] = obstacle(found) or apart or "it is not called"
        yield from float_notes(model, reasons)

    def _reads_maps(self, node: fx.Node) -> bool:
        return holds_maps(self.values[node]) and bool(read_maps(node, self.values))

    def _erase(self) -> None:
        for node in [n for n, kind in self.kinds.items() if kind is Kind.NOTHING]:
            node.replace_all_uses_with(read_maps(node, self.values)[0])
        self.module.graph.eliminate_dead_code()
        self.module.recompile()
        left = set(self.module.graph.nodes)
        self.kinds = {n: k for n, k in self.kinds.items() if n in left and k is not Kind.NOTHING}

    def _users(self, node: fx.Node) -> list[fx.Node]:
        """Readers of a tensor's values; those of its shape do not count."""
        return [
            user
            for user in node.users
            if self.kinds[user] is Kind.OUTPUT or holds_maps(self.values[user])
        ]

    def _origin(self, node: fx.Node) -> fx.Node:
        """Return the operation that made the values that a node reads."""
        before = read_maps(node, self.values)[0]
        return self._origin(before) if self.kinds[before] is Kind.PASS else before

    def _norms(self) -> dict[str, str]:
        """Batch norms to fold, by layer; the others become operations in float."""
        layers: dict[str, set[str | None]] = {}
        norms: dict[str, set[str]] = {}
        for node, kind in self.kinds.items():
            if kind is Kind.LAYER:
                users = self._users(node)
                alone = len(users) == 1 and self.kinds[users[0]] is Kind.NORM
                layers.setdefault(str(node.target), set()).add(
                    str(users[0].target) if alone else None
                )
            elif kind is Kind.NORM:
                before = node.all_input_nodes[0]
                lone = self.kinds[before] is Kind.LAYER and len(self._users(before)) == 1
                reads = str(before.target) if lone else f" {_path(before)}"
                norms.setdefault(str(node.target), set()).add(reads)
        pairs = {
            next(iter(reads)): norm
            for norm, reads in norms.items()
            if len(reads) == 1 and layers.get(next(iter(reads))) == {norm}
        }
        for node, kind in self.kinds.items():
            if kind is Kind.NORM and str(node.target) not in pairs.values():
                self.kinds[node] = Kind.OTHER
                found = " and ".join(sorted(name.strip() for name in norms[str(node.target)]))
                self.unfolded[str(node.target)] = (
                    f"it must read a layer that nothing else reads, not {found}"
                )
        return pairs

    def _tensor_names(self) -> dict[fx.Node, str]:
        """Names of all values; those that one layer reads in several calls have one name."""
        seen: Counter[str] = Counter()
        names = {}
        for node in self.kinds:
            path = _path(node)
            seen[path] += 1
            names[node] = path if seen[path] == 1 else f"{path}:{seen[path]}"
        for target, count in self.calls.items():
            if count > 1:
                read = [self._origin(n) for n in self.kinds if n.target == target]
                old = {names[n] for n in read}
                names |= {n: names[read[0]] for n, name in names.items() if name in old}
        return names

    def _is_site(self, node: fx.Node) -> bool:
        """Whether a node's value is quantised.

        What leaves the array is, after batch norm and ReLU, and what it reads. What goes into a
        concatenation and nowhere else gets the scale of the whole.
        """
        kind, users = self.kinds[node], self._users(node)
        if kind in (Kind.PASS, Kind.OUTPUT) or not is_map(self.values[node]):
            return False
        single = self.kinds[users[0]] if len(users) == 1 else None
        if single in (Kind.NORM, Kind.RELU, Kind.CLIP, Kind.CAT):
            return False
        readers = set(self._readers(node))
        if kind is Kind.OTHER:
            return not readers.isdisjoint(ON_ARRAY)
        return not readers <= {Kind.OUTPUT}

    def _readers(self, node: fx.Node) -> Iterator[Kind]:
        """Kinds of the operations that read a value, or what of it is passed on."""
        for user in self._users(node):
            if self.kinds[user] is Kind.PASS:
                yield from self._readers(user)
            else:
                yield self.kinds[user]


def _operation(node: fx.Node, module: fx.GraphModule) -> str:
    if node.op == "call_module":
        return type(module.get_submodule(str(node.target))).__name__
    return str(getattr(node.target, "__name__", node.target))


def _path(node: fx.Node) -> str:
    return str(node.target) if node.op in ("call_module", "placeholder") else node.name
