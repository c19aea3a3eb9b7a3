"""The sub-commands of `sigmaquant`: where each is, by name, so that none is imported unasked."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A sub-command.

    Parameters
    ----------
    name : str
        Its words behind ``sigmaquant``.
    module : str
        Runs it as ``python -m``, and has its `app`.
    source : str
        Module that has the `app`, where that is another one.
    help : str
        One line.
    """

    name: str
    module: str
    help: str
    source: str = ""

    def app(self) -> typer.Typer:
        """Import the command.

        Raises
        ------
        ImportError
            If packages are missing that it needs.
        """
        found: typer.Typer = import_module(self.source or self.module).app
        return found


ENTRIES = (
    Entry(
        name="search",
        module="quant.search",
        help="Find the bits of every layer within budgets for accuracy and resources.",
    ),
    Entry(
        name="ptq",
        module="quant.ptq",
        source="quant.ptq.__main__",
        help="Quantise a trained network on calibration images; train nothing.",
    ),
    Entry(
        name="export",
        module="quant.export",
        help="Write a run's network as integers, ONNX, QONNX or memory images.",
    ),
    Entry(
        name="report",
        module="quant.report",
        source="quant.report.__main__",
        help="Write one HTML page about one or several runs.",
    ),
    Entry(
        name="synth",
        module="synth",
        source="synth.__main__",
        help="Synthesise an array and write its cost table.",
    ),
    Entry(
        name="cosim",
        module="sim.cosim",
        help="Run whole images on the accelerator's RTL and compare every layer.",
    ),
    Entry(
        name="bench search",
        module="quant.bench.search",
        help="Compare all ways to choose bits; hours.",
    ),
    Entry(
        name="bench ptq",
        module="quant.ptq.bench",
        source="quant.ptq.bench.__main__",
        help="Compare weight optimisers layer by layer.",
    ),
    Entry(
        name="bench qat",
        module="quant.bench_qat",
        help="Compare scales of weights in training.",
    ),
)
"""In the order of ``--help``."""


def typed(command: str) -> str:
    """Return how a command is typed: ``sigmaquant search``, ``python -m synth.compare``."""
    known = command in {entry.name for entry in ENTRIES}
    return f"sigmaquant {command}" if known else f"python -m {command}"


def owners(key: str) -> list[str]:
    """Return the sub-commands that have a key, as far as they can be imported here."""
    from hw.cli.keys import keys_of

    found = []
    for entry in ENTRIES:
        try:
            callback = entry.app().registered_commands[0].callback
        except ImportError:  # an extra is not installed
            continue
        if callback is not None and key in {known.name for known in keys_of(callback)}:
            found.append(entry.name)
    return found
