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
from synth import liberty, operands
from synth.activity import SimulationError
from synth.cells import LibertyError
from synth.characterise import PRODUCTS, Bench, ClockError
from synth.jobs import CACHE, ClusterError, Runner, Store, default_workers
from synth.table import CostTableError

OPERANDS = Path(__file__).parent / "operands" / "resnet8.npz"
NANGATE_NM = 45

OperandFile = Annotated[Path, typer.Option("--operands", help="Sampled operands of a network.")]
LibertyFile = Annotated[
    Path | None, typer.Option("--liberty", help="Liberty file; NanGate 45 nm if not given.")
]
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
    liberty_file: Path | None = None,
    operand_file: Path = OPERANDS,
    clock_ns: float,
    products: int = PRODUCTS,
    cache: Path = CACHE,
    workers: int | None = None,
    cluster: str = "",
    thorough: bool = False,
) -> Bench:
    """Read library and operands and open the store.

    Raises
    ------
    ValueError
        If the clock is no period.
    LibertyError, OperandError
        If a file cannot be read.
    """
    if not (math.isfinite(clock_ns) and clock_ns > 0):
        raise ValueError(f"clock_ns must be positive, not {clock_ns}")
    return Bench(
        library=liberty.load(liberty_file or liberty.nangate45()),
        operands=operands.load(operand_file),
        period_ns=clock_ns,
        runner=Runner(
            store=Store(cache),
            workers=default_workers() if workers is None else workers,
            cluster=cluster,
            console=Console(stderr=True),
        ),
        products=products,
        thorough=thorough,
    )
