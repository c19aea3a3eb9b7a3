"""Files written whole or not at all: a temporary file beside them, then a rename.

For one writer a file: what a killed one left is overwritten by the next. Standard library only.
"""

import contextlib
import json
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; its folder is made.

    Raises
    ------
    OSError
        If it cannot be written, such as in place of a folder; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8, line ends as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, indent: int = 2) -> None:
    """Write JSON, indented, with a final newline.

    Raises
    ------
    ValueError
        If a number is infinite or NaN.
    """
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")
