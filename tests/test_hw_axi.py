"""The bus components one by one, where a host cannot force the case that matters."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from amaranth.sim import Simulator

from hw.axi_lite import OKAY, SLVERR, AxiLiteSlave
from hw.axi_stream import StreamSlice
from hw.component import Component
from hw.register import Access, Field, Register
from hw.register_file import RegisterFile


def simulate(dut: Component, bench: Callable[[Any], Any]) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)  # type: ignore[no-untyped-call]
    simulator.add_testbench(bench)
    simulator.run()  # type: ignore[no-untyped-call]


def test_slice_offers_valid_without_waiting_for_ready_and_keeps_it() -> None:
    dut = StreamSlice(8)

    async def bench(ctx: Any) -> None:
        ctx.set(dut.in_valid, 1)
        for beat in (1, 2, 3):
            ctx.set(dut.in_data, beat)
            await ctx.tick()
        # two beats are in it, the third is not taken
        assert (ctx.get(dut.out_valid), ctx.get(dut.out_data), ctx.get(dut.in_ready)) == (1, 1, 0)
        ctx.set(dut.in_valid, 0)
        ctx.set(dut.out_ready, 1)
        seen = []
        for _ in range(4):
            if ctx.get(dut.out_valid):
                seen.append(ctx.get(dut.out_data))
            await ctx.tick()
        assert seen == [1, 2]

    simulate(dut, bench)


def test_slice_neither_loses_nor_repeats_nor_reorders_a_beat_and_keeps_full_rate() -> None:
    dut = StreamSlice(16)
    rng = random.Random(11)
    sent: deque[tuple[int, int]] = deque()
    taken = 0

    async def bench(ctx: Any) -> None:
        nonlocal taken
        for cycle in range(3000):
            flowing = cycle >= 2000
            beat = (cycle, rng.randrange(2))
            valid, ready = (1, 1) if flowing else (rng.randrange(2), rng.randrange(2))
            ctx.set(dut.in_valid, valid)
            ctx.set(dut.in_data, beat[0])
            ctx.set(dut.in_last, beat[1])
            ctx.set(dut.out_ready, ready)
            if ctx.get(dut.out_valid) and ready:
                assert (ctx.get(dut.out_data), ctx.get(dut.out_last)) == sent.popleft()
                taken += 1
            if valid and ctx.get(dut.in_ready):
                sent.append(beat)
            assert not flowing or cycle < 2005 or len(sent) == 1
            await ctx.tick()

    simulate(dut, bench)
    assert taken > 1500


def test_slave_writes_once_whichever_of_address_and_data_comes_first_and_however_long_b_waits() -> (
    None
):
    dut = AxiLiteSlave()
    writes: list[tuple[int, int, int]] = []

    async def cycles(ctx: Any, count: int) -> None:
        for _ in range(count):
            if ctx.get(dut.write):
                writes.append(
                    (ctx.get(dut.write_word), ctx.get(dut.write_data), ctx.get(dut.write_strobe))
                )
            await ctx.tick()

    async def offer(ctx: Any, channel: str) -> None:
        ctx.set(getattr(dut, f"{channel}valid"), 1)
        await cycles(ctx, 1)
        ctx.set(getattr(dut, f"{channel}valid"), 0)

    async def bench(ctx: Any) -> None:
        for index, order in enumerate((("aw", "w"), ("w", "aw"))):
            ctx.set(dut.awaddr, 8 + 4 * index)
            ctx.set(dut.wdata, 77 + index)
            ctx.set(dut.wstrb, 5)
            ctx.set(dut.write_error, index)
            for channel in order:
                await offer(ctx, channel)
                await cycles(ctx, 3)
            await cycles(ctx, 10)
            assert (ctx.get(dut.bvalid), ctx.get(dut.bresp)) == (1, SLVERR if index else OKAY)
            assert not ctx.get(dut.awready)
            assert not ctx.get(dut.wready)
            ctx.set(dut.bready, 1)
            await cycles(ctx, 1)
            ctx.set(dut.bready, 0)
            assert not ctx.get(dut.bvalid)
            assert ctx.get(dut.awready)
            assert ctx.get(dut.wready)

    simulate(dut, bench)
    assert writes == [(2, 77, 5), (3, 78, 5)]


def test_slave_reads_once_and_holds_the_data_while_r_waits() -> None:
    dut = AxiLiteSlave()
    reads = 0

    async def bench(ctx: Any) -> None:
        nonlocal reads
        ctx.set(dut.araddr, 0x1C)
        ctx.set(dut.arvalid, 1)
        ctx.set(dut.read_data, 1234)
        await ctx.tick()
        for _ in range(8):
            reads += ctx.get(dut.read)
            await ctx.tick()
            ctx.set(dut.read_data, 4321)
        assert (ctx.get(dut.read_word), ctx.get(dut.arready)) == (7, 0)
        assert (ctx.get(dut.rvalid), ctx.get(dut.rdata), ctx.get(dut.rresp)) == (1, 1234, OKAY)
        ctx.set(dut.rready, 1)
        await ctx.tick()
        assert (ctx.get(dut.rvalid), ctx.get(dut.arready)) == (0, 1)

    simulate(dut, bench)
    assert reads == 1


def test_register_file_keeps_an_event_in_the_cycle_of_its_clearing_and_pulses_for_one_cycle() -> (
    None
):
    fields = (
        Field(name="event", low=0, bits=1, access=Access.W1C, text=""),
        Field(name="go", low=1, bits=1, access=Access.PULSE, text=""),
        Field(name="level", low=8, bits=4, access=Access.RW, text="", reset=9),
    )
    dut = RegisterFile([Register(name="R", address=4, fields=fields, text="")], {})

    async def bench(ctx: Any) -> None:
        async def write(value: int) -> None:
            ctx.set(dut.write_word, 1)
            ctx.set(dut.write_data, value)
            ctx.set(dut.write_strobe, 0b0001)
            ctx.set(dut.write, 1)
            await ctx.tick()
            ctx.set(dut.write, 0)

        ctx.set(dut.read_word, 1)
        assert ctx.get(dut.read_data) == 9 << 8
        ctx.set(dut.inputs.r_event, 1)
        await ctx.tick()
        assert ctx.get(dut.outputs.r_event) == 1
        await write(0xF03)
        ctx.set(dut.inputs.r_event, 0)
        assert (ctx.get(dut.outputs.r_event), ctx.get(dut.outputs.r_go)) == (1, 1)
        await write(0x001)
        assert (ctx.get(dut.outputs.r_event), ctx.get(dut.outputs.r_go)) == (0, 0)
        # the second byte was never strobed
        assert ctx.get(dut.read_data) == 9 << 8

    simulate(dut, bench)
