"""Train a network by name: `python -m quant.train --model resnet8 --out FILE`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hw.cli.command import beside, command_app, complain
from quant.data import Data, Images, default_folder
from quant.errors import QuantError
from quant.sources import open_data

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Float training: SGD with Nesterov momentum, one cycle of the learning rate.

    Parameters
    ----------
    epochs : int
        Passes over the training part.
    batch : int
        Images per step.
    peak_lr : float
        Learning rate at the top of the cycle, after 30 % of the steps.
    weight_decay : float
        On weight matrices only.
    smoothing : float
        Label smoothing of the cross-entropy.
    seed : int
        Of initial weights, order and augmentation.
    augment : bool
        Whether to mirror and to shift images.
    """

    epochs: int = 8
    batch: int = 128
    peak_lr: float = 0.2
    weight_decay: float = 5e-4
    smoothing: float = 0.05
    seed: int = 0
    augment: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")


def train(
    model: nn.Module,
    data: Images,
    settings: TrainSettings,
    *,
    on_step: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> None:
    """Train a network in place; deterministic for a seed and a number of threads.

    Parameters
    ----------
    model : nn.Module
        Maps float [N, C, H, W] to logits [N, classes].
    data : Images
        Training images.
    settings : TrainSettings
        The recipe.
    on_step : callable
        Told the steps done, the steps in all, and the loss.
    """
    import torch
    from torch.nn import functional

    from quant.batches import train_batches

    steps = settings.epochs * max(1, len(data) // settings.batch)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.SGD(
        [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings.peak_lr,
        momentum=0.9,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=settings.peak_lr, total_steps=steps, pct_start=0.3, cycle_momentum=False
    )
    model.train()
    batches = train_batches(
        data,
        steps=steps,
        size=settings.batch,
        seed=settings.seed,
        augment=settings.augment,
    )
    for step, (images, labels) in enumerate(batches, start=1):
        loss = functional.cross_entropy(model(images), labels, label_smoothing=settings.smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        on_step(step, steps, float(loss.detach()))


def main(
    model: Annotated[
        str, typer.Option(help="resnet8, dscnn, module:factory, torchvision:NAME:CLASSES")
    ] = "resnet8",
    epochs: Annotated[int, typer.Option(help="passes over the training data")] = 8,
    seed: Annotated[int, typer.Option(help="of weights, order and augmentation")] = 0,
    data: Annotated[Path | None, typer.Option(help="folder, FILE.npz or module:factory")] = None,
    out: Annotated[Path, typer.Option(help="safetensors file to write")] = Path(
        "model.safetensors"
    ),
    threads: Annotated[int, typer.Option(help="of torch; others give other last digits")] = 1,
) -> None:
    """Train a network on images and write its weights."""
    try:
        settings = TrainSettings(epochs=epochs, seed=seed)
        images = open_data(data or default_folder(), model)
        images.check_test_length()
        _train_and_save(model, images, settings, out, threads, chosen=data)
    except (ValueError, QuantError, OSError) as error:
        complain(str(error))
        raise typer.Exit(2) from None


def _train_and_save(
    name: str,
    data: Data,
    settings: TrainSettings,
    out: Path,
    threads: int,
    *,
    chosen: Path | None,
) -> None:
    import numpy as np
    import torch
    from rich.progress import Progress

    from quant.batches import inputs_of
    from quant.evaluate import accuracy
    from quant.files import save_tensors
    from quant.fit import check_fit
    from quant.models import build

    model = build(name, seed=settings.seed)
    torch.set_num_threads(threads)
    train_set = data.train
    check_fit(model.eval(), data, inputs_of(train_set, np.arange(min(2, len(train_set)))))
    with Progress() as progress:
        task = progress.add_task(f"train {name}", total=None)
        train(
            model,
            train_set,
            settings,
            on_step=lambda step, steps, loss: progress.update(
                task, completed=step, total=steps, description=f"train {name}  loss {loss:.3f}"
            ),
        )
    validation, test = accuracy(model, data.validation), accuracy(model, data.test)
    arguments: list[object] = ["--model", name]
    arguments += ["--epochs", settings.epochs, "--seed", settings.seed]
    if chosen is not None:
        arguments += ["--data", chosen]
    metadata = {
        "model": name,
        "seed": str(settings.seed),
        "epochs": str(settings.epochs),
        "validation_accuracy": f"{validation:.4f}",
        "test_accuracy": f"{test:.4f}",
        "command": shlex.join(["python", "-m", "quant.train", *map(str, arguments)]),
        **{f"sha256 {file}": digest for file, digest in sorted(data.sha256.items())},
    }
    save_tensors(dict(model.state_dict()), out, metadata=metadata)
    print(f"{name}: validation {validation:.4f}, test {test:.4f} -> {out}")


app = command_app(main, name="quant.train", place=beside("out"))

if __name__ == "__main__":
    app()
