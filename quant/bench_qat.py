"""Scales of weights in QAT, min-max against learned: `python -m quant.bench_qat`.

Every network at one uniform precision, trained as a search trains its uniform rows, for each seed
and each `--rounding` that the weights start from: with min-max scales, and with learned ones at
each learning rate. Validation accuracies go into a JSON file after every run; a second call goes on
where the first was stopped. Ours.
"""

from __future__ import annotations

import itertools
import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.cli.command import beside, command_app, complain
from hw.precision import WeightMode
from quant.data import default_folder
from quant.errors import QuantError
from quant.files import write_json
from quant.rounding import Rounding
from quant.scales import Scales

OUT = Path("docs/qat-scales.json")
MODELS = "resnet8,dscnn"
ROUNDINGS = ",".join(rounding.value for rounding in Rounding)
LEARNING_RATES = "0.001,0.003,0.01"

Case = dict[str, Any]
"""Network, rounding, scales, learning rate of the scales (None with min-max) and seed of a run."""


def cases(
    models: Sequence[str], roundings: Sequence[Rounding], rates: Sequence[float], seeds: int
) -> list[Case]:
    """Return all runs, seed by seed, so that a stopped bench has compared what it has run."""
    recipes: list[tuple[Scales, float | None]] = [(Scales.MIN_MAX, None)]
    recipes += [(Scales.LEARNED, rate) for rate in rates]
    return [
        {
            "model": model,
            "rounding": rounding.value,
            "scales": scales.value,
            "scale_lr": rate,
            "seed": seed,
        }
        for seed, model, rounding, (scales, rate) in itertools.product(
            range(seeds), models, roundings, recipes
        )
    ]


def roundings_of(text: str) -> list[Rounding]:
    """Return the roundings of an option, commas between; `QuantError` if one is unknown."""
    known = {rounding.value: rounding for rounding in Rounding}
    asked = [part.strip() for part in text.split(",")]
    if any(part not in known for part in asked):
        raise QuantError(f"roundings must be some of {ROUNDINGS} with commas between, not {text}")
    return [known[part] for part in asked]


def rates_of(text: str) -> list[float]:
    """Return the rates of an option, commas between; `QuantError` if one is not above 0."""
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = []
    if not rates or not all(0 < rate < math.inf for rate in rates):
        raise QuantError(
            f"rates must be finite numbers above 0 with commas between, such as {LEARNING_RATES}, "
            f"not {text}"
        )
    return rates


def summary(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and spread (largest less smallest) over the seeds of each recipe."""
    found: dict[tuple[str, str, str, float | None], list[float]] = {}
    for run in runs:
        recipe = run["model"], run["rounding"], run["scales"], run["scale_lr"]
        found.setdefault(recipe, []).append(run["validation_accuracy"])
    return [
        {
            "model": model,
            "rounding": rounding,
            "scales": scales,
            "scale_lr": rate,
            "seeds": len(values),
            "mean": sum(values) / len(values),
            "spread": max(values) - min(values),
        }
        for (model, rounding, scales, rate), values in found.items()
    ]


def main(
    models: Annotated[str, typer.Option(help="with commas between")] = MODELS,
    roundings: Annotated[
        str, typer.Option(help="that weights start from, with commas between")
    ] = ROUNDINGS,
    bits: Annotated[int, typer.Option(help="of all weights")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="of training")] = 400,
    seeds: Annotated[int, typer.Option(min=1, help="0 to one less")] = 3,
    rates: Annotated[
        str, typer.Option(help="learning rates of learned scales, relative to them")
    ] = LEARNING_RATES,
    data: Annotated[Path | None, typer.Option(help="folder of IDX files")] = None,
    out: Annotated[Path, typer.Option(help="JSON file")] = OUT,
) -> None:
    """Compare min-max with learned scales."""
    from quant.qat import QatSettings
    from quant.workbench import Source, train_uniform

    command = shlex.join(["python", "-m", "quant.bench_qat", *sys.argv[1:]])
    document: dict[str, Any] = {"command": command, "bits": bits, "steps": steps, "runs": []}
    try:
        mode = WeightMode.from_bits(bits)
        todo = cases(models.split(","), roundings_of(roundings), rates_of(rates), seeds)
        document["runs"] = known_runs(out, bits=bits, steps=steps)
        for case in todo:
            if any(case.items() <= run.items() for run in document["runs"]):
                continue
            source = Source(
                model=case["model"],
                weights=None,
                data=data or default_folder(),
                rounding=Rounding(case["rounding"]),
            )
            rate = {} if case["scale_lr"] is None else {"scale_lr": case["scale_lr"]}
            settings = QatSettings(
                steps=steps, seed=case["seed"], scales=Scales(case["scales"]), **rate
            )
            _, accuracy = train_uniform(source, mode, settings)
            document["runs"].append({**case, "validation_accuracy": accuracy})
            document["summary"] = summary(document["runs"])
            write_json(out, document)
            print(json.dumps(document["runs"][-1]), flush=True)
    except (ValueError, QuantError, OSError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    for row in summary(document["runs"]):
        of = "" if row["scale_lr"] is None else f" {row['scale_lr']:g}"
        figures = f"{100 * row['mean']:.2f} % +- {50 * row['spread']:.2f}, {row['seeds']} seeds"
        print(f"{row['model']}, {row['rounding']}, {row['scales']}{of}: {figures}")


def known_runs(path: Path, *, bits: int, steps: int) -> list[Case]:
    """Return the runs of a file, none if there is no file.

    Raises
    ------
    QuantError
        If they are of other bits or steps, or do not say which rounding they started from.
    """
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if (document["bits"], document["steps"]) != (bits, steps):
        raise QuantError(
            f"{path}: runs must be of {bits} bit and {steps} steps to go on, not of "
            f"{document['bits']} and {document['steps']}; name another file with --out"
        )
    runs: list[Case] = document["runs"]
    if not all("rounding" in run for run in runs):
        raise QuantError(
            f"{path}: every run must have its rounding, as this version writes it; name another "
            "file with --out"
        )
    return runs


app = command_app(main, name="bench qat", place=beside("out"))

if __name__ == "__main__":
    app()
