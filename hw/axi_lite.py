"""AXI4-Lite slave: the five channels in front of a register file."""

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.register import ADDRESS_BITS, DATA_BITS

OKAY, SLVERR = 0, 2

CHANNELS = {
    "awaddr": In(ADDRESS_BITS),
    "awprot": In(3),
    "awvalid": In(1),
    "awready": Out(1),
    "wdata": In(DATA_BITS),
    "wstrb": In(DATA_BITS // 8),
    "wvalid": In(1),
    "wready": Out(1),
    "bresp": Out(2),
    "bvalid": Out(1),
    "bready": In(1),
    "araddr": In(ADDRESS_BITS),
    "arprot": In(3),
    "arvalid": In(1),
    "arready": Out(1),
    "rdata": Out(DATA_BITS),
    "rresp": Out(2),
    "rvalid": Out(1),
    "rready": In(1),
}
"""Ports of the bus, by their names in the specification (ARM IHI 0022)."""

ACCESS = {
    "read": Out(1),
    "read_word": Out(ADDRESS_BITS - 2),
    "read_data": In(DATA_BITS),
    "read_error": In(1),
    "write": Out(1),
    "write_word": Out(ADDRESS_BITS - 2),
    "write_data": Out(DATA_BITS),
    "write_strobe": Out(DATA_BITS // 8),
    "write_error": In(1),
}
"""Ports to the register file; see `AxiLiteSlave`."""


class AxiLiteSlave(Component):
    """Takes one read and one write at a time, in any order and timing of the channels.

    All outputs to the bus come from registers: no path leads from a bus input to a bus output. A
    write is answered two cycles after the later of its address and data, a read two cycles after
    its address; the next address is taken the cycle after the answer was.

    Members
    -------
    CHANNELS
        `awprot` and `arprot` are not looked at: every access is allowed.
    read, write : Out(1)
        In this cycle a word is read or written, once an access.
    read_word, write_word : Out(ADDRESS_BITS - 2)
        Address in words, held while the access is under way.
    read_data, read_error : In(DATA_BITS), In(1)
        Answer to `read_word` in the same cycle.
    write_data, write_strobe : Out(DATA_BITS), Out(DATA_BITS / 8)
        What to write, and a bit for each byte that counts.
    write_error : In(1)
        Answer to `write_word` in the same cycle.
    """

    def __init__(self) -> None:
        super().__init__(CHANNELS | ACCESS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._reads(m)
        self._writes(m)
        return m

    def _reads(self, m: Module) -> None:
        held = Signal()  # an address that waits for its answer or for the answer to be taken
        m.d.comb += [self.arready.eq(~held), self.read.eq(held & ~self.rvalid)]
        with m.If(self.arvalid & self.arready):
            m.d.sync += [self.read_word.eq(self.araddr[2:]), held.eq(1)]
        with m.If(self.read):
            m.d.sync += [
                self.rvalid.eq(1),
                self.rdata.eq(Mux(self.read_error, 0, self.read_data)),
                self.rresp.eq(Mux(self.read_error, SLVERR, OKAY)),
            ]
        with m.If(self.rvalid & self.rready):
            m.d.sync += [self.rvalid.eq(0), held.eq(0)]

    def _writes(self, m: Module) -> None:
        address_held = Signal()
        data_held = Signal()
        m.d.comb += [
            self.awready.eq(~address_held),
            self.wready.eq(~data_held),
            self.write.eq(address_held & data_held & ~self.bvalid),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [self.write_word.eq(self.awaddr[2:]), address_held.eq(1)]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [
                self.write_data.eq(self.wdata),
                self.write_strobe.eq(self.wstrb),
                data_held.eq(1),
            ]
        with m.If(self.write):
            m.d.sync += [
                self.bvalid.eq(1),
                self.bresp.eq(Mux(self.write_error, SLVERR, OKAY)),
            ]
        with m.If(self.bvalid & self.bready):
            m.d.sync += [self.bvalid.eq(0), address_held.eq(0), data_held.eq(0)]
