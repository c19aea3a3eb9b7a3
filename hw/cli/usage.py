"""Wrong use of a command as one line: an option that is not known, missing, or no such value."""

from __future__ import annotations

import sys
from typing import Any

import typer

UsageError: Any = typer.BadParameter.__base__  # of the click that typer uses


def complain_of_usage(error: Any, info_name: str | None = None) -> None:
    """Print a usage error on stderr.

    Parameters
    ----------
    error : UsageError
    info_name : str, optional
        Name of the command, for an error that does not know it.
    """
    path = info_name or "" if error.ctx is None else error.ctx.command_path
    text = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    print(f"{path}: {text[:1].lower()}{text[1:]}; see {path} --help", file=sys.stderr)
