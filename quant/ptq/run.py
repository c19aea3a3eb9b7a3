"""One run of `python -m quant.ptq`, from the loaded network to the files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from quant.errors import QuantError
from quant.evaluate import accuracy
from quant.files import tensors_sha256
from quant.journal import Entry, Journal
from quant.network import Network
from quant.ptq.frames import Frame, frame_of
from quant.ptq.layerwise import Layerwise
from quant.ptq.network import calibration_images
from quant.ptq.options import LEAST_IMAGES, Options
from quant.ptq.recipe import BitsByLayer, Recipe
from quant.ptq.solve import Solution
from quant.quant_network import QuantNetwork
from quant.run_folder import STATE
from quant.threads import one_thread
from quant.workbench import Source, Workbench, reported

NOTES_SHOWN = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """All that a run found.

    Parameters
    ----------
    bits : mapping of str to int
        Of each layer's weights.
    solutions : dict of str to Solution
        Every layer.
    frame : Frame
        The quantised network.
    images : int
        Calibration images.
    float_test, test : float
        Top-1 accuracies on the test images: of the float network, and of the quantised one.
    in_integers : bool
        Whether `test` is that of the integers.
    seconds : float
        Time of the whole run since its start or resumption, the test images apart.
    """

    bits: BitsByLayer
    solutions: dict[str, Solution]
    frame: Frame
    images: int
    float_test: float
    test: float
    in_integers: bool
    seconds: float


def run(
    options: Options,
    recipe: Recipe,
    *,
    command: str,
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Quantise, measure, write the results and print them.

    Parameters
    ----------
    options : Options
    recipe : Recipe
        That of the options.
    command : str
        The command line, for result.json.
    begin : callable
        Called once network, images and map are known to be right, before anything is written.

    Raises
    ------
    QuantError
        If the network, the images or the map cannot be worked with.
    """
    from quant.ptq.report import print_report
    from quant.ptq.result import write_results

    one_thread()
    console = Console(stderr=True)
    source = Source(model=options.model, weights=options.weights, data=options.data_folder)
    bench = Workbench(source)
    options.bits_of(tuple(layer.name for layer in bench.network.layers))
    check_finite(bench.network)
    begin()
    for note in bench.network.notes[:NOTES_SHOWN]:
        console.print(f"{note.gap.value}: {note}", markup=False, soft_wrap=True)
    state = options.folder / STATE
    outcome = quantised(bench, options, recipe, Journal(state), console)
    result = write_results(bench, options, recipe, outcome, command=command)
    print_report(result, options.folder)
    console.print(f"quantised in {outcome.seconds:.1f} s, test images apart")
    shutil.rmtree(state, ignore_errors=True)


def quantised(
    bench: Workbench, options: Options, recipe: Recipe, journal: Journal, console: Console
) -> Outcome:
    """Quantise the network of a workbench and measure it; errors as in `run`."""
    began = time.perf_counter()
    network = bench.network
    bits = options.bits_of(tuple(layer.name for layer in network.layers))
    images = calibration_images(bench.train_set, options.calibration, seed=options.seed)
    if len(images) < LEAST_IMAGES:
        raise QuantError(
            f"{options.data_folder}: training images must be at least {LEAST_IMAGES}, "
            f"not {len(images)}"
        )
    frame = frame_of(network, bits, recipe)
    asked = {
        "model": options.model,
        "images": len(images),
        "seed": options.seed,
        "weights_sha256": tensors_sha256(bench.teacher.state_dict()),
        "data_sha256": {k: v for k, v in bench.images.sha256.items() if k.startswith("train")},
    }
    layerwise = Layerwise(network, frame, bits, recipe, images, journal, asked)
    solutions = _watched(layerwise.run(), len(bits), console)
    solutions = {layer.name: solutions[layer.name] for layer in network.layers}
    frame.finish(images)
    seconds = time.perf_counter() - began
    shown = measured_as(frame, bench)
    test = bench.images.test  # read before its digest is asked for

    def measure() -> Entry:
        found = {
            "float": accuracy(bench.teacher, test),
            "quantised": accuracy(shown, test),
        }
        return Entry(values=found)

    console.print("test images")
    asked |= {"recipe": recipe.json(), "bits": bits, "data_sha256": dict(bench.images.sha256)}
    found = journal.step("test", asked, measure).values
    return Outcome(
        bits=bits,
        solutions=solutions,
        frame=frame,
        images=len(images),
        float_test=found["float"],
        test=found["quantised"],
        in_integers=shown is not frame.module,
        seconds=seconds,
    )


def check_finite(network: Network) -> None:
    """Refuse weights that are infinite or NaN.

    Raises
    ------
    QuantError
        If there is one; names the parameter.
    """
    for name, parameter in network.module.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise QuantError(
                f"{name}: weights must be finite, not infinite or NaN; take a network whose "
                "training did not diverge"
            )


def measured_as(frame: Frame, bench: Workbench) -> nn.Module:
    """Return the network whose accuracy is told: in integers where it has an integer form."""
    module = frame.module
    if not isinstance(module, QuantNetwork):
        return module
    if any(module.act_quantizer(tensor).range is None for tensor in module.act_quantizers):
        return module
    return reported(module, bench.example)


def _watched(
    layers: Iterable[tuple[str, Solution]], count: int, console: Console
) -> dict[str, Solution]:
    """Take all layers, a bar showing how many are done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} layers"),
        TimeElapsedColumn(),
    )
    found = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("calibration images", total=count)
        for name, solution in layers:
            found[name] = solution
            progress.update(task, description=name, advance=1)
    return found
