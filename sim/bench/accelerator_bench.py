"""Cocotb bench of the accelerator: layers in through AXI, results and counters compared.

Run by `sim.bench.runner.run_bench` with an `AcceleratorJob`.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.accelerator_config import AcceleratorConfig
from hw.descriptor import DESCRIPTOR_BYTES, ErrorCode
from hw.timeline import RunTimes, run_times
from sim.bench.accelerator_coverage import covered
from sim.bench.accelerator_job import AcceleratorJob
from sim.bench.axi import Host
from sim.bench.layers import make_layers
from sim.bench.malformed import malformed_packets
from sim.bench.pace import Pace
from sim.program import Layer


def expected_times(layers: list[Layer], config: AcceleratorConfig) -> RunTimes:
    """Foretell a run by `hw.timeline`."""
    return run_times([(x.descriptor(config), x.tile_steps(config)) for x in layers], config)


def check(layer: Layer, index: int, data: bytes, config: AcceleratorConfig) -> None:
    """Compare a layer's results with the golden model."""
    got, expected = layer.results(data, config), layer.expected(config)
    if not np.array_equal(got, expected):
        pixel, channel = np.argwhere(got != expected)[0]
        raise AssertionError(
            f"layer {index} ({layer.mode.name}, {layer.shape}), pixel {pixel}, channel {channel}: "
            f"{expected[pixel, channel]} expected, got {got[pixel, channel]}"
        )


def check_counters(counters: dict[str, int], times: RunTimes, *, exact: bool) -> None:
    """Compare the performance counters with the timeline."""
    expected = {"STEP_CYCLES": times.steps, "SKIPPED_STEPS": times.skipped}
    if exact:
        expected |= {"BUSY_CYCLES": times.busy, "STALL_CYCLES": times.stalls}
    for name, value in expected.items():
        assert counters[name] == value, f"{name} must be {value}, not {counters[name]}"
    assert counters["LAYERS"] == len(times.layers)


class StageMonitor:
    """Notes when the layers of a run take their first and last steps and give their last sums."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        self.steps: list[int] = []
        self.last_sums: list[int] = []

    async def run(self) -> None:
        """Watch for ever; cycle 0 is that of the start."""
        engine, edge = self._dut.engine, RisingEdge(self._dut.clk)
        cycle = layers = 0
        while True:
            await edge
            cycle += 1
            if int(engine.start.value):
                cycle, layers = 0, 0
                self.steps, self.last_sums = [], []
            if int(engine.stepping.value):
                self.steps.append(cycle)
            if int(engine.layers.value) > layers:  # a cycle behind the sums
                layers += 1
                self.last_sums.append(cycle - 1)

    def check(self, times: RunTimes) -> None:
        """Compare with the timeline, layer by layer."""
        done = 0
        for index, (layer, last_sum) in enumerate(zip(times.layers, self.last_sums, strict=True)):
            first, last = self.steps[done], self.steps[done + layer.steps - 1]
            got, expected = (first, last, last_sum), (layer.first_step, layer.last_step)
            assert got == (*expected, layer.last_sum), (
                f"layer {index}: first step, last step and last sum must be in cycles "
                f"{(*expected, layer.last_sum)}, not {got}"
            )
            done += layer.steps


async def run_layers(host: Host, job: AcceleratorJob, layers: list[Layer]) -> dict[str, int]:
    """Run layers, compare their results and counters; return the counters."""
    stages = StageMonitor(host.dut)
    watching = cocotb.start_soon(stages.run())
    for layer in layers:
        await host.send(layer.packet(job.config))
    await host.start()
    for index, layer in enumerate(layers):
        data = await host.receive()
        if job.compare:
            check(layer, index, data, job.config)
    status = await host.wait_for_interrupt()
    assert status == {"busy": 0, "error": ErrorCode.NONE, "error_tag": 0}, status
    assert host.sink.empty(), "more results than layers"
    counters = await host.counters()
    exact = job.idle is Pace.NONE and job.back_pressure is Pace.NONE
    times = expected_times(layers, job.config)
    check_counters(counters, times, exact=exact)
    if exact:
        stages.check(times)
    watching.cancel()
    return counters


async def refuse_packets(host: Host, job: AcceleratorJob, layers: list[Layer]) -> Counter[str]:
    """Send malformed packets, each between good layers; every run ends, and the next one is good.

    Returns
    -------
    Counter
        Runs by error.
    """
    seen: Counter[str] = Counter()
    rng = random.Random(job.seed)
    for code, packet in malformed_packets(job.config, seed=job.seed):
        before = [replace(layer, last=False) for layer in layers[: rng.randint(0, 2)]]
        for layer in before:
            await host.send(layer.packet(job.config))
        await host.send(packet)
        await host.start()
        for index, layer in enumerate(before):
            check(layer, index, await host.receive(), job.config)
        status = await host.wait_for_interrupt()
        assert status["busy"] == 0
        assert status["error"] == code, f"error must be {code!r}, not {status['error']}"
        tag = int.from_bytes(packet[28:30], "little") if len(packet) >= DESCRIPTOR_BYTES else 0
        assert status["error_tag"] == tag, f"tag must be {tag}, not {status['error_tag']}"
        assert host.sink.empty(), f"results of a layer refused for {code!r}"
        assert (await host.counters())["LAYERS"] == len(before)
        seen[code.name] += 1
    await run_layers(host, job, layers)
    return seen


async def flush_and_recover(host: Host, job: AcceleratorJob, layers: list[Layer]) -> None:
    """End runs by a flush: in the middle, waiting for the rest of a packet, and behind an error.

    Each time packets are still queued; they are dropped, and the next run is good.
    """
    packets = [layer.packet(job.config) for layer in layers]
    endless = layers[0].packet(job.config)[: -job.config.bus_bytes]
    wrong = b"\0" + packets[0][1:]
    rng = random.Random(job.seed)
    for queue in ([*packets, *packets], [endless], [wrong, *packets]):
        for packet in queue:
            await host.send(packet)
        await host.start()
        for _ in range(rng.randint(50, 400)):
            await host.cycles
        await host.write("CONTROL", flush=1)
        while not host.source.idle():
            await host.cycles
        for _ in range(8):
            await host.cycles
        assert (await host.read("STATUS"))["busy"] == 0
        await host.write("CONTROL")
        while not host.sink.empty():
            host.sink.recv_nowait()
        host.sink.clear()
        await run_layers(host, job, layers)


@cocotb.test()
async def accelerator_equals_golden_model(dut: Any) -> None:
    """Run the job; the report is written last: a bench that failed leaves none."""
    job = AcceleratorJob.from_json(os.environ["BENCH_JOB"])
    layers = make_layers(list(job.specs), job.config)
    patience = 40 * (expected_times(layers, job.config).busy + 500)
    host = Host(
        dut, idle=job.idle, back_pressure=job.back_pressure, seed=job.seed, patience=patience
    )
    await host.reset()
    report: dict[str, Any] = {"seed": job.seed, "layers": len(layers)}
    if job.malformed:
        report["errors"] = await refuse_packets(host, job, layers)
        await flush_and_recover(host, job, layers)
    else:
        report["counters"] = await run_layers(host, job, layers)
        report["covered"] = covered(layers, job)
    Path(os.environ["BENCH_REPORT"]).write_text(json.dumps(report), encoding="utf-8")
