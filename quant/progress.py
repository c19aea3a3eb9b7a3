"""Progress of a search on the terminal."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from quant.request import Request


class SearchProgress:
    """A bar of training steps, the stage beside it, and a line per uniform allocation.

    Parameters
    ----------
    console : Console
        Where it is shown; nothing is, unless it is a terminal.
    request : Request
        Tells the steps in all.
    """

    def __init__(self, console: Console, request: Request) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._steps = request.plan.total_steps
        self._main = self._progress.add_task("loading", total=self._steps)

    def __enter__(self) -> Self:
        """Show."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop showing."""
        self._progress.stop()

    def stage(self, name: str) -> None:
        """Show what is being done."""
        self._progress.update(self._main, description=name)

    def step(self) -> None:
        """Count a training step."""
        self._progress.advance(self._main)

    def watch(self, name: str, future: Future[Any]) -> None:
        """Show a job until it is done."""
        task = self._progress.add_task(name, total=self._steps)
        future.add_done_callback(lambda _: self._progress.update(task, completed=self._steps))
