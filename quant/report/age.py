"""Records beside the gateware that they are about: when they were made, and what changed since.

Proofs and mutants carry no digest of the design, so the age of their file is all that tells.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from quant.report.records import ROOT

GATEWARE = ("hw",)
NO_GATEWARE = ("hw/cli", "hw/files.py", "hw/verilog.py")
"""Command lines and files of hw, from which no hardware comes."""
NAMED = 3
SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Age:
    """What is known of when a record was made.

    Parameters
    ----------
    made : str
        The commit that the file is of, with its date; empty if it is of none.
    changed : tuple of str
        Files of the gateware that have changed since, as far as can be told.
    """

    made: str = ""
    changed: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """In words."""
        if not self.changed:
            return self.made
        names = ", ".join(self.changed[:NAMED])
        if more := len(self.changed) - NAMED:
            names += f" and {more} more" if more > 0 else ""
        made = f"{self.made}; " if self.made else ""
        return f"{made}changed since: {names}"


def age_of(record: Path, root: Path = ROOT) -> Age:
    """Compare a record with the gateware of a checkout.

    A file as it was committed is compared with all that changed from that commit to now; another
    one by the times of the files. Nothing is known outside a checkout, or without git.

    Parameters
    ----------
    record : Path
        The file.
    root : Path
        Folder of the checkout.
    """
    if (
        not (root / ".git").exists()
        or _git(root, "rev-parse", "--is-shallow-repository") != "false"
    ):
        return Age()
    commit = _commit(record.resolve(), root)
    if commit is None:
        return Age(changed=_newer(record, root))
    digest, day = commit
    without = [f":(exclude){path}" for path in NO_GATEWARE]
    changed = _git(root, "diff", "--name-only", digest, "--", *GATEWARE, *without)
    return Age(
        made=f"committed {day} as {digest}",
        changed=tuple(changed.splitlines()) if changed else (),
    )


def _commit(record: Path, root: Path) -> tuple[str, str] | None:
    """Return the commit that a file is from and its day; None if the file is of no commit."""
    if not record.is_relative_to(root.resolve()):
        return None
    if _git(root, "status", "--porcelain", "--ignored", "--", str(record)) != "":
        return None
    found = _git(root, "log", "-1", "--format=%h %cs", "--", str(record))
    return (found.split()[0], found.split()[1]) if found else None


def _newer(record: Path, root: Path) -> tuple[str, ...]:
    """Return the files of the gateware that are newer than a record."""
    made = record.stat().st_mtime
    paths = [path for folder in GATEWARE for path in sorted((root / folder).rglob("*.py"))]
    names = [path.relative_to(root).as_posix() for path in paths if path.stat().st_mtime > made]
    return tuple(name for name in names if not name.startswith(NO_GATEWARE))


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git says; None if it cannot."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, text=True, timeout=SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
