"""The content of a run's result.json, and its other files; the keys are those of a search's."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quant.catalogue import PRETRAINED, is_foreign, is_onnx
from quant.files import save_tensors, sha256, write_json
from quant.journal import Entry, Journal
from quant.models import WEIGHTS_FOLDER
from quant.pretrained import weights_file
from quant.ptq.folded import FoldedNetwork
from quant.ptq.frames import MODES
from quant.ptq.options import Options
from quant.ptq.recipe import Recipe
from quant.ptq.run import Outcome
from quant.ptq.schemes import WeightScheme
from quant.ptq.solve import Solution
from quant.ptq.stored import folded_tensors
from quant.quant_network import QuantNetwork
from quant.result import NETWORK, PACKAGES, write_integers
from quant.run_folder import INTEGER_FOLDER
from quant.workbench import Workbench

RECORD_BYTES = 8
"""Bias, multiplier and shift of a channel, as in an integer network."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What `quant.result.write_integers` asks of a run."""

    model: str
    seed: int
    out: Path


def write_results(
    bench: Workbench, options: Options, recipe: Recipe, outcome: Outcome, *, command: str
) -> dict[str, Any]:
    """Write all files of a run, in place of an earlier one's; returns the content of result.json.

    What this run does not have, an integer network or a network for the array, is not left over
    from an earlier run in the folder either.
    """
    result = result_of(bench, options, recipe, outcome, command=command)
    out = options.folder
    shutil.rmtree(out / INTEGER_FOLDER, ignore_errors=True)
    (out / f"{NETWORK}.safetensors").unlink(missing_ok=True)
    about = {"model": options.model, "seed": str(options.seed)}
    module = outcome.frame.module
    if outcome.in_integers:
        assert isinstance(module, QuantNetwork)
        run = Run(model=options.model, seed=options.seed, out=out)
        test = bench.images.test
        result["integer_network"] = write_integers(run, module, bench.example, result, test=test)
    else:
        reason = _no_integers(bench, recipe)
        result["integer_network"] = {"folder": None, "reason": reason}
    if isinstance(module, QuantNetwork):
        entry = Entry(snapshot=module.snapshot())
        Journal(out).write(NETWORK, {"model": options.model}, entry)
    save_tensors(dict(bench.teacher.state_dict()), out / "float.safetensors", metadata=about)
    save_tensors(tensors(outcome), out / "quantised.safetensors", metadata=about)
    write_json(out / "result.json", result)
    return result


def _no_integers(bench: Workbench, recipe: Recipe) -> str:
    if recipe.scheme is not WeightScheme.CHANNEL_SYMMETRIC:
        return f"weights are {recipe.scheme.value}; the array takes per-channel symmetric ones"
    if recipe.act_bits is None:
        return "activations are in float"
    if not recipe.on_array:
        return f"activations have {recipe.act_bits} bit"
    gaps = "; ".join(str(note) for note in bench.network.notes)
    return f"the network has operations without an integer form: {gaps or 'see gaps'}"


def tensors(outcome: Outcome) -> dict[str, Tensor]:
    """Integers, steps and zero points of all layers, for a safetensors file.

    Returns
    -------
    dict
        ``<layer>.weight`` int8, ``<layer>.scale`` float32 [M], ``<layer>.zero_point`` int32 [M] and
        ``<layer>.bits`` int32 [1], in the order of the float weights; of a scheme that the array
        does not run also what `quant.ptq.stored.folded_tensors` adds, so that `rebuilt` there gives
        the network. One that it runs is in network.safetensors.
    """
    found: dict[str, Tensor] = {}
    for name, solution in outcome.solutions.items():
        grid = solution.weights.grid
        found[f"{name}.weight"] = solution.weights.integers
        found[f"{name}.scale"] = torch.from_numpy(grid.scale).float()
        found[f"{name}.zero_point"] = torch.from_numpy(grid.zero_point).int()
        found[f"{name}.bits"] = torch.tensor([outcome.bits[name]], dtype=torch.int32)
    module = outcome.frame.module
    return found | folded_tensors(module) if isinstance(module, FoldedNetwork) else found


def packed_bytes(solution: Solution, bits: int) -> int:
    """Bytes of a layer's weights, packed at `bits` each, and of its records, 8 a channel."""
    weight = solution.weights.integers
    return -(-weight.numel() * bits // 8) + RECORD_BYTES * len(weight)


def result_of(
    bench: Workbench, options: Options, recipe: Recipe, outcome: Outcome, *, command: str
) -> dict[str, Any]:
    """Return the content of result.json; ``searched`` stands for the network of the run.

    ``packed_bytes`` counts weights at the bits that were asked for, ``array_packed_bytes`` at those
    that the array stores: it has no precision of 3 bit and packs such weights as 4.
    """
    bits, solutions = outcome.bits, outcome.solutions
    sizes = {name: s.weights.integers.numel() for name, s in solutions.items()}
    size_bits = sum(sizes[name] * bits[name] for name in sizes)
    return {
        "model": options.model,
        "data": {
            "folder": str(options.data_folder),
            "images": {
                "train": len(bench.train_set),
                "calibration": outcome.images,
                "test": len(bench.images.test),
            },
        },
        "seed": options.seed,
        "method": f"ptq-{recipe.method.value}",
        "recipe": recipe.json(),
        "allocation": dict(bits),
        "relative_size": size_bits / (8 * sum(sizes.values())),
        "size_bits": size_bits,
        "packed_bytes": sum(packed_bytes(s, bits[name]) for name, s in solutions.items()),
        "array_packed_bytes": sum(
            packed_bytes(s, MODES[bits[name]].bits) for name, s in solutions.items()
        ),
        "accuracy": {"float": outcome.float_test, "searched": outcome.test},
        "accuracy_of_integers": outcome.in_integers,
        "layers": [
            {
                "name": name,
                "bits": bits[name],
                "weights": sizes[name],
                "packed_bytes": packed_bytes(solution, bits[name]),
                "nearest_error": solution.nearest,
                "error": solution.error,
                "seconds": solution.seconds,
            }
            for name, solution in solutions.items()
        ],
        "gaps": [
            {"gap": note.gap.value, "place": note.place, "text": note.text}
            for note in bench.network.notes
        ],
        "provenance": _provenance(bench, options, command),
    }


def _provenance(bench: Workbench, options: Options, command: str) -> dict[str, Any]:
    weights = weights_of(options)
    packages = (*PACKAGES, "scipy")
    return {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
        },
        "weights": {**({} if weights is None else {"sha256": sha256(weights)}), **bench.metadata},
        "data_sha256": dict(sorted(bench.images.sha256.items())),
    }


def weights_of(options: Options) -> Path | None:
    """File that the float weights came from; none of a network that brings its own."""
    if options.weights is not None or is_foreign(options.model):
        return options.weights
    if is_onnx(options.model):
        return Path(options.model)
    if options.model in PRETRAINED:
        return weights_file(options.model)
    return WEIGHTS_FOLDER / f"{options.model}.safetensors"
