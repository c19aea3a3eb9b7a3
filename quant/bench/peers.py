"""What the scripts that ask other tools for bits share (`quant.bench.mct`, `quant.bench.modelopt`).

They run where the other tool is installed, which our own .venv is not, and write a file of maps
into `quant/bench/maps`; `python -m quant.bench.search` replays the maps through our backend. All
tools get the same: the float network with batch norms folded, a choice of 2, 4, 6 or 8 bit for
every layer (one more map with 2, 4 and 8 only), 8-bit activations, and training images.
"""

from __future__ import annotations

import copy
import itertools
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quant.batches import inputs_of
from quant.bench.catalogue import AVERAGE_BITS, MODELS, SEEDS
from quant.data import default_folder
from quant.errors import QuantError
from quant.files import write_json
from quant.graph import WeightLayer
from quant.threads import one_thread
from quant.workbench import Source, Workbench

MAPS = Path(__file__).parent / "maps"
IMAGES = 512
"""Training images that a tool calibrates on and measures sensitivities with."""
BATCH = 32
CHOICES = (2, 4, 6, 8)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a tool is asked.

    Parameters
    ----------
    name : str
        Of the maps that it gives.
    choices : tuple of int
        Bits of weights that a layer may have.
    settings : str
        In words, for the file.
    option : str
        What differs between the recipes of a tool.
    seeds : tuple of int
        Seeds of the choice of images that it is asked with.
    """

    name: str
    choices: tuple[int, ...]
    settings: str
    option: str
    seeds: tuple[int, ...] = SEEDS


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A network to be given bits.

    Parameters
    ----------
    model : str
        Its name.
    network : nn.Module
        In float and evaluation mode, batch norms folded; weight layers have our names.
    images : float32 [N, 1, H, W]
        Training images, in batches of `BATCH` by `batches`.
    labels : int64 [N]
        Their classes.
    weights : dict of str to int
        Weights of every layer, in order of execution.
    folder : Path
        For what a tool keeps between the maps of one network and seed; deleted after them.
    """

    model: str
    network: nn.Module
    images: Tensor
    labels: Tensor
    weights: dict[str, int]
    folder: Path

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels."""
        for start in range(0, len(self.labels), BATCH):
            stop = start + BATCH
            yield self.images[start:stop].contiguous(), self.labels[start:stop]

    def average(self, bits: dict[str, int]) -> float:
        """Return the mean bits of a weight."""
        total = sum(self.weights.values())
        return sum(self.weights[name] * bits[name] for name in self.weights) / total


Ask = Callable[[Task, Recipe, float], dict[str, int]]
"""A tool: bits of every layer, by our names, for a number of average bits."""


def task(model: str, *, seed: int, data: Path, folder: Path) -> Task:
    """Load a shipped network, fold its batch norms, and draw images of the training part."""
    bench = Workbench(Source(model=model, weights=None, data=data))
    random = np.random.default_rng(seed)
    part = bench.train_set.take(random.choice(len(bench.train_set), IMAGES, replace=False))
    return Task(
        model=model,
        network=without_norms(bench),
        images=inputs_of(part, np.arange(len(part))),
        labels=torch.from_numpy(part.labels),
        weights={layer.name: layer.shape.weights for layer in bench.network.layers},
        folder=folder,
    )


def without_norms(bench: Workbench) -> nn.Module:
    """Return a copy of the float network whose batch norms are folded into its layers."""
    network = copy.deepcopy(bench.teacher)
    for layer in bench.network.layers:
        weight, bias = bench.network.folded()[layer.name]
        module = network.get_submodule(layer.name)
        assert isinstance(module, WeightLayer)
        module.weight, module.bias = nn.Parameter(weight), nn.Parameter(bias)
        if layer.norm is not None:
            network.set_submodule(layer.norm, nn.Identity())
    return network.eval()


def write_maps(
    tool: str, package: str, recipes: Sequence[Recipe], ask: Ask, *, only: str = ""
) -> None:
    """Ask a tool for all maps of the benchmark and write them.

    The file is written after each map, and maps that it has are not asked for again, unless the
    recipes or the versions have changed.

    Parameters
    ----------
    tool : str
        Name of the file and of the tool.
    package : str
        The distribution that it comes in.
    recipes : sequence of Recipe
        How it is asked.
    ask : callable
        Asks it.
    only : str
        A network; all if empty.

    Raises
    ------
    QuantError
        If a map lacks a layer or is larger than was asked for.
    """
    one_thread()
    names = (package, "torch", "numpy")
    head = {
        "tool": tool,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in names},
        },
        "command": f"python -m quant.bench.{tool}",
        "images": IMAGES,
        "recipes": json.loads(json.dumps([asdict(recipe) for recipe in recipes])),
    }
    path = MAPS / f"{tool}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = {key: before.get(key) for key in head} == head
    maps: list[dict[str, Any]] = before["maps"] if same else []
    done = {(m["name"], m["model"], m["average_bits"], m["seed"]) for m in maps}
    models = (only,) if only else MODELS
    for recipe, seed, model in itertools.product(recipes, SEEDS, models):
        wanted = [a for a in AVERAGE_BITS if (recipe.name, model, a, seed) not in done]
        if not wanted or seed not in recipe.seeds:
            continue
        with tempfile.TemporaryDirectory() as folder:
            loaded = task(model, seed=seed, data=default_folder(), folder=Path(folder))
            for average in wanted:
                maps.append(_one(loaded, recipe, average, seed, ask))
                write_json(path, {**head, "maps": maps})
                print(tool, {**maps[-1], "bits": list(maps[-1]["bits"].values())}, flush=True)


def _one(loaded: Task, recipe: Recipe, average: float, seed: int, ask: Ask) -> dict[str, Any]:
    torch.manual_seed(seed)
    began = time.perf_counter()
    bits = ask(loaded, recipe, average)
    seconds = time.perf_counter() - began
    missing = [name for name in loaded.weights if name not in bits]
    if missing:
        raise QuantError(f"{recipe.name}: map must have every layer, not leave out {missing}")
    reached = loaded.average(bits)
    if reached > average + 1e-9:
        raise QuantError(f"{recipe.name}: average bits must be at most {average}, not {reached}")
    return {
        "name": recipe.name,
        "model": loaded.model,
        "average_bits": average,
        "seed": seed,
        "reached_bits": round(reached, 4),
        "seconds": round(seconds, 1),
        "bits": {name: bits[name] for name in loaded.weights},
    }
