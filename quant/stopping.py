"""Ctrl-C and SIGTERM in commands whose work can go on later."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
TERMINATED = 143
"""Exit statuses."""


class TerminatedError(BaseException):
    """SIGTERM came; no `Exception`, so that nothing on the way takes it for its own."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt and SIGTERM `TerminatedError`, then all as before.

    A shell ignores Ctrl-C in what it starts in the background, and that is inherited.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.signal(signal.SIGTERM, _on_terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, interrupt)


def _on_terminate(number: int, frame: object) -> None:
    raise TerminatedError
