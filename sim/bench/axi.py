"""The host of an accelerator in simulation: registers by name, packets, interrupt.

Used inside a cocotb test, on any design with the ports of `hw.accelerator.Accelerator`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamSink,
    AxiStreamSource,
)

from hw.register import DATA_BITS
from hw.registers import BY_NAME
from sim.bench.handshake import watch_handshakes
from sim.bench.pace import Pace, pauses

PERIOD_NS = 10
WORD_BYTES = DATA_BITS // 8
COUNTERS = ("BUSY_CYCLES", "STEP_CYCLES", "STALL_CYCLES", "SKIPPED_STEPS")


class Host:
    """Drives all ports of the accelerator, and holds it to the AXI handshake rules.

    Parameters
    ----------
    dut : handle
        The design.
    idle : Pace
        Of what the host offers: addresses, write data, packets.
    back_pressure : Pace
        Of what the host takes: read data, write answers, results.
    seed : int
        Of both.
    patience : int
        Cycles to wait for anything before the test fails.
    """

    def __init__(
        self,
        dut: Any,
        *,
        idle: Pace = Pace.NONE,
        back_pressure: Pace = Pace.NONE,
        seed: int = 0,
        patience: int = 20_000,
    ) -> None:
        self.dut = dut
        self._patience = patience
        self.cycles = RisingEdge(dut.clk)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst)
        write, read = self.registers.write_if, self.registers.read_if
        for pace, channels in (
            (idle, (write.aw_channel, write.w_channel, read.ar_channel, self.source)),
            (back_pressure, (write.b_channel, read.r_channel)),
        ):
            for index, channel in enumerate(channels):
                if pace is not Pace.NONE:
                    name = f"{pace.name}-{index}"
                    channel.set_pause_generator(pauses(pace, seed=seed, name=name))
        self._result_pauses = pauses(back_pressure, seed=seed, name="results")
        self.hold_results(False)
        for part in (write, read, self.source, self.sink):
            part.log.setLevel("WARNING")

    def hold_results(self, held: bool = True) -> None:
        """Take no results, or go on taking them at the host's pace."""
        if held:
            self.sink.clear_pause_generator()
        else:
            self.sink.set_pause_generator(self._result_pauses)
        self.sink.pause = held

    async def reset(self) -> None:
        """Start the clock and hold `rst` for three cycles."""
        Clock(self.dut.clk, PERIOD_NS, unit="ns").start()
        self.dut.rst.value = 1
        for _ in range(3):
            await self.cycles
        self.dut.rst.value = 0
        await self.cycles
        cocotb.start_soon(watch_handshakes(self.dut))

    async def within_patience(self, awaited: Awaitable[Any], what: str) -> Any:
        """Wait, but not for ever."""
        try:
            return await with_timeout(awaited, self._patience * PERIOD_NS, "ns")
        except SimTimeoutError:
            raise AssertionError(f"{what} took more than {self._patience} cycles") from None

    async def access(self, address: int, data: bytes | None = None) -> tuple[bytes, AxiResp]:
        """Write `data`, or read a word; return what was read, and the answer."""
        if data is None:
            what = f"read of 0x{address:02x}"
            got = await self.within_patience(self.registers.read(address, WORD_BYTES), what)
            return bytes(got.data), got.resp
        what = f"write to 0x{address:02x}"
        done = await self.within_patience(self.registers.write(address, data), what)
        return b"", done.resp

    async def read_word(self, name: str) -> int:
        """Read a register."""
        data, answer = await self.access(BY_NAME[name].address)
        assert answer is AxiResp.OKAY, f"read of {name} was answered with {answer.name}"
        return int.from_bytes(data, "little")

    async def read(self, name: str) -> dict[str, int]:
        """Read a register's fields."""
        return BY_NAME[name].unpack(await self.read_word(name))

    async def write(self, name: str, **fields: int) -> None:
        """Write a register; fields that are not named become 0."""
        word = BY_NAME[name].pack(**fields).to_bytes(WORD_BYTES, "little")
        _, answer = await self.access(BY_NAME[name].address, word)
        assert answer is AxiResp.OKAY, f"write to {name} was answered with {answer.name}"

    async def start(self) -> None:
        """Clear what is pending, enable the interrupt, start a run."""
        await self.write("IRQ_STATUS", done=1, error=1)
        await self.write("IRQ_ENABLE", done=1)
        await self.write("CONTROL", start=1)

    async def wait_for_interrupt(self) -> dict[str, int]:
        """Wait for the end of the run, acknowledge it and return STATUS."""
        while not int(self.dut.irq.value):
            await self.within_patience(RisingEdge(self.dut.irq), "interrupt")
        return await self._acknowledge()

    async def wait_by_polling(self) -> dict[str, int]:
        """As `wait_for_interrupt`, without it."""

        async def poll() -> None:
            while not (await self.read("IRQ_STATUS"))["done"]:
                pass

        await self.within_patience(poll(), "polling for the end")
        return await self._acknowledge()

    async def _acknowledge(self) -> dict[str, int]:
        status = await self.read("STATUS")
        await self.write("IRQ_STATUS", done=1, error=1)
        return status

    async def counters(self) -> dict[str, int]:
        """Read all performance counters, and the number of finished layers."""
        counts = {
            name: await self.read_word(f"{name}_LO") | await self.read_word(f"{name}_HI") << 32
            for name in COUNTERS
        }
        return counts | {"LAYERS": (await self.read("LAYERS"))["count"]}

    async def send(self, packet: bytes) -> None:
        """Queue a packet, its last beat marked; it goes out by itself.

        Raises
        ------
        ValueError
            If the packet is no whole number of beats.
        """
        if not packet or len(packet) % self.source.byte_lanes:
            raise ValueError(
                f"packet must be whole beats of {self.source.byte_lanes} bytes, "
                f"not {len(packet)} bytes"
            )
        await self.source.send(packet)

    async def receive(self) -> bytes:
        """Wait for a packet of results."""
        frame = await self.within_patience(self.sink.recv(), "packet of results")
        return bytes(frame.tdata)
