"""Search the bits of every layer: `python -m quant.search`.

Exit status: 0 all targets met (accuracy on the test images), 3 not met (the best found is still
written), 2 bad input (one line on stderr), 130 stopped by Ctrl-C, 143 by SIGTERM or because another
process of torchrun ended (the best so far is in best.json and best.safetensors; `--resume DIR` goes
on).

`torchrun --nproc-per-node N -m quant.search ...` trains on N processes, with `--device cuda` each
on a GPU of its own: the same images in the same order, so the result differs in the order of float
sums only. torchrun itself exits with 1 where this command exits with anything but 0.

Limits are shares of uniform 8 bit (0.4, 40%) or have a unit (25kB, 2.5uJ, 15us, 300MBOPs, 0.2mm2);
see `quant.resources`. Where no resource is limited, the size is, to 0.4.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.cli.command import CONFIG_NAME, command_app, complain, given_options
from hw.cli.config_file import write_config
from hw.cli.output import tell
from quant.begun import Begun, check_files, digests, read_begun, write_begun
from quant.catalogue import onnx_file
from quant.errors import QuantError
from quant.launch import LostProcessError, launched, started_by
from quant.options import DEFAULT_ROUNDING, DEFAULT_TABLE, Options
from quant.request import Request
from quant.run_folder import FRONT, SEARCH, check_out
from quant.sources import open_data
from quant.stopping import INTERRUPTED, TERMINATED, TerminatedError, stoppable
from synth.table import CostTableError

NOT_MET = 3
BAD_INPUT = 2

NETWORK, LIMITS, CHOICE = "Network and images", "Limits", "Choice of bits"
TRAINING, RUN = "Training", "Run"
"""Groups of options in --help."""
EXAMPLES = (
    "sigmaquant search",
    "sigmaquant search --model dscnn --max-energy 2.5uJ --max-latency 40% --out runs/dscnn",
    "sigmaquant search --model net:factory --weights net.safetensors --data images --ptq-only",
    "sigmaquant search --pareto energy --points 12 --cost-table mine.json",
    "sigmaquant search --resume runs/dscnn",
)

Text = str | None

WHERE = {"--workers": "workers", "--cluster": "cluster"}
"""Options that no result depends on, so that a resumed search may have others."""


def main(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="resnet8, dscnn, module:factory of an nn.Module, FILE.onnx, torchvision:NAME",
            rich_help_panel=NETWORK,
        ),
    ] = "resnet8",
    max_drop: Annotated[
        float, typer.Option(help="largest loss of accuracy, a fraction", rich_help_panel=LIMITS)
    ] = 0.01,
    max_size: Annotated[
        Text,
        typer.Option(
            help="of the weights: 0.4, 200kbit, 25kB; 0.4 if nothing is limited",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_energy: Annotated[
        Text, typer.Option(help="of the array, an inference: 0.4, 2.5uJ", rich_help_panel=LIMITS)
    ] = None,
    max_latency: Annotated[
        Text, typer.Option(help="of an inference: 0.4, 15us", rich_help_panel=LIMITS)
    ] = None,
    max_bops: Annotated[
        Text, typer.Option(help="weight x activation bits: 0.4, 300MBOPs", rich_help_panel=LIMITS)
    ] = None,
    max_area: Annotated[
        Text,
        typer.Option(
            help="of the array: 0.2mm2, 0.8 (of the INT8 MACs); picks the table",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    cost_table: Annotated[
        list[Path],
        typer.Option(
            help="costs of the array; several: the smallest that fits",
            show_default=DEFAULT_TABLE.name,
            rich_help_panel=LIMITS,
        ),
    ] = [DEFAULT_TABLE],  # noqa: B006 - read only, as typer wants it
    method: Annotated[
        Text,
        typer.Option(
            help="sigmaquant (default), milp, greedy, uniform or auto", rich_help_panel=CHOICE
        ),
    ] = None,
    aim: Annotated[
        Text,
        typer.Option(
            help="of auto: cost (default), or accuracy, the best within the limits",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    sensitivity: Annotated[
        Text,
        typer.Option(
            help="of milp: logit-kl (default), kl, hessian or fisher", rich_help_panel=CHOICE
        ),
    ] = None,
    buffer: Annotated[
        Text,
        typer.Option(
            help="of sigmaquant: conservative, balanced (default) or aggressive",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    map: Annotated[
        Path | None, typer.Option(help='bits to replay: {"layer": 4, ...}', rich_help_panel=CHOICE)
    ] = None,
    ptq_only: Annotated[
        bool, typer.Option("--ptq-only", help="calibrate, train nothing", rich_help_panel=TRAINING)
    ] = False,
    pareto: Annotated[
        Text, typer.Option(help="walk the front: energy, size or latency", rich_help_panel=CHOICE)
    ] = None,
    points: Annotated[
        int | None, typer.Option(help="of the front; 8", rich_help_panel=CHOICE)
    ] = None,
    modes: Annotated[
        Text, typer.Option(help="bits to choose from: 2,4,8; the table's", rich_help_panel=CHOICE)
    ] = None,
    first_last: Annotated[
        str, typer.Option(help="bits of first and last layer", rich_help_panel=CHOICE)
    ] = "free",
    act_bits: Annotated[
        Text,
        typer.Option(
            help="bits of activations: 8 (default), 4, or 8,4 with BOPs or energy",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder; runs/MODEL-seedN", rich_help_panel=RUN)
    ] = None,
    seed: Annotated[int, typer.Option(help="of calibration and training", rich_help_panel=RUN)] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="folder, FILE.npz or module:factory", rich_help_panel=NETWORK),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="safetensors; the shipped ones", rich_help_panel=NETWORK)
    ] = None,
    qat_steps: Annotated[
        int, typer.Option(help="training steps in all", rich_help_panel=TRAINING)
    ] = 400,
    uniform: Annotated[
        bool, typer.Option(help="measure uniform bits, too", rich_help_panel=TRAINING)
    ] = True,
    scales: Annotated[
        Text,
        typer.Option(
            help="of weights in training: min-max (default) or learned", rich_help_panel=TRAINING
        ),
    ] = None,
    rounding: Annotated[
        str,
        typer.Option(
            help="of weights before training: sensitivity or nearest", rich_help_panel=TRAINING
        ),
    ] = DEFAULT_ROUNDING.value,
    workers: Annotated[
        int, typer.Option(min=0, help="processes beside this one", rich_help_panel=RUN)
    ] = 2,
    cluster: Annotated[
        str, typer.Option(help="address of a Dask scheduler, instead", rich_help_panel=RUN)
    ] = "",
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto: cuda if there is one", rich_help_panel=RUN)
    ] = "cpu",
    resume: Annotated[
        Path | None,
        typer.Option(
            help="folder of a stopped search; only --workers and --cluster may differ",
            rich_help_panel=RUN,
        ),
    ] = None,
) -> None:
    """Find the bits of every layer within budgets for accuracy and resources."""
    folder = resume
    with stoppable():
        try:
            if resume is None:
                options = Options(**{n: v for n, v in context.params.items() if n != "resume"})
                command = shlex.join([*started_by(launched()[1]), "quant.search", *sys.argv[1:]])
            else:
                elsewhere = _where(context)
                begun = _resumed(resume)
                command = begun.command
                options = begun.options.model_copy(update={"out": resume, **elsewhere})
            request = options.request(command=command)
            check_out(request.out, SEARCH if request.pareto is None else FRONT)
            images = open_data(request.data, request.model)
            images.check_test_length()
            _ = images.train  # read before the heavy imports, so a bad file shows at once

            from quant.run import run

            def begin() -> None:
                nonlocal folder
                if resume is None:
                    _begin(request, options)
                folder = request.out

            met = run(request, images, begin)
            _tell(request, met)
        except (ValueError, QuantError, CostTableError, OSError) as error:
            complain(str(error))
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            raise _stopped(folder, INTERRUPTED) from None
        except (TerminatedError, LostProcessError):
            raise _stopped(folder, TERMINATED) from None
    if not met:
        raise typer.Exit(NOT_MET)


def _tell(request: Request, met: bool) -> None:
    """Tell what was found, for `--quiet` and `--json`: the front, or the run's result.json."""
    found = "front.json" if request.pareto is not None else "result.json"
    document = json.loads((request.out / found).read_text(encoding="utf-8"))
    verdict = f"targets {'met' if met else 'NOT met'}"
    if request.pareto is not None:
        tell(f"{verdict}: front of {len(document['points'])} -> {request.out}", document)
        return
    top_1, size = document["accuracy"], document["relative_size"]
    tell(
        f"{verdict}: top-1 {100 * top_1['searched']:.2f} % (float {100 * top_1['float']:.2f} %), "
        f"size {size:.3f} of 8 bit -> {request.out}",
        document,
    )


def _resumed(out: Path) -> Begun[Options]:
    """Read what a stopped search was asked for, and see that it is still the same.

    Raises
    ------
    QuantError
        If there is none, a file that it reads is another one by now, or there are more or fewer
        processes.
    """
    begun, processes = read_begun(out, Options), launched()[1]
    if processes != begun.processes:
        raise QuantError(
            f"processes must be {begun.processes}, as when the search began, not {processes}; "
            f"resume with `{shlex.join(started_by(begun.processes))} quant.search --resume {out}`"
        )
    check_files(begun)
    return begun


def _begin(request: Request, options: Options) -> None:
    """Write down what was asked for, once it is known to be possible."""
    begun = Begun(
        command=request.command,
        options=options,
        read=digests([*options.cost_table, options.weights, options.map, onnx_file(options.model)]),
        processes=launched()[1],
    )
    write_begun(begun, request.out)
    write_config(
        request.out / CONFIG_NAME,
        command="search",
        values=options.given(),
        implied=options.implied(),
    )


def _where(context: typer.Context) -> dict[str, Any]:
    """Return those of the options beside ``--resume`` that say where jobs run; refuse others."""
    given = given_options(context, but="resume")
    others = [option for option in given if option not in WHERE]
    if others:
        raise QuantError(
            f"resume must come alone or with {' and '.join(WHERE)}, since it takes all other "
            f"options of the search, not with {', '.join(others)}"
        )
    if given == ["--workers"]:
        return {"workers": context.params["workers"], "cluster": ""}  # here, wherever it was
    return {WHERE[option]: context.params[WHERE[option]] for option in given}


def _stopped(folder: Path | None, status: int) -> typer.Exit:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends this process, too
    again = shlex.join(started_by(launched()[1]))
    if folder is None:
        print("stopped before anything was done", file=sys.stderr)
        return typer.Exit(status)
    print(
        f"stopped; the best so far, if any, is {folder}/best.json; "
        f"go on with `{again} quant.search --resume {folder}`",
        file=sys.stderr,
    )
    return typer.Exit(status)


app = command_app(main, name="search", tells=True, examples=EXAMPLES)

if __name__ == "__main__":
    if launched()[0] > 0:
        from quant.follower import follow

        follow()
    else:
        app()
