"""All proofs. A new kind of PE joins those of sums, products and results by being a `PEKind`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from hw.accelerator_config import AcceleratorConfig
from hw.config import ArrayConfig, PEKind
from hw.precision import SHIFT_MAX, WeightMode
from hw.requant import LATENCY
from hw.schedule import pipeline_latency
from sim.formal.axi_lite import AxiLiteAnswers
from sim.formal.engine import EngineReturns
from sim.formal.feeds import ActWalk, TileWalk, WeightWalk
from sim.formal.gather import WRITE_LATENCY, GatherWalk
from sim.formal.layers import LayersInOrder
from sim.formal.loader import LoaderEnds
from sim.formal.order import FifoOrder
from sim.formal.product import WholeProduct
from sim.formal.proof import Method, Proof
from sim.formal.recoder import BoothDigits, ShiftAddMoves
from sim.formal.register_slice import SliceOrder
from sim.formal.requantiser import Clamping, Product, Rounding
from sim.formal.result_queue import ResultsFit
from sim.formal.results import ResultsLeave
from sim.formal.steps import StepSums


def proofs() -> list[Proof]:
    """Every proof, quick ones first within its group."""
    return [
        *_recoders(),
        *_requantiser(),
        *_products(),
        *_sums(),
        *_results(),
        *_streams(),
        *_slices(),
        *_sequencer(),
    ]


def small(kind: PEKind, *, act_bits: int = 4, signed: bool = False, **others: Any) -> ArrayConfig:
    """Return the smallest array of a kind that has all its parts: 1 x 1, some lanes."""
    traits = kind.traits
    lanes = 1 if traits.one_lane else 4 if traits.planes > 1 else 2
    config = ArrayConfig(
        rows=1,
        cols=1,
        lanes=lanes,
        pe=kind,
        act_bits=act_bits,
        act_signed=signed,
        acc_bits=20,
        max_depth=16,
        drain_rows=1,
    )
    return replace(config, **others)


def small_accelerator() -> AcceleratorConfig:
    """Return a small accelerator, none of whose sizes is 1 and few of which are powers of two."""
    array = ArrayConfig(rows=2, cols=4, lanes=8, drain_rows=1, max_depth=24, act_bits=4)
    return AcceleratorConfig(
        array=array, bank_channels=8, act_words=3, weight_words=12, channel_tiles=3
    )


def _recoders() -> Iterator[Proof]:
    yield Proof(
        name="recoder-booth",
        claim="Booth digits of every weight of every mode add up to the weight",
        method=Method.INDUCTION,
        depth=1,
        build=BoothDigits,
    )
    yield Proof(
        name="recoder-shift_add",
        claim="moves of every 8-bit weight add up to the weight, two weights back to back",
        method=Method.BMC,
        depth=2 * WeightMode.W8.bits + 2,
        build=partial(ShiftAddMoves, small(PEKind.SHIFT_ADD)),
    )


def _requantiser() -> Iterator[Proof]:
    config = ArrayConfig()
    yield Proof(
        name="requantiser-product",
        claim="product of every sum + bias that fits 32 bits and every 16-bit multiplier",
        method=Method.BMC,
        depth=LATENCY + 1,
        build=partial(Product, config),
    )
    yield Proof(
        name="requantiser-rounding",
        claim="every 48-bit product at every shift, rounded to nearest, halves up",
        method=Method.BMC,
        depth=LATENCY,
        build=partial(Rounding, config, range(1, SHIFT_MAX + 1)),
    )
    for signed in (False, True):
        yield Proof(
            name=f"requantiser-clamping-{'signed' if signed else 'unsigned'}",
            claim="every rounded number, zero point and bound of 8-bit activations",
            method=Method.BMC,
            depth=LATENCY + 1,
            build=partial(Clamping, ArrayConfig(act_signed=signed)),
        )


def _products() -> Iterator[Proof]:
    wide = [(PEKind.BOOTH_DIGIT, WeightMode.W8, 8)]
    for kind, mode, act_bits in [*((k, m, 4) for k in PEKind for m in WeightMode), *wide]:
        config = small(kind, act_bits=act_bits)
        harness = partial(WholeProduct, config, mode)
        following = WeightMode(mode.value % len(WeightMode) + 1)
        yield Proof(
            name=f"product-{kind.value}-{mode.name}-act{act_bits}",
            claim=f"streams to result: every {act_bits}-bit activation times every weight, after "
            f"a tile of any operands at {following.name}",
            method=Method.BMC,
            depth=config.steps(following) + config.steps(mode) + pipeline_latency(config) + 3,
            build=harness,
        )


def _sums() -> Iterator[Proof]:
    for kind in PEKind:
        if kind.traits.skips_zeros:
            continue
        yield _sum(small(kind), "")
        if kind.traits.signed_acts:
            yield _sum(small(kind, signed=True), "-signed")
    yield _sum(small(PEKind.BOOTH_DIGIT, act_bits=8), "-act8")
    for kind in (PEKind.BOOTH_DIGIT, PEKind.INT8_MAC):
        yield _sum(small(kind, double_buffered=False), "-in_place")


def _sum(config: ArrayConfig, what: str) -> Proof:
    return Proof(
        name=f"sums-{config.pe.value}{what}",
        claim=f"{config.lanes} lanes, {config.act_bits}-bit activations: results are the sums of "
        "the steps' products, for tiles of any length and mode, any operands and stalls",
        method=Method.INDUCTION,
        depth=pipeline_latency(config) + 2,
        build=partial(StepSums, config),
    )


def _results() -> Iterator[Proof]:
    booth, mac = PEKind.BOOTH_DIGIT, PEKind.INT8_MAC
    for name, config in (
        ("two-of-four-rows", small(booth, rows=4, cols=2, drain_rows=2)),
        ("row-by-row", small(booth, rows=3, cols=2)),
        ("in_place", small(mac, rows=4, double_buffered=False)),
        ("row-excess", small(PEKind.RADIX4_DIGIT, rows=2, cols=2)),
        ("zeros-skipped", small(PEKind.SHIFT_ADD, rows=2, cols=2)),
    ):
        yield Proof(
            name=f"results-{name}",
            claim=f"{config.name}: every tile's rows leave once, in order, after a fixed time, "
            "and only where there was room",
            method=Method.INDUCTION,
            depth=pipeline_latency(config) + config.drain_cycles + 3,
            build=partial(ResultsLeave, config),
        )


def _streams() -> Iterator[Proof]:
    yield Proof(
        name="checker-order",
        claim="a FIFO of two places loses, repeats and reorders nothing (the checker itself)",
        method=Method.BMC,
        depth=12,
        build=FifoOrder,
    )


def _slices() -> Iterator[Proof]:
    yield Proof(
        name="slice-order",
        claim="the AXI4-Stream slice loses, repeats and reorders none of 65535 beats, and keeps "
        "what it offers",
        method=Method.INDUCTION,
        depth=1,
        build=partial(SliceOrder, 16),
    )
    yield Proof(
        name="axi_lite-answers",
        claim="every request of any master is answered once, with what the registers said to its "
        "address, two cycles behind it, until taken; one access a request",
        method=Method.INDUCTION,
        depth=1,
        build=AxiLiteAnswers,
    )


def _sequencer() -> Iterator[Proof]:
    for name, config in (("small", small_accelerator()), ("default", AcceleratorConfig())):
        yield Proof(
            name=f"loader-ends-{name}",
            claim="any packet of any length: the loader comes to its end and hands on a layer that "
            "fits all scratchpads, or an error; it writes only the layer's halves",
            method=Method.INDUCTION,
            depth=1,
            build=partial(LoaderEnds, config),
        )
        for feed, harness in (("act", ActWalk), ("weight", WeightWalk), ("tile", TileWalk)):
            yield Proof(
                name=f"feed-{feed}-{name}",
                claim="layers of any size: every item is read once, in order, as soon as it is "
                "there, offered until taken; the last one ends the layer",
                method=Method.INDUCTION,
                depth=1,
                build=partial(harness, config),
            )
    small = small_accelerator()
    yield Proof(
        name="gather-small",
        claim="layers of any size: im2col takes every tap of every patch once, in order, as soon "
        "as it may, within rows x pieces cycles each; no more patches than there are",
        method=Method.INDUCTION,
        depth=WRITE_LATENCY + 1,
        build=partial(GatherWalk, small),
    )
    yield Proof(
        name="layers-in-order",
        claim="a walker sees each of 255 layers, in order, until it finishes it",
        method=Method.INDUCTION,
        depth=1,
        build=partial(LayersInOrder, small, 1),
    )
    yield Proof(
        name="results-fit",
        claim="the results' queue never overflows, given tiles only where there was room; a "
        "layer ends with the last row of its last tile; empty means that all was sent",
        method=Method.INDUCTION,
        depth=LATENCY + 2,
        build=partial(ResultsFit, small),
    )
    array = replace(small.array, max_depth=8, drain_rows=2)
    yield Proof(
        name="engine-returns",
        claim="one packet of up to 18 beats that ends at any, the run's last, of a layer of at "
        "most 2 outputs, 2 taps and 4 channels, of any mode and data: idle again within 68 cycles, "
        "with no wait outside",
        method=Method.BMC,
        depth=70,
        build=partial(
            EngineReturns,
            AcceleratorConfig(
                array=array, bank_channels=4, act_words=2, weight_words=4, channel_tiles=1
            ),
            most=dict.fromkeys(("kernel_h", "in_h", "in_w", "out_w"), 2)
            | dict.fromkeys(("kernel_w", "stride", "out_h", "pad_top", "groups"), 1)
            | {"out_tiles": 1, "pad_left": 0, "in_channels": 4, "group_channels": 4},
            beats=18,
            cycles=68,
        ),
    )
