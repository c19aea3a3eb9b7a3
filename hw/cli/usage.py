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
    said = _breach(error) or error.format_message().replace("Value error, ", "")
    text = " ".join(said.split()).rstrip(".")
    print(f"{path}: {text[:1].lower()}{text[1:]}; see {path} --help", file=sys.stderr)


def _breach(error: Any) -> str | None:
    """Return what an option's value must be and is, if it is of no such kind or out of range."""
    breaches = getattr(error.__cause__, "errors", None)  # of pydantic, by which typer converts
    if breaches is None or error.param is None:
        return None
    breach = breaches()[0]
    subject, _, rule = breach["msg"].partition(" should ")
    if subject != "Input":
        return None
    return f"{error.param.opts[-1]} must {rule.partition(',')[0]}, not {breach['input']}"
