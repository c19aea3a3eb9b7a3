"""Layers of a network that cannot be traced, found by watching it run on samples.

Nothing is moved: each Conv2d and Linear is quantised where it is, its input by a quantiser of its
own. A batch norm is folded where it provably reads one layer's output, and nothing else does, in
every call on the samples; `quant.inplace` checks on every later input that this still holds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hw.schedule import GemmShape
from quant.errors import QuantError
from quant.network import (
    Gap,
    InPlaceNetwork,
    Layer,
    Note,
    WeightLayer,
    array_notes,
    float_notes,
    gemm_shape,
    is_norm,
    obstacle,
)
from quant.recording import Recording, record

_SUMS = ("add", "add_")
_QUIET = {
    *("relu", "relu_", "threshold", "threshold_", "hardtanh", "hardtanh_", "clamp_min"),
    *("avg_pool2d", "max_pool2d_with_indices", "mean", "_adaptive_avg_pool2d", "native_dropout"),
    *("native_batch_norm", "_native_batch_norm_legit_no_training", "clone", "copy_", "detach"),
    *("empty", "zeros", "ones", "full", "_to_copy", "constant_pad_nd"),
}
"""Operations that are noted elsewhere or change nothing."""


def watched(model: nn.Module, samples: Sequence[Tensor], *, reason: str) -> InPlaceNetwork:
    """Find a network's layers by running it.

    Parameters
    ----------
    model : nn.Module
        Maps one tensor to logits; left as it is.
    samples : sequence of float [N, C, H, W]
        The layers are those that the first one calls. The others may take other ways through the
        network; a batch norm is folded if that is right on all of them.
    reason : str
        Why it was not traced; the first note.

    Raises
    ------
    QuantError
        If the network does not run, or there is nothing to quantise.
    """
    model = copy.deepcopy(model).eval()
    recordings = [record(model, sample) for sample in samples]
    modules = dict(model.named_modules())
    called = {call.module for call in recordings[0].calls}
    found = {n: m for n, m in modules.items() if n in called - {""} and isinstance(m, WeightLayer)}
    reasons = {n: obstacle(m) or _read_outside(n, m, recordings) for n, m in found.items()}
    names = [name for name, why_not in reasons.items() if why_not is None]
    if not names:
        raise QuantError("network must have a Conv2d or Linear layer, not none")
    pairs, unfolded = _norms(modules, names, recordings)
    layers = tuple(
        Layer(
            name=name,
            shape=_shape(modules[name], name, recordings[0]),
            source=f"{name}.input",
            norm=pairs.get(name),
        )
        for name in _in_order(names, recordings[0])
    )
    notes = [
        Note(gap=Gap.UNTRACED, place="network", text=f"quantised layer by layer: {reason}"),
        *array_notes(model, layers),
        *unfolded,
        *_unshared(recordings, set(names)),
        *_off_array(recordings, set(names)),
        *float_notes(model, _reasons(modules, reasons, recordings)),
    ]
    return InPlaceNetwork(
        module=model,
        layers=layers,
        notes=tuple(dict.fromkeys(notes)),
        image_layers=frozenset(n for n in names if _reads_image(n, recordings)),
    )


def _in_order(names: Sequence[str], recording: Recording) -> list[str]:
    """Sort layers by their first call."""
    return sorted(names, key=[call.module for call in recording.calls].index)


def _shape(module: nn.Module, name: str, recording: Recording) -> GemmShape:
    """Shape of a layer, all calls as one."""
    shapes = [gemm_shape(module, c.shape, images=recording.images) for c in recording.of(name)]
    return replace(shapes[0], pixels=sum(shape.pixels for shape in shapes))


def _reads_image(name: str, recordings: Sequence[Recording]) -> bool:
    return all(
        call.reads == recording.image and not recording.written(recording.image)
        for recording in recordings
        for call in recording.of(name)
    )


def _read_outside(name: str, module: WeightLayer, recordings: Sequence[Recording]) -> str | None:
    """Say so if something else than the layer's own call reads its weight."""
    weight = module.weight.untyped_storage().data_ptr()
    outside = any(
        name not in op.scope for recording in recordings for op in recording.readers(weight)
    )
    return "its weight is read outside its call" if outside else None


def _reasons(
    modules: dict[str, nn.Module],
    known: dict[str, str | None],
    recordings: Sequence[Recording],
) -> dict[str, str | None]:
    """Add to the reasons why layers are not quantised those of layers that are not called."""
    more = {
        name: "its weight is read without calling it"
        for name, module in modules.items()
        if isinstance(module, WeightLayer)
        and any(r.readers(module.weight.untyped_storage().data_ptr()) for r in recordings)
    }
    return {**more, **known}


def _norms(
    modules: dict[str, nn.Module], names: Sequence[str], recordings: Sequence[Recording]
) -> tuple[dict[str, str], list[Note]]:
    """Batch norms to fold, by layer, and a note for each other one that was called."""
    pairs: dict[str, str] = {}
    notes = []
    for norm, module in modules.items():
        if not isinstance(module, _BatchNorm) or not any(r.of(norm) for r in recordings):
            continue
        layer, why_not = _only_source(norm, set(names), recordings)
        if not is_norm(module):
            why_not = f"{type(module).__name__} must have running statistics and nothing of its own"
        if why_not is None:
            pairs[layer] = norm
        else:
            text = f"batch norm stays in float: {why_not}"
            notes.append(Note(gap=Gap.UNFOLDED, place=norm, text=text))
    return pairs, notes


def _only_source(
    norm: str, names: set[str], recordings: Sequence[Recording]
) -> tuple[str, str | None]:
    """Return the one layer whose output a batch norm reads, or why there is none."""
    sources: set[str] = set()
    for recording in recordings:
        gave = {call.gave: call for call in recording.calls if call.module in names}
        for call in recording.of(norm):
            if call.given not in gave:
                found = recording.maker(call.reads)
                return "", f"it must read a layer's output as it is, not {found}"
            layer = gave[call.given]
            others = [op for op in recording.readers(layer.makes) if norm not in op.scope]
            if others or layer.makes == recording.output:
                found = others[0].title if others else "the caller"
                return "", f"it must be all that reads {layer.module}, not {found}, too"
            sources.add(layer.module)
        if any(len(recording.of(source)) != len(recording.of(norm)) for source in sources):
            return "", f"it must follow each call of {', '.join(sorted(sources))}"
    if len(sources) != 1:
        return "", f"it must follow one layer, not {', '.join(sorted(sources))}"
    return sources.pop(), None


def _unshared(recordings: Sequence[Recording], names: set[str]) -> Iterator[Note]:
    """Yield a note for each tensor of several layers, and each sum and concatenation."""
    for recording in recordings:
        readers: dict[int, list[str]] = {}
        for call in recording.calls:
            if call.module in names:
                readers.setdefault(call.given, []).append(call.module)
        for layers in readers.values():
            if len(set(layers)) > 1:
                text = "they read one tensor, each through a quantiser of its own"
                place = ", ".join(dict.fromkeys(layers))
                yield Note(gap=Gap.UNSHARED, place=place, text=text)
        for op in recording.operations:
            if op.name not in (*_SUMS, "cat") or not names.isdisjoint(op.scope):
                continue
            whole = len(op.shapes[0]) > 1 and (op.name == "cat" or len(set(op.shapes)) == 1)
            if whole and len(op.reads) > 1:
                what = "concatenation" if op.name == "cat" else "sum"
                parts = " and ".join(recording.maker(tensor) for tensor in op.reads)
                text = f"{what} of {parts} stays in float, with no quantiser of its own"
                yield Note(gap=Gap.UNSHARED, place=op.scope[-1] or "network", text=text)


def _off_array(recordings: Sequence[Recording], names: set[str]) -> Iterator[Note]:
    """Yield a note for each kind of operation that the array has not."""
    places: dict[str, dict[str, None]] = {}
    for recording in recordings:
        for op in recording.operations:
            quiet = op.view or op.name in {*_QUIET, *_SUMS, "cat"}
            if not quiet and names.isdisjoint(op.scope) and any(len(s) > 1 for s in op.shapes):
                places.setdefault(op.name, {})[op.scope[-1] or "network"] = None
    for name, found in places.items():
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        text = f"no operation of the array, computed in float: {next(iter(found))}{more}"
        yield Note(gap=Gap.OFF_ARRAY, place=name, text=text)
