"""The command that writes Verilog."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from amaranth import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.catalog import CATALOG
from hw.component import Component
from hw.verilog import to_verilog


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
    assert "bit_pair-4x4x16" in done.stdout
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


@pytest.mark.parametrize("what", ["pe", "accelerator"])
def test_other_parts_compile_in_icarus(what: str, tmp_path: Path) -> None:
    target = tmp_path / "out.v"
    done = _verilog("--what", what, "--config", "tiny", "--act-bits", "7", "-o", str(target))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{target}: bit_pair-4x4x8, ")
    compiled = subprocess.run(
        ["iverilog", "-g2005", "-t", "null", "-s", what, str(target)],
        capture_output=True,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stderr


def test_catalogue_is_listed_with_sizes_and_reasons() -> None:
    lines = _verilog("--list").stdout.splitlines()
    assert lines[0] == (
        "tiny: bit_pair-4x4x8, dot products to 576, 4-byte bus, 32.0 KiB of acts, "
        "8.0 KiB of weights, 4.5 KiB of patches, 0.9 KiB of parameters"
    )
    assert [line.split(":")[0] for line in lines[::2]] == ["tiny", "edge", "large"]
    assert [line.strip() for line in lines[1::2]] == [e.reason for e in CATALOG.values()]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--config", "huge"], "config must be one of tiny, edge, large, not 'huge'"),
        (
            ["--what", "accelerator", "--rows", "3"],
            "rows of an accelerator must be a power of two, not 3",
        ),
        (
            ["--config", "tiny", "--max-depth", "60000"],
            "acc_bits must be at least 32 for max_depth = 60000, not 26",
        ),
        (["--rows", "0"], "rows must be from 1 to 256, not 0"),
    ],
)
def test_bad_values_are_one_line_and_status_2(
    arguments: list[str], error: str, tmp_path: Path
) -> None:
    done = _verilog(*arguments, "-o", str(tmp_path / "x.v"))
    assert (done.returncode, done.stderr) == (2, f"hw.verilog: {error}\n")


def test_without_a_file_the_command_asks_for_one() -> None:
    done = _verilog()
    assert done.returncode == 2
    assert done.stderr == "hw.verilog: output must be given: add -o FILE\n"


def test_memories_begin_as_zeros_and_other_initial_values_stay() -> None:
    class Memories(Component):
        def __init__(self) -> None:
            super().__init__({"address": In(2), "from_zeros": Out(4), "from_values": Out(4)})

        def elaborate(self, platform: object) -> Module:
            m = Module()
            for name, init in (("zeros", []), ("values", [0, 0, 0, 9])):
                memory: Memory[Any, Any] = Memory(shape=4, depth=4, init=init)
                m.submodules[name] = memory
                port = memory.read_port(domain="comb")
                if not init:
                    write = memory.write_port()
                    m.d.comb += [write.en.eq(1), write.addr.eq(3), write.data.eq(self.address)]
                m.d.comb += [
                    port.addr.eq(self.address),
                    getattr(self, f"from_{name}").eq(port.data),
                ]
            return m

    text = to_verilog(Memories(), name="memories")
    assert re.search(r"initial for \((\w+) = 0; \1 <= 3; \1 = \1 \+ 1\)\n +zeros\[\1\] = 0;", text)
    assert "values[3] = 4'h9;" in text
    assert text.count("initial") == 2


def test_impossible_array_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = _verilog("--lanes", "0", "-o", str(tmp_path / "x.v"))
    assert done.returncode == 2
    assert done.stderr == "hw.verilog: lanes must be from 1 to 64, not 0\n"
    assert not (tmp_path / "x.v").exists()
