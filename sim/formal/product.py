"""One product through the whole array, streams to results, against plain multiplication.

The other products of the chunk are zero. Together with `sim.formal.steps`, which proves that
products add up, this is the sum of products.
"""

from __future__ import annotations

from typing import Any

from amaranth import Array, Const, Module, Shape, Signal, Value, signed
from amaranth.hdl import ResetSignal

from hw.array import MacArray
from hw.config import ArrayConfig
from hw.precision import WeightMode
from sim.formal.harness import Harness, claim, given, unknown
from sim.formal.wiring import TileShape


class WholeProduct(Harness):
    """A tile of any operands, then the checked one, packed as `sim.packing` packs them.

    Parameters
    ----------
    config : ArrayConfig
        The array, 1 x 1.
    mode : WeightMode
        Precision of the checked tile's weights; the tile before has another one.
    """

    def __init__(self, config: ArrayConfig, mode: WeightMode) -> None:
        following = WeightMode(mode.value % len(WeightMode) + 1)
        self.before = TileShape(config=config, mode=following, chunks=1)
        self.checked = TileShape(config=config, mode=mode, chunks=1)
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.checked.config
        m.submodules.dut = dut = MacArray(config)
        m.d.comb += given(~ResetSignal())
        items: dict[str, list[Value]] = {"tiles": [], "acts": [], "weights": []}
        for name, shape in (("before", self.before), ("checked", self.checked)):
            act, weight = _operands(m, name, shape, alone=shape is self.checked)
            items["tiles"].append(Const(shape.command(), len(dut.tiles.payload.as_value())))
            items["acts"] += shape.act_items([act])
            items["weights"] += shape.weight_items([[value] for value in weight])
        m.d.comb += dut.room.eq(1)
        for name, values in items.items():
            _offer(m, getattr(dut, name), values, name)
        expected = Signal(signed(config.acc_bits))
        m.d.comb += expected.eq(sum(a * w for a, w in zip(act, weight, strict=True)))
        results = Signal(2)
        with m.If(dut.psums.valid):
            m.d.sync += results.eq(results + 1)
            m.d.comb += claim(results < 2)
            with m.If(results == 1):
                m.d.comb += claim(dut.psums.payload.sums[0][0] == expected)
        return m


def _operands(
    m: Module, name: str, shape: TileShape, *, alone: bool
) -> tuple[list[Value], list[Value]]:
    """Unknown activations and weights of a tile, all but the last zero if `alone`."""
    config = shape.config
    acts: list[Value] = []
    weights: list[Value] = []
    for k in range(shape.depth):
        act = Signal(Shape(config.act_bits, config.act_signed), name=f"{name}_act_{k}")
        weight = Signal(signed(shape.mode.bits), name=f"{name}_weight_{k}")
        if not alone or k == shape.depth - 1:
            m.d.comb += [act.eq(unknown(len(act))), weight.eq(unknown(len(weight)))]
        acts.append(act)
        weights.append(weight)
    return acts, weights


def _offer(m: Module, stream: Any, items: list[Value], name: str) -> None:
    """Offer items in their order."""
    index = Signal(range(len(items) + 1), name=f"{name}_index")
    m.d.comb += [
        stream.valid.eq(index != len(items)),
        stream.payload.eq(Array(items)[index]),
    ]
    with m.If(stream.valid & stream.ready):
        m.d.sync += index.eq(index + 1)
