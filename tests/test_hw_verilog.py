"""The command that writes Verilog."""

import subprocess
import sys
from pathlib import Path


def _verilog(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hw.verilog", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_verilog_of_the_command_line_compiles_in_icarus(tmp_path: Path) -> None:
    target = tmp_path / "mac_array.v"
    done = _verilog("--rows", "4", "--cols", "4", "--lanes", "16", "-o", str(target))
    assert done.returncode == 0, done.stderr
    assert "booth_digit-4x4x16" in done.stdout
    compiled = subprocess.run(
        ["iverilog", "-g2005", "-Wall", "-t", "null", str(target)], capture_output=True, check=False
    )
    assert compiled.returncode == 0, compiled.stderr


def test_verilog_of_another_kind(tmp_path: Path) -> None:
    target = tmp_path / "mac_array.v"
    done = _verilog(
        "--rows", "2", "--cols", "2", "--lanes", "1", "--pe", "shift_add", "-o", str(target)
    )
    assert done.returncode == 0, done.stderr
    assert "shift_add-2x2x1" in done.stdout


def test_impossible_array_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = _verilog("--lanes", "0", "-o", str(tmp_path / "x.v"))
    assert done.returncode == 2
    assert done.stderr == "hw.verilog: lanes must be from 1 to 64, not 0\n"
    assert not (tmp_path / "x.v").exists()
