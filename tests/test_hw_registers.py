"""The register map's definition and its page."""

import subprocess
import sys
from pathlib import Path

import pytest

from hw.catalog import CATALOG
from hw.register import Access, Field, Register
from hw.registers import BY_NAME, PAGE, REGISTERS, constants, main, page


def test_page_is_what_the_definition_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hw.registers", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_page_that_differs_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "register-map.md"
    other.write_text(page().replace("busy", "idle"))
    assert main(["--check", "-o", str(other)]) == 1
    assert capsys.readouterr().err == (
        f"hw.registers: {other} is not what hw/registers.py says; run `python -m hw.registers`\n"
    )
    assert main(["-o", str(other)]) == 0
    assert other.read_text() == PAGE.read_text()
    assert main(["--check", "-o", str(tmp_path / "none.md")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_registers_have_addresses_and_names_of_their_own() -> None:
    assert len({register.address for register in REGISTERS}) == len(REGISTERS)
    assert len(BY_NAME) == len(REGISTERS)
    assert [r.address for r in REGISTERS] == sorted(r.address for r in REGISTERS)


@pytest.mark.parametrize("name", CATALOG)
def test_every_constant_fits_its_field(name: str) -> None:
    for (register, field), value in constants(CATALOG[name].config).items():
        assert BY_NAME[register].unpack(BY_NAME[register].pack(**{field: value}))[field] == value


def test_overlapping_fields_and_odd_addresses_are_refused() -> None:
    def field(low: int) -> Field:
        return Field(name=f"f{low}", low=low, bits=4, access=Access.RW, text="")

    with pytest.raises(ValueError, match=r"^bits of X\.f3 must be free and below 32$"):
        Register(name="X", address=0, fields=(field(0), field(3)), text="")
    with pytest.raises(ValueError, match=r"^bits of X\.f30 must be free and below 32$"):
        Register(name="X", address=0, fields=(field(30),), text="")
    with pytest.raises(
        ValueError, match=r"^address of X must be a multiple of 4 below 256, not 2$"
    ):
        Register(name="X", address=2, fields=(), text="")


def test_packing_checks_names_and_values() -> None:
    control = BY_NAME["CONTROL"]
    assert control.pack(start=1) == 1
    with pytest.raises(ValueError, match=r"^CONTROL\.start must be from 0 to 1, not 2$"):
        control.pack(start=2)
    with pytest.raises(
        ValueError, match=r"^field of CONTROL must be one of \['start', 'flush'\], not 'x'$"
    ):
        control.pack(x=1)
