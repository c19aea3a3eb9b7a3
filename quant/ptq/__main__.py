"""Quantise a trained network without training: `python -m quant.ptq`.

Exit status: 0 done, 2 bad input (one line on stderr), 130 stopped by Ctrl-C, 143 by SIGTERM
(`--resume DIR` goes on with the layer that was not done, to the identical result).
"""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from quant.catalogue import MODELS
from quant.errors import QuantError
from quant.files import sha256, write_json
from quant.ptq.options import Options, load_options, read_bits
from quant.sources import open_data

BAD_INPUT = 2
INTERRUPTED = 130
TERMINATED = 143
STATE = "state"
REQUEST = "request.json"


class _TerminatedError(BaseException):
    """SIGTERM came; no `Exception`, so that nothing on the way takes it for its own."""


def main(
    context: typer.Context,
    model: Annotated[
        str, typer.Option(help=f"{', '.join(MODELS)}, module:factory of your own, or FILE.onnx")
    ] = "resnet8",
    bits: Annotated[
        int | None, typer.Option(help="of all weights: 2, 3, 4 (default), 6, 8")
    ] = None,
    method: Annotated[
        str, typer.Option(help="nearest, gptq, act-order, sensitivity, obq or adaround")
    ] = "sensitivity",
    calibration: Annotated[int, typer.Option(help="training images to calibrate on")] = 512,
    act_calibration: Annotated[
        str, typer.Option(help="min-max, moving-average, percentile, mse or entropy")
    ] = "min-max",
    act_bits: Annotated[str, typer.Option(help="2 to 8, or float for weights only")] = "8",
    scheme: Annotated[
        str,
        typer.Option(help="per-channel-symmetric, per-channel-asymmetric or per-layer-asymmetric"),
    ] = "per-channel-symmetric",
    range: Annotated[
        str, typer.Option(help="of weights: full, or narrow without the most negative integer")
    ] = "full",
    steps: Annotated[str, typer.Option(help="of weights: fitted or min-max")] = "fitted",
    norms: Annotated[str, typer.Option(help="batch norms: matched or kept")] = "matched",
    bias_correction: Annotated[
        bool, typer.Option("--bias-correction", help="biases make up for errors of the mean")
    ] = False,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="statistics behind the quantised layers before")
    ] = False,
    map: Annotated[Path | None, typer.Option(help='bits: {"layer": 4, ...}, result.json')] = None,
    out: Annotated[Path | None, typer.Option(help="folder; runs/MODEL-ptq-seedN")] = None,
    seed: Annotated[int, typer.Option(help="of the choice of calibration images")] = 0,
    data: Annotated[Path | None, typer.Option(help="folder, FILE.npz or module:factory")] = None,
    weights: Annotated[Path | None, typer.Option(help="file; the shipped ones")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="folder of a stopped run; takes all its options")
    ] = None,
) -> None:
    """Quantise a trained network on calibration images; nothing is trained."""
    # a shell ignores Ctrl-C in what it starts in the background, and that is inherited
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGTERM, _on_terminate)
    folder = resume
    try:
        if resume is None:
            given = {name: v for name, v in context.params.items() if name != "resume"}
            options = Options(**given)
            folder = options.folder
            command = shlex.join(["python", "-m", "quant.ptq", *sys.argv[1:]])
            document = _document(options, command)
        else:
            _refuse_others(context)
            options, document = load_options(resume / STATE / REQUEST)
            options = options.model_copy(update={"out": resume})
        recipe = options.check()
        images = open_data(options.data_folder, options.model)
        images.check_test_length()
        _ = images.train  # read before the heavy imports, so a bad file shows at once
        _note(options, document, resumed=resume is not None)

        from quant.ptq.run import run

        run(options, recipe, command=str(document["command"]))
    except (ValueError, QuantError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt:
        raise _stopped(folder, INTERRUPTED) from None
    except _TerminatedError:
        raise _stopped(folder, TERMINATED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


def _document(options: Options, command: str) -> dict[str, Any]:
    options.check()
    if options.map is not None:
        read_bits(options.map)
    read = [path for path in (options.weights, options.map) if path is not None]
    return {
        "command": command,
        "options": options.model_dump(mode="json"),
        "read": {str(path): sha256(path) for path in read},
    }


def _note(options: Options, document: dict[str, Any], *, resumed: bool) -> None:
    """Write down what was asked for, or on resumption see that files are still the same.

    Raises
    ------
    QuantError
        If a file that the run reads is another one by now.
    """
    state = options.folder / STATE
    if not resumed:
        shutil.rmtree(state, ignore_errors=True)
        write_json(state / REQUEST, document)
        return
    for name, digest in document["read"].items():
        if not Path(name).is_file() or sha256(Path(name)) != digest:
            raise QuantError(f"{name}: must be as it was when the run began; start anew")


def _refuse_others(context: typer.Context) -> None:
    given = []
    for name in context.params:
        source = context.get_parameter_source(name)
        if name != "resume" and source is not None and source.name == "COMMANDLINE":
            given.append("--" + name.replace("_", "-"))
    if given:
        names = ", ".join(sorted(given))
        raise QuantError(
            f"resume must come alone, since it takes all options of the run, not with {names}"
        )


def _on_terminate(number: int, frame: object) -> None:
    raise _TerminatedError


def _stopped(folder: Path | None, status: int) -> typer.Exit:
    again = shlex.join(["python", "-m", "quant.ptq", "--resume", str(folder)])
    print(f"stopped; layers that are done are kept: go on with `{again}`", file=sys.stderr)
    return typer.Exit(status)


if __name__ == "__main__":
    typer.run(main)
