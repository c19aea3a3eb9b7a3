"""Every walker sees all layers, in order, each until it finishes it."""

from __future__ import annotations

from amaranth import Module
from amaranth.hdl import ResetSignal
from amaranth.lib.wiring import In

from hw.accelerator_config import AcceleratorConfig
from hw.layer import LayerQueue, layer_layout
from sim.formal.harness import Harness, claim, given
from sim.formal.streams import OrderChecker

SLOTS = 2


class LayersInOrder(Harness):
    """A queue of layers with free walkers, into which layers come only while a slot is free.

    Parameters
    ----------
    config : AcceleratorConfig
        For the layout of a layer.
    walkers : int
        How many there are.
    """

    def __init__(self, config: AcceleratorConfig, walkers: int) -> None:
        self.config, self.walkers = config, walkers
        self.layout = layer_layout(config)
        probes = {f"pending_{w}": (f"dut.pending_{w}", SLOTS.bit_length()) for w in range(walkers)}
        heads = {f"head_{w}": (f"dut.head_{w}", 1) for w in range(walkers)}
        super().__init__(
            {"push": In(1), "layer": In(self.layout), "finish": In(walkers)},
            probes=probes | heads | {"tail": ("dut.tail", 1)},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = LayerQueue(self.config, walkers=self.walkers)
        m.d.comb += [
            given(~ResetSignal()),
            dut.push.eq(self.push),
            dut.layer.eq(self.layer),
        ]
        for walker in range(self.walkers):
            pending, finish = getattr(self, f"pending_{walker}"), self.finish[walker]
            layer, following = dut.layers[walker], dut.following[walker]
            checker = OrderChecker(self.layout.size, count_bits=8)
            m.submodules[f"checker_{walker}"] = checker
            m.d.comb += [
                given((pending != SLOTS) | ~self.push),
                given(dut.valid[walker] | ~finish),
                dut.finish[walker].eq(finish),
                checker.put.eq(self.push),
                checker.put_item.eq(self.layer),
                checker.get.eq(finish),
                checker.get_item.eq(layer),
                claim(pending <= SLOTS),
                claim(pending == checker.puts - checker.gets),
                claim(dut.valid[walker] == (pending != 0)),
                claim(dut.more[walker] == (pending == SLOTS)),
                claim(self.tail == checker.puts[0]),
                claim(getattr(self, f"head_{walker}") == checker.gets[0]),
            ]
            here, behind = checker.chosen == checker.gets, checker.chosen == checker.gets + 1
            with m.If(dut.valid[walker] & here):
                m.d.comb += claim(layer.as_value() == checker.noted)
            with m.If(dut.more[walker] & behind):
                m.d.comb += claim(following.as_value() == checker.noted)
        return m
