"""Search the bits of every layer: `python -m quant.search`.

Exit status: 0 both targets met on the test images, 3 not met (the best found is still written),
2 bad input (one line on stderr).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from quant.budget import Budget
from quant.catalogue import check_model
from quant.data import ImageData, default_folder
from quant.errors import QuantError
from synth.table import CostTable, CostTableError

DEFAULT_TABLE = Path(__file__).parent.parent / "synth" / "tables" / "nangate45-default.json"
NOT_MET = 3
BAD_INPUT = 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Training steps of a search; each uniform allocation gets `total_steps`, too.

    Parameters
    ----------
    total_steps : int
        Steps of the searched network in all.
    probe_steps : int
        Steps of each visited allocation.
    search_share : float
        Share of the steps that visits may take; the final training gets the rest.
    batch : int
        Images per step.
    """

    total_steps: int = 400
    probe_steps: int = 20
    search_share: float = 0.4
    batch: int = 64

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.total_steps < 2:
            raise ValueError(f"qat_steps must be at least 2, not {self.total_steps}")

    @property
    def probes(self) -> int:
        """Visits that are trained."""
        return int(self.total_steps * self.search_share / self.probe_steps)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for, checked.

    Parameters
    ----------
    model : str
        Name of the network.
    budget : Budget
        The targets.
    table : CostTable
        The hardware.
    table_path : Path
        Where the table was read from.
    data : Path
        Folder of IDX files.
    out : Path
        Folder to write into.
    weights : Path, optional
        Weights other than the shipped ones.
    seed : int
        Of calibration and training.
    workers : int
        Processes beside this one; 0 runs everything here.
    plan : Plan
        Training steps.
    """

    model: str
    budget: Budget
    table: CostTable
    table_path: Path
    data: Path
    out: Path
    weights: Path | None = None
    seed: int = 0
    workers: int = 2
    plan: Plan = field(default_factory=Plan)


def main(
    model: Annotated[str, typer.Option(help="resnet8 or dscnn")] = "resnet8",
    max_drop: Annotated[float, typer.Option(help="largest loss of accuracy, a fraction")] = 0.01,
    max_size: Annotated[float, typer.Option(help="largest size, relative to 8 bit")] = 0.4,
    cost_table: Annotated[Path, typer.Option(help="costs of the array")] = DEFAULT_TABLE,
    out: Annotated[Path | None, typer.Option(help="folder; runs/MODEL-seedN")] = None,
    seed: Annotated[int, typer.Option(help="of calibration and training")] = 0,
    data: Annotated[Path | None, typer.Option(help="folder of IDX files")] = None,
    weights: Annotated[Path | None, typer.Option(help="safetensors; the shipped ones")] = None,
    qat_steps: Annotated[int, typer.Option(help="training steps in all")] = 400,
    workers: Annotated[int, typer.Option(help="processes beside this one")] = 2,
) -> None:
    """Find the bits of every layer within budgets for accuracy and size."""
    try:
        check_model(model)
        table = CostTable.load(cost_table)
        request = Request(
            model=model,
            budget=Budget(max_drop=max_drop, max_size=max_size, fewest=table.modes[0]),
            table=table,
            table_path=cost_table,
            data=data or default_folder(),
            out=out or Path("runs") / f"{model}-seed{seed}",
            weights=weights,
            seed=seed,
            workers=workers,
            plan=Plan(total_steps=qat_steps, probe_steps=max(1, min(20, qat_steps // 20))),
        )
        images = ImageData(request.data)
        images.check_test_length()
        _ = images.train  # read before the heavy imports, so a bad file shows at once

        from quant.session import run

        met = run(request)
    except (ValueError, QuantError, CostTableError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from None
    if not met:
        raise typer.Exit(NOT_MET)


if __name__ == "__main__":
    typer.run(main)
