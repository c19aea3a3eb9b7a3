"""Wrong use of a command as one line: an option that is not known, missing, or no such value."""

from __future__ import annotations

import sys
from typing import Any

import typer

UsageError: Any = typer.BadParameter.__base__  # of the click that typer uses


def complain_of_usage(error: Any) -> None:
    """Print a usage error on stderr; where there are no arguments at all, the help.

    Parameters
    ----------
    error : UsageError
    """
    path = "" if error.ctx is None else error.ctx.command_path
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.ctx.get_help(), file=sys.stderr)
        return
    text = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    head = f"{path}: " if path else ""
    print(f"{head}{text[:1].lower()}{text[1:]}; see {path} --help", file=sys.stderr)
