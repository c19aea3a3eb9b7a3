"""Cocotb bench of the accelerator's shell: registers, interrupt, counters, streams.

The engine is `sim.bench.echo_engine`, whose runs are known beat by beat. Run by
`sim.bench.runner.run_bench` with a `RegisterJob`.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any, ClassVar

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp

from hw.catalog import named
from hw.register import ADDRESS_BITS, Access
from hw.registers import BY_NAME, REGISTERS, constants
from sim.bench.axi import WORD_BYTES, Host
from sim.bench.echo_engine import LAST
from sim.bench.job import RegisterJob


class EngineMonitor:
    """Counts in Python what the engine says in each cycle."""

    PORTS: ClassVar = {
        "BUSY_CYCLES": "busy",
        "STEP_CYCLES": "stepping",
        "STALL_CYCLES": "stalled",
        "SKIPPED_STEPS": "skipped",
    }

    def __init__(self, dut: Any) -> None:
        self._engine = dut.engine
        self._edge = RisingEdge(dut.clk)
        self.counts = dict.fromkeys(self.PORTS, 0)

    async def run(self) -> None:
        """Count for ever, from 0 at each start."""
        while True:
            await self._edge
            if int(self._engine.start.value):
                self.counts = dict.fromkeys(self.PORTS, 0)
            for name, port in self.PORTS.items():
                self.counts[name] += int(getattr(self._engine, port).value)


def packet(rng: random.Random, host: Host, *, last: bool = False, error: int = 0) -> bytes:
    """Random beats with a first byte that the echo engine understands."""
    beats = rng.randint(1, 12)
    body = rng.randbytes(beats * host.source.byte_lanes)
    return bytes([body[0] & 0xE0 | (LAST if last else 0) | error]) + body[1:]


async def constants_are_the_configuration(host: Host, job: RegisterJob) -> None:
    """Every read-only constant reads as configured, and every register after reset as defined."""
    config = named(job.config)
    array = await host.read("ARRAY")
    assert array == {
        "rows": config.array.rows,
        "cols": config.array.cols,
        "lanes": config.array.lanes,
    }
    known = constants(config)
    for register in REGISTERS:
        for name, value in (await host.read(register.name)).items():
            expected = known.get((register.name, name), 0)
            assert value == expected, f"{register.name}.{name}: {expected} expected, got {value}"


async def wrong_addresses_are_refused(host: Host, rng: random.Random) -> None:
    """Every word of the address space answers, those without a register with SLVERR."""
    mapped = {register.address: register for register in REGISTERS}
    before = await host.read_word("IRQ_ENABLE")
    for address in range(0, 1 << ADDRESS_BITS, WORD_BYTES):
        register = mapped.get(address)
        data, answer = await host.access(address)
        assert answer is (AxiResp.OKAY if register else AxiResp.SLVERR), f"read of {address:#x}"
        assert register or data == bytes(WORD_BYTES)
        if register and register.writable:
            continue
        _, answer = await host.access(address, rng.randbytes(WORD_BYTES))
        assert answer is AxiResp.SLVERR, f"write to {address:#x} was answered with {answer.name}"
        assert register is None or (await host.access(address))[0] == data
    assert await host.read_word("IRQ_ENABLE") == before


async def byte_strobes_are_respected(host: Host, rng: random.Random) -> None:
    """Write one to four bytes at any offset: these bytes' `rw` fields change, and no other."""
    for register in REGISTERS:
        writable = 0
        for field in register.fields:
            if field.access is Access.RW:
                writable |= field.mask
        if not writable:
            continue
        value = await host.read_word(register.name)
        for _ in range(16):
            offset = rng.randrange(WORD_BYTES)
            data = rng.randbytes(rng.randint(1, WORD_BYTES - offset))
            _, answer = await host.access(register.address + offset, data)
            assert answer is AxiResp.OKAY
            bits = ((1 << 8 * len(data)) - 1) << 8 * offset & writable
            value = value & ~bits | int.from_bytes(data, "little") << 8 * offset & bits
            assert await host.read_word(register.name) == value, register.name
        # a pulse beside it and a byte that is not strobed start nothing
        await host.access(BY_NAME["CONTROL"].address + 1, b"\xff\xff\xff")
        await host.write(register.name)
    assert (await host.read("STATUS"))["busy"] == 0


async def overlapping_accesses_are_all_answered(host: Host, rng: random.Random) -> None:
    """Queue reads and writes at once: with both directions under way each gets its answer."""
    enable, constant = BY_NAME["IRQ_ENABLE"].address, BY_NAME["ID"].address
    reads, writes = [], []
    for _ in range(30):
        if rng.random() < 0.5:
            address = rng.choice(REGISTERS[:8]).address
            reads.append((address, cocotb.start_soon(host.access(address))))
        else:
            address = rng.choice([enable, enable, constant])
            writes.append((address, cocotb.start_soon(host.access(address, bytes(WORD_BYTES)))))
    for address, read in reads:
        assert await read == await host.access(address), f"{address:#x} reads otherwise alone"
    for address, write in writes:
        assert (await write)[1] is (AxiResp.OKAY if address == enable else AxiResp.SLVERR)


async def runs_echo_count_and_interrupt(
    host: Host, rng: random.Random, monitor: EngineMonitor, *, layers: int
) -> None:
    """Run layers: all packets come back, and the counters are what the engine said."""
    packets = [packet(rng, host, last=index == layers - 1) for index in range(layers)]
    await host.start()
    assert (await host.read("STATUS"))["busy"] == 1
    for item in packets:
        await host.send(item)
    status = await (host.wait_for_interrupt() if rng.random() < 0.5 else host.wait_by_polling())
    assert status == {"busy": 0, "error": 0, "error_tag": status["error_tag"]}
    # the run ends when its results have left
    assert host.sink.count() == layers
    for item in packets:
        assert await host.receive() == item
    expected = monitor.counts | {"LAYERS": layers}
    assert await host.counters() == expected
    assert expected["STEP_CYCLES"] == sum(map(len, packets)) // host.source.byte_lanes
    assert int(host.dut.irq.value) == 0


async def errors_are_reported(host: Host, rng: random.Random) -> None:
    """Let a run fail: code and layer are told; with `done` masked the error interrupts alone."""
    code, good = rng.randint(1, 10), packet(rng, host)
    await host.write("IRQ_ENABLE", error=1)
    await host.write("CONTROL", start=1)
    await host.send(good)
    await host.send(packet(rng, host, error=code))
    assert await host.wait_for_interrupt() == {"busy": 0, "error": code, "error_tag": 1}
    assert await host.receive() == good
    assert (await host.read("LAYERS"))["count"] == 1


async def masked_events_stay_pending(host: Host, rng: random.Random) -> None:
    """Without an enable there is no interrupt; enabling later raises it, writing 1 clears it."""
    await host.write("IRQ_ENABLE")
    await host.write("CONTROL", start=1)
    await host.send(packet(rng, host, last=True))
    await host.receive()
    while not (await host.read("IRQ_STATUS"))["done"]:
        pass
    assert await host.read("IRQ_STATUS") == {"done": 1, "error": 0}
    assert int(host.dut.irq.value) == 0
    await host.write("IRQ_ENABLE", done=1)
    await host.read("ID")
    assert int(host.dut.irq.value) == 1
    await host.write("IRQ_STATUS", error=1)
    assert await host.read("IRQ_STATUS") == {"done": 1, "error": 0}
    await host.write("IRQ_STATUS", done=1)
    assert await host.read("IRQ_STATUS") == {"done": 0, "error": 0}
    assert int(host.dut.irq.value) == 0


async def a_start_while_busy_is_ignored(host: Host, rng: random.Random) -> None:
    """Neither the run nor its counters begin anew."""
    await host.start()
    first, second = packet(rng, host), packet(rng, host, last=True)
    await host.send(first)
    assert await host.receive() == first
    before = await host.counters()
    await host.write("CONTROL", start=1)
    after = await host.counters()
    assert after["STEP_CYCLES"] == before["STEP_CYCLES"]
    assert after["BUSY_CYCLES"] > before["BUSY_CYCLES"]
    await host.send(second)
    await host.wait_for_interrupt()
    assert await host.receive() == second


async def a_run_ends_when_its_results_have_left(host: Host, rng: random.Random) -> None:
    """Take no results: the run goes on, although the engine is done; take them, and it ends."""
    host.hold_results()
    await host.start()
    one_beat = bytes([LAST, *rng.randbytes(host.source.byte_lanes - 1)])
    await host.send(one_beat)
    while int(host.dut.engine.layers.value) == 0:
        await host.cycles
    assert (await host.read("STATUS"))["busy"] == 1
    assert (await host.read("IRQ_STATUS"))["done"] == 0
    # a start is ignored until then, too
    await host.write("CONTROL", start=1)
    host.hold_results(False)
    await host.wait_for_interrupt()
    assert await host.receive() == one_beat
    assert (await host.read("LAYERS"))["count"] == 1


async def counters_carry_into_their_upper_half(host: Host) -> None:
    """Place carries around the reads of both halves: they do not show."""
    counter = host.dut.counters.busy_cycles
    await host.start()
    for lead in range(2, 40, 3):
        counter.value = (1 << 32) * 5 - lead
        low = await host.read_word("BUSY_CYCLES_LO")
        high = await host.read_word("BUSY_CYCLES_HI")
        assert high == (4 if low >> 31 else 5), f"{high:#x} beside {low:#x}"
    await host.send(bytes([LAST, *bytes(host.source.byte_lanes - 1)]))
    await host.wait_for_interrupt()
    await host.receive()


async def _all(host: Host, job: RegisterJob) -> None:
    rng = random.Random(job.seed)
    monitor = EngineMonitor(host.dut)
    cocotb.start_soon(monitor.run())
    await constants_are_the_configuration(host, job)
    await wrong_addresses_are_refused(host, rng)
    await byte_strobes_are_respected(host, rng)
    await overlapping_accesses_are_all_answered(host, rng)
    for layers in (1, 2, 7):
        await runs_echo_count_and_interrupt(host, rng, monitor, layers=layers)
    await errors_are_reported(host, rng)
    await masked_events_stay_pending(host, rng)
    await a_start_while_busy_is_ignored(host, rng)
    await a_run_ends_when_its_results_have_left(host, rng)
    await counters_carry_into_their_upper_half(host)
    await runs_echo_count_and_interrupt(host, rng, monitor, layers=3)


@cocotb.test()
async def shell_does_what_the_register_map_says(dut: Any) -> None:
    """All of the above; the report is written last: a bench that failed leaves none."""
    job = RegisterJob.from_json(os.environ["BENCH_JOB"])
    host = Host(dut, idle=job.idle, back_pressure=job.back_pressure, seed=job.seed)
    await host.reset()
    await _all(host, job)
    Path(os.environ["BENCH_REPORT"]).write_text(job.to_json(), encoding="utf-8")
