"""The AXI4-Lite slave answers every request once, with what the register file said to it."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.hdl import ResetSignal

from hw.axi_lite import ACCESS, CHANNELS, OKAY, SLVERR, AxiLiteSlave
from sim.formal.harness import Harness, claim, given


class AxiLiteAnswers(Harness):
    """A slave with a free bus, whose master need not even keep its requests, and free registers."""

    def __init__(self) -> None:
        ports = {n: port for n, port in (CHANNELS | ACCESS).items() if port.flow.name == "In"}
        self.inputs = tuple(ports)
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = AxiLiteSlave()
        m.d.comb += given(~ResetSignal())
        m.d.comb += [getattr(dut, name).eq(getattr(self, name)) for name in self.inputs]
        self._reads(m, dut)
        self._writes(m, dut)
        return m

    def _reads(self, m: Module, dut: AxiLiteSlave) -> None:
        asked = self._asked(m, "read", self.arvalid & dut.arready, dut.rvalid & self.rready)
        word, answer = Signal.like(dut.read_word, name="asked_word"), Signal(34)
        with m.If(self.arvalid & dut.arready):
            m.d.sync += word.eq(self.araddr[2:])
        with m.If(dut.read):
            data = Mux(self.read_error, 0, self.read_data)
            m.d.sync += answer.eq(Cat(data, Mux(self.read_error, SLVERR, OKAY)))
        m.d.comb += [
            claim(dut.arready == ~asked),
            claim(~asked | (dut.read_word == word)),
            claim(~dut.rvalid | (Cat(dut.rdata, dut.rresp) == answer)),
        ]
        self._once(m, "read", asked, access=dut.read, answered=dut.rvalid)

    def _writes(self, m: Module, dut: AxiLiteSlave) -> None:
        taken = dut.bvalid & self.bready
        address = self._asked(m, "address", self.awvalid & dut.awready, taken)
        data = self._asked(m, "data", self.wvalid & dut.wready, taken)
        word, value = Signal.like(dut.write_word, name="to_word"), Signal(36)
        response = Signal(2)
        with m.If(self.awvalid & dut.awready):
            m.d.sync += word.eq(self.awaddr[2:])
        with m.If(self.wvalid & dut.wready):
            m.d.sync += value.eq(Cat(self.wdata, self.wstrb))
        with m.If(dut.write):
            m.d.sync += response.eq(Mux(self.write_error, SLVERR, OKAY))
        m.d.comb += [
            claim(dut.awready == ~address),
            claim(dut.wready == ~data),
            claim(~address | (dut.write_word == word)),
            claim(~data | (Cat(dut.write_data, dut.write_strobe) == value)),
            claim(~dut.bvalid | (dut.bresp == response)),
        ]
        self._once(m, "write", address & data, access=dut.write, answered=dut.bvalid)

    @staticmethod
    def _asked(m: Module, name: str, comes: Value, goes: Value) -> Signal:
        """Return whether a request is under way: from the cycle behind it to its answer's."""
        asked = Signal(name=f"{name}_asked")
        with m.If(comes):
            m.d.sync += asked.eq(1)
        with m.Elif(goes):
            m.d.sync += asked.eq(0)
        m.d.comb += claim(~comes | ~asked)
        return asked

    @staticmethod
    def _once(m: Module, name: str, asked: Value, *, access: Value, answered: Value) -> None:
        """Claim one access in the request's first cycle, and its answer from then on."""
        accessed = Signal(name=f"{name}_done")
        m.d.sync += accessed.eq(asked)
        # the cycle after the answer was taken has no request under way, so `accessed` tells
        # whether this request was there in the cycle before
        m.d.comb += [
            claim(access == (asked & ~accessed)),
            claim(answered == (asked & accessed)),
        ]
