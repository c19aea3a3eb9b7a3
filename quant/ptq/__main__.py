"""Quantise a trained network without training: `python -m quant.ptq`.

Exit status: 0 done, 2 bad input (one line on stderr), 130 stopped by Ctrl-C, 143 by SIGTERM
(`--resume DIR` goes on with the layer that was not done, to the identical result).
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hw.cli.command import CONFIG_NAME, command_app, complain, given_options
from hw.cli.config_file import write_config
from hw.cli.output import tell
from quant.begun import Begun, check_files, digests, read_begun, write_begun
from quant.catalogue import MODELS, onnx_file
from quant.errors import QuantError
from quant.ptq.options import Options
from quant.run_folder import PTQ, check_out
from quant.sources import open_data
from quant.stopping import INTERRUPTED, TERMINATED, TerminatedError, stoppable

BAD_INPUT = 2

NETWORK, WEIGHTS, ACTIVATIONS = "Network and images", "Weights", "Activations and norms"
CALIBRATION, RUN = "Calibration", "Run"
"""Groups of options in --help."""
EXAMPLES = (
    "sigmaquant ptq --model resnet8 --bits 4",
    "sigmaquant ptq --model dscnn --map runs/dscnn/result.json --method adaround",
    "sigmaquant ptq --model net:factory --weights net.safetensors --data images --act-bits float",
)


def main(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(MODELS)}, module:factory of your own, or FILE.onnx",
            rich_help_panel=NETWORK,
        ),
    ] = "resnet8",
    bits: Annotated[
        int | None,
        typer.Option(help="of all weights: 2, 3, 4 (default), 6, 8", rich_help_panel=WEIGHTS),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="nearest, gptq, act-order, sensitivity, obq or adaround", rich_help_panel=WEIGHTS
        ),
    ] = "sensitivity",
    calibration: Annotated[
        int, typer.Option(help="training images to calibrate on", rich_help_panel=CALIBRATION)
    ] = 512,
    act_calibration: Annotated[
        str,
        typer.Option(
            help="min-max, moving-average, percentile, mse or entropy", rich_help_panel=ACTIVATIONS
        ),
    ] = "min-max",
    act_bits: Annotated[
        str, typer.Option(help="2 to 8, or float for weights only", rich_help_panel=ACTIVATIONS)
    ] = "8",
    scheme: Annotated[
        str,
        typer.Option(
            help="per-channel-symmetric, per-channel-asymmetric or per-layer-asymmetric",
            rich_help_panel=WEIGHTS,
        ),
    ] = "per-channel-symmetric",
    range: Annotated[
        str,
        typer.Option(
            help="of weights: full, or narrow without the most negative integer",
            rich_help_panel=WEIGHTS,
        ),
    ] = "full",
    steps: Annotated[
        str, typer.Option(help="of weights: fitted or min-max", rich_help_panel=WEIGHTS)
    ] = "fitted",
    norms: Annotated[
        str, typer.Option(help="batch norms: matched or kept", rich_help_panel=ACTIVATIONS)
    ] = "matched",
    bias_correction: Annotated[
        bool,
        typer.Option(
            "--bias-correction",
            help="biases make up for errors of the mean",
            rich_help_panel=ACTIVATIONS,
        ),
    ] = False,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="statistics behind the quantised layers before",
            rich_help_panel=CALIBRATION,
        ),
    ] = False,
    map: Annotated[
        Path | None,
        typer.Option(help='bits: {"layer": 4, ...}, result.json', rich_help_panel=WEIGHTS),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder; runs/MODEL-ptq-seedN", rich_help_panel=RUN)
    ] = None,
    seed: Annotated[
        int, typer.Option(help="of the choice of calibration images", rich_help_panel=CALIBRATION)
    ] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="folder, FILE.npz or module:factory", rich_help_panel=NETWORK),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="file; the shipped ones", rich_help_panel=NETWORK)
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="folder of a stopped run; takes all its options", rich_help_panel=RUN),
    ] = None,
) -> None:
    """Quantise a trained network on calibration images; nothing is trained."""
    folder = resume
    with stoppable():
        try:
            if resume is None:
                options = Options(**{n: v for n, v in context.params.items() if n != "resume"})
                command = shlex.join(["python", "-m", "quant.ptq", *sys.argv[1:]])
            else:
                _refuse_others(context)
                begun = read_begun(resume, Options)
                check_files(begun)
                command, options = begun.command, begun.options.model_copy(update={"out": resume})
            recipe = options.check()
            check_out(options.folder, PTQ)
            images = open_data(options.data_folder, options.model)
            images.check_test_length()
            _ = images.train  # read before the heavy imports, so a bad file shows at once

            from quant.ptq.run import run

            def begin() -> None:
                nonlocal folder
                if resume is None:
                    _begin(options, command)
                folder = options.folder

            run(options, recipe, command=command, begin=begin)
            _tell(options.folder)
        except (ValueError, QuantError, OSError) as error:
            complain(str(error))
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            raise _stopped(folder, INTERRUPTED) from None
        except TerminatedError:
            raise _stopped(folder, TERMINATED) from None


def _tell(folder: Path) -> None:
    """Tell what was found, for `--quiet` and `--json`: the run's result.json."""
    document = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    top_1 = document["accuracy"]
    tell(
        f"top-1 {100 * top_1['searched']:.2f} % (float {100 * top_1['float']:.2f} %), "
        f"{document['packed_bytes']:,} bytes packed -> {folder}",
        document,
    )


def _begin(options: Options, command: str) -> None:
    """Write down what was asked for, once it is known to be possible."""
    read = digests([options.weights, options.map, onnx_file(options.model)])
    write_begun(Begun(command=command, options=options, read=read), options.folder)
    write_config(
        options.folder / CONFIG_NAME,
        command="ptq",
        values=options.model_dump(),
        implied=options.implied(),
    )


def _refuse_others(context: typer.Context) -> None:
    others = given_options(context, but="resume")
    if others:
        raise QuantError(
            f"resume must come alone, since it takes all options of the run, not with "
            f"{', '.join(others)}"
        )


def _stopped(folder: Path | None, status: int) -> typer.Exit:
    if folder is None:
        print("stopped before anything was done", file=sys.stderr)
        return typer.Exit(status)
    again = shlex.join(["python", "-m", "quant.ptq", "--resume", str(folder)])
    print(f"stopped; layers that are done are kept: go on with `{again}`", file=sys.stderr)
    return typer.Exit(status)


app = command_app(main, name="ptq", tells=True, examples=EXAMPLES)

if __name__ == "__main__":
    app()
