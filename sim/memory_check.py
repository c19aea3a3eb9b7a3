"""Written memory images beside the integer network that they are of.

All files are read back, as $readmemh does, and decoded; every integer must be the network's, and
every bit that holds none must be 0. Nothing here needs gateware.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hw.accelerator_config import AcceleratorConfig
from hw.catalog import named
from hw.descriptor import FIELDS, VERSION, LayerDescriptor
from sim import memory_decode as decode
from sim.folder import Conv, FolderError, IntegerNetwork
from sim.golden import Ints
from sim.lower import APART, PIECES, lower, order
from sim.memory_images import INDEX_NAME, LayerImages, layer_bytes, read_index, read_words

Compared = tuple[str, str, Ints, Ints]
"""The file, what the integers are, those found, and those of the network, both of one shape."""


def check(network: IntegerNetwork, config: str, folder: Path) -> int:
    """Hold a folder of memory images to its network.

    Parameters
    ----------
    network : IntegerNetwork
    config : str
        Name in `hw.catalog`.
    folder : Path
        What `sim.memory_images.write` has written.

    Returns
    -------
    int
        How many integers were compared, all equal.

    Raises
    ------
    ValueError
        If there is no such configuration.
    FolderError
        If a file is damaged or an integer differs; names the file and the integer.
    """
    accelerator, graph = named(config), network.graph
    steps = order(graph)
    index = read_index(folder)
    convs = [step for step in steps if isinstance(step, Conv)]
    about: dict[str, tuple[object, object]] = {
        "network": (index.network, graph.name),
        "arrays_sha256": (index.arrays_sha256, graph.arrays_sha256),
        "config": (index.config, config),
        "bus_bits": (index.bus_bits, 8 * accelerator.bus_bytes),
        "host": (index.host, [s.name for s in steps if not isinstance(s, Conv)]),
        "layers": (
            [(entry.layer, entry.input, entry.output, entry.weight_bits) for entry in index.layers],
            [(step.name, step.input, step.output, step.weight_bits) for step in convs],
        ),
    }
    for name, (found, expected) in about.items():
        if found != expected:
            raise FolderError(
                f"{folder / INDEX_NAME}: {name} must be {expected}, as of the integer network, "
                f"not {found}"
            )
    return sum(
        _check_layer(network, step, entry, folder, accelerator)
        for step, entry in zip(convs, index.layers, strict=True)
    )


def _check_layer(
    network: IntegerNetwork,
    step: Conv,
    entry: LayerImages,
    folder: Path,
    config: AcceleratorConfig,
) -> int:
    """Compare a layer's integers; returns how many there are."""
    files = {str(part): file for part, file in entry.files.items()}
    sent = layer_bytes(network, step, config)
    sizes = {part: file.depth * file.width // 8 for part, file in files.items()}
    wanted = {part: len(content) for part, content in sent.items()}
    if sizes != wanted:
        raise FolderError(
            f"{folder / INDEX_NAME}: files of {step.name} must be of {wanted} bytes, not {sizes}"
        )
    data = {part: read_words(folder, file) for part, file in files.items()}
    paths = {part: folder / file.file for part, file in files.items()}
    count = 0
    for part, what, found, expected in _integers(network, step, data, config):
        wrong = np.argwhere(found != expected)
        if len(wrong):
            place = tuple(int(i) for i in wrong[0])
            at = f"[{', '.join(map(str, place))}]" if place else ""
            raise FolderError(
                f"{paths[part]}: {step.name}.{what}{at} must be {expected[place]}, as in the "
                f"integer network, not {found[place]}"
            )
        count += expected.size
    for part, content in sent.items():  # equal in all integers: what is left fills words
        if data[part] != content:
            raise FolderError(
                f"{paths[part]}: bits of {step.name} that hold no integer of the network must be "
                "as docs/accelerator.md says, but differ"
            )
    return count


def _integers(
    network: IntegerNetwork, step: Conv, data: dict[str, bytes], config: AcceleratorConfig
) -> Iterator[Compared]:
    """Decode a layer, each part when those before it are known to be right."""
    spec = network.graph.tensors[step.input]
    blank = np.zeros((spec.height, spec.width, spec.channels), np.uint8)
    layer = lower(network, step, blank, config)
    descriptor, arrays = layer.descriptor(config), network.layers[step.name]
    expected_fields = _fields(network, step, descriptor)
    for name, value in decode.descriptor_fields(data["descriptor"]).items():
        yield "descriptor", name, np.array(value), np.array(expected_fields[name])
    found = decode.parameters(data["parameters"], descriptor, layer.shape)
    planes = np.array([mode.digits - 1 for mode in layer.planes(config)])
    yield "parameters", "planes", found["planes"], planes
    # logits leave in pieces: the same channels again, with higher shifts
    pieces = PIECES if network.graph.tensors[step.output].signed else 1
    apart = np.repeat(APART * np.arange(pieces), len(arrays.shift))
    yield "parameters", "bias", found["bias"], np.tile(arrays.bias, pieces)
    yield "parameters", "multiplier", found["multiplier"], np.tile(arrays.multiplier, pieces)
    yield "parameters", "shift", found["shift"], np.tile(arrays.shift, pieces) + apart
    weight = decode.weights(data["weights"], found["planes"], descriptor, layer.shape, config)
    yield "weights", "weight", weight, np.tile(arrays.weight, pieces)


def _fields(network: IntegerNetwork, step: Conv, descriptor: LayerDescriptor) -> dict[str, int]:
    """Fields of a layer's descriptor: the network's own, and those of its place on the array."""
    source, target = network.graph.tensors[step.input], network.graph.tensors[step.output]
    own = {
        "mode": step.weight_bits // 2 - 1,
        "in_h": source.height,
        "in_w": source.width,
        "out_h": target.height,
        "out_w": target.width,
        "kernel_h": step.kernel_h,
        "kernel_w": step.kernel_w,
        "stride": step.stride,
        "pad_top": step.pad_top,
        "pad_left": step.pad_left,
        "in_zero_point": source.zero_point,
        "version": VERSION,
        "flags": 0,
        "reserved": 0,
    }
    if not target.signed:
        own |= {"out_zero_point": target.zero_point, "low": step.low, "high": step.high}
    bits = dict(FIELDS)
    placed = {name: int(v) for name, v in asdict(descriptor).items() if name != "mode"}
    return {n: v & (1 << bits.get(n, 1)) - 1 for n, v in (placed | own).items()}
