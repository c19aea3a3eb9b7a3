"""Memory images of an integer network for the accelerator: what Verilog's $readmemh loads.

Of each layer a file for its descriptor, its channels' parameters and its weights, in the order in
which docs/accelerator.md sends them; ``memory.json`` names each file, its depth and its width.
Nothing here needs gateware.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hw.accelerator_config import RECORD_BYTES, AcceleratorConfig
from hw.catalog import named
from hw.descriptor import DESCRIPTOR_BYTES
from hw.files import write_json, write_text
from sim.folder import Conv, FolderError, IntegerNetwork
from sim.lower import lower, order

FORMAT: Final = "sigmaquant-memory-images"
VERSION: Final = 1
INDEX_NAME = "memory.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MemoryFile(_Record):
    """A file of `depth` words of `width` bits, the first at address 0."""

    file: str
    depth: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=8, multiple_of=8)]


class LayerImages(_Record):
    """The files of a layer, in the order in which they are sent, before its activations."""

    layer: str
    input: str
    output: str
    weight_bits: int
    files: dict[Literal["descriptor", "parameters", "weights"], MemoryFile]


class MemoryIndex(_Record):
    """What memory.json holds; `host` are the steps that do not run on the array.

    A stream's beat has `bus_bits`; a word leaves lowest bits first.
    """

    format: Literal["sigmaquant-memory-images"] = FORMAT
    version: Literal[1] = VERSION
    network: str
    arrays_sha256: str
    config: str
    bus_bits: int
    layers: list[LayerImages]
    host: list[str]


def write(network: IntegerNetwork, config: str, out: Path) -> MemoryIndex:
    """Write the images of all layers for a configuration of `hw.catalog`, and their index.

    Raises
    ------
    ValueError
        If there is no such configuration.
    FolderError
        If a layer does not fit it; names the layer.
    """
    accelerator = named(config)
    steps = order(network.graph)
    contents = [
        (step, layer_bytes(network, step, accelerator)) for step in steps if isinstance(step, Conv)
    ]
    widths = {
        "descriptor": DESCRIPTOR_BYTES,
        "parameters": RECORD_BYTES,
        "weights": accelerator.weight_word_bytes,
    }
    layers = []
    for number, (step, parts) in enumerate(contents):
        files = {}
        for part, data in parts.items():
            name = f"{number:02}-{re.sub(r'[^A-Za-z0-9_.]', '_', step.name)}.{part}.memh"
            files[part] = write_words(out / name, data, widths[part])
        layers.append(
            LayerImages.model_validate(
                {
                    "layer": step.name,
                    "input": step.input,
                    "output": step.output,
                    "weight_bits": step.weight_bits,
                    "files": files,
                }
            )
        )
    index = MemoryIndex(
        network=network.graph.name,
        arrays_sha256=network.graph.arrays_sha256,
        config=config,
        bus_bits=8 * accelerator.bus_bytes,
        layers=layers,
        host=[step.name for step in steps if not isinstance(step, Conv)],
    )
    write_json(out / INDEX_NAME, index.model_dump(mode="json"), indent=1)
    return index


def layer_bytes(network: IntegerNetwork, step: Conv, config: AcceleratorConfig) -> dict[str, bytes]:
    """Return what a layer is sent before its activations, by part.

    Raises
    ------
    FolderError
        If the layer does not fit the configuration.
    """
    spec = network.graph.tensors[step.input]
    blank = np.zeros((spec.height, spec.width, spec.channels), np.uint8)
    layer = lower(network, step, blank, config)
    return {
        "descriptor": layer.descriptor(config).to_bytes(),
        "parameters": layer.parameter_bytes(config),
        "weights": layer.weight_bytes(config),
    }


def write_words(path: Path, data: bytes, size: int) -> MemoryFile:
    """Write words of `size` bytes as hexadecimal numbers, the first byte in the lowest bits."""
    words = [data[i : i + size][::-1].hex() for i in range(0, len(data), size)]
    comment = f"// {len(words)} words of {8 * size} bits"
    write_text(path, "\n".join([comment, *words, ""]))
    return MemoryFile(file=path.name, depth=len(words), width=8 * size)


def read_words(folder: Path, file: MemoryFile) -> bytes:
    """Read a file back, as $readmemh does.

    Raises
    ------
    FolderError
        If it is missing or has another depth or width than its entry says.
    """
    path = folder / file.file
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise FolderError(f"{path}: must be a file, but: {error.strerror}; export anew") from error
    words = re.sub(r"//.*", "", text).split()
    digits = file.width // 4
    if len(words) != file.depth or any(
        not re.fullmatch(rf"[0-9a-f]{{{digits}}}", w) for w in words
    ):
        raise FolderError(
            f"{path}: must be {file.depth} words of {digits} hexadecimal digits, as {INDEX_NAME} "
            "says; export anew"
        )
    return b"".join(bytes.fromhex(word)[::-1] for word in words)


def read_index(folder: Path) -> MemoryIndex:
    """Read memory.json.

    Raises
    ------
    FolderError
        If it is missing or not of this form.
    """
    path = folder / INDEX_NAME
    try:
        return MemoryIndex.model_validate_json(path.read_bytes())
    except OSError as error:
        raise FolderError(f"{path}: must be a file, but: {error.strerror}; export anew") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FolderError(f"{path}: {place}: {first['msg']}") from error
