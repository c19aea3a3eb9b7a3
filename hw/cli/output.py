"""What a command shows: all, one line, or one JSON document."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any

BAD_INPUT, STOPPED = 2, 130
"""Exit statuses; the second is of Ctrl-C."""


class Mode(Enum):
    """How much a command shows."""

    ALL = "all"
    QUIET = "quiet"
    JSON = "json"


@dataclass(kw_only=True)
class Result:
    """What a command tells of itself: a line for people, a document for programs."""

    line: str | None = None
    document: Any = None


_result: ContextVar[Result | None] = ContextVar("_result", default=None)


def tell(line: str, document: Any) -> None:
    """Say what a command has found, for `--quiet` and `--json`.

    Parameters
    ----------
    line : str
        All that is shown with ``--quiet``.
    document : JSON value
        All that is shown with ``--json``.
    """
    result = _result.get()
    if result is not None:
        result.line, result.document = line, document


@contextmanager
def shown(mode: Mode) -> Iterator[None]:
    """Let through what a mode shows, and at the end show what was told.

    With `Mode.QUIET` a command that told nothing shows the last line of what it wrote, or of its
    errors if it failed. With `Mode.JSON` its errors and progress stay on stderr.
    """
    result = Result()
    token = _result.set(result)
    out, err = LastLine(), LastLine()
    failed = True
    try:
        if mode is Mode.ALL:
            yield
        elif mode is Mode.JSON:
            with redirect_stdout(out):
                yield
        else:
            with redirect_stdout(out), redirect_stderr(err):
                yield
        failed = False
    finally:
        _result.reset(token)
        _end(mode, result, "" if failed else out.line, err.line if failed else "")


def _end(mode: Mode, result: Result, last: str, error: str) -> None:
    if mode is Mode.JSON and result.line is not None:
        print(json.dumps(result.document, indent=2, allow_nan=False))
    if mode is Mode.QUIET:
        if result.line is not None or last:
            print(result.line or last)
        elif error:
            print(error, file=sys.stderr)


class LastLine(io.StringIO):
    """A text file that remembers its last line that is not blank."""

    def __init__(self) -> None:
        super().__init__()
        self.line = ""
        self._rest = ""

    def write(self, text: str) -> int:
        """Take text."""
        *whole, self._rest = (self._rest + text).split("\n")
        lines = [line for line in [*whole, self._rest] if line.strip()]
        self.line = lines[-1] if lines else self.line
        return len(text)
