"""Records are older than the gateware if a checkout shows that it has changed since."""

import os
import subprocess
from pathlib import Path

import pytest

from quant.report.age import Age, age_of
from quant.report.coverage import covered
from quant.report.records import Proof

PE = "hw/pe/pe.py"
RECORD = "docs/formal.json"
DAY = "2026-01-02"


def git(root: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_COMMITTER_DATE": f"{DAY}T03:04:05Z"}
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(root), *who, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


def written(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def commit(root: Path) -> str:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "m")
    return git(root, "rev-parse", "--short", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a PE and a record, in one commit."""
    root = tmp_path / "checkout"
    root.mkdir()
    git(root, "init", "-q")
    for name in (PE, "hw/cli/command.py", RECORD):
        written(root, name, "old\n")
    commit(root)
    return root


def test_a_committed_record_is_of_its_commit(root: Path) -> None:
    made = f"committed {DAY} as {git(root, 'rev-parse', '--short', 'HEAD')}"
    assert age_of(root / RECORD, root) == Age(made=made)
    written(root, "README.md", "new\n")
    written(root, "hw/cli/command.py", "new\n")  # no hardware comes from it
    commit(root)
    assert age_of(root / RECORD, root) == Age(made=made)


@pytest.mark.parametrize("committed", [True, False])
def test_a_change_of_the_gateware_makes_a_record_older(root: Path, committed: bool) -> None:
    written(root, PE, "new\n")
    if committed:
        commit(root)
    assert age_of(root / RECORD, root).changed == (PE,)
    written(root, RECORD, "made anew\n")
    commit(root)
    assert age_of(root / RECORD, root).changed == ()


@pytest.mark.parametrize("where", ["build/formal.json", RECORD, "../formal.json"])
def test_a_record_of_no_commit_goes_by_the_time_of_its_file(root: Path, where: str) -> None:
    record = written(root, where, "of now\n")
    for path, time in ((PE, 1000), ("hw/cli/command.py", 3000)):
        os.utime(root / path, (time, time))
    os.utime(record, (2000, 2000))
    assert age_of(record, root) == Age()
    os.utime(record, (500, 500))
    assert age_of(record, root) == Age(changed=(PE,))


def test_nothing_is_said_outside_a_checkout_or_in_a_shallow_one(root: Path) -> None:
    assert age_of(root / RECORD, root / "docs") == Age()
    written(root, PE, "new\n")
    commit(root)
    shallow = root.parent / "shallow"
    git(root, "clone", "-q", "--depth", "1", root.as_uri(), str(shallow))
    assert age_of(root / RECORD, root).changed == (PE,)
    assert age_of(shallow / RECORD, shallow) == Age()


def test_nothing_is_said_without_git(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert age_of(root / RECORD, root) == Age()


def proof(name: str, claim: str, method: str = "bmc") -> Proof:
    return Proof(name=name, claim=claim, method=method, passed=True)


def test_what_proofs_cover_is_read_from_their_claims() -> None:
    proofs = [
        proof("product-a", "every 4-bit activation times every weight"),
        proof("product-a-act8", "every 8-bit activation times every weight"),
        proof("sums-a", "1 lanes, 4-bit activations: sums", "prove"),
        proof("results-a", "rows leave once", "prove"),
    ]
    assert covered(proofs, lanes=1, act_bits=6) == (
        " They cover products of 4 and 8-bit activations (to a bounded depth); sums of a step's "
        "products of 4-bit activations on 1 lane (by induction). The array of this run has 1 lane "
        "and 6-bit activations."
    )
    assert covered(proofs[3:], lanes=1, act_bits=6) == ""
