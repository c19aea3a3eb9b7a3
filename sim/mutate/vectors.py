"""Stimuli and expected outputs, cycle by cycle, from a run of the design that equals the model."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth import Elaboratable, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from hw.component import Component
from hw.config import ArrayConfig
from hw.precision import MULTIPLIER_BITS, SHIFT_MAX
from hw.requant import LATENCY, Requantiser
from sim import golden
from sim.bench.tiles import Tile
from sim.golden import Ints
from sim.mutate.observed import ObservedArray


class GoldenError(Exception):
    """The unmutated design does not equal the golden model."""


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """What goes in and what must come out.

    Parameters
    ----------
    inputs, outputs : dict of str to list of int
        By port as Verilog names it, one number a cycle; the cycles follow a reset.
    guards : dict of str to str
        Outputs that count only while another one is high, and that other one.
    """

    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]
    guards: dict[str, str]

    @property
    def cycles(self) -> int:
        """Number of cycles."""
        return len(next(iter(self.inputs.values())))


@dataclass
class _Recorder:
    """Collects ports' values in each cycle."""

    inputs: dict[str, Value]
    outputs: dict[str, Value]
    seen: dict[str, list[int]] = field(default_factory=dict)

    def sample(self, ctx: Any) -> None:
        for name, port in (self.inputs | self.outputs).items():
            self.seen.setdefault(name, []).append(_unsigned(ctx.get(port), port))

    def vectors(self, guards: dict[str, str]) -> Vectors:
        return Vectors(
            inputs={name: self.seen[name] for name in self.inputs},
            outputs={name: self.seen[name] for name in self.outputs},
            guards=guards,
        )


def _unsigned(value: int, port: Value) -> int:
    return value & ((1 << len(port)) - 1)


def ports(component: Component) -> _Recorder:
    """Return a recorder of a component's ports by their names in Verilog."""
    inputs: dict[str, Value] = {}
    outputs: dict[str, Value] = {}
    for path, member, value in component.signature.flatten(component):
        name = "__".join(str(part) for part in path)
        (inputs if member.flow is wiring.In else outputs)[name] = Value.cast(value)
    return _Recorder(inputs, outputs)


def array_vectors(dut: ObservedArray, tiles: Sequence[Tile], *, seed: int) -> Vectors:
    """Record an array on tiles: streams that flow, a reset in mid-run, streams that pause.

    Raises
    ------
    GoldenError
        If a result is not that of the golden model.
    """
    half = len(tiles) // 2
    run = _ArrayRun(dut, seed)

    async def drive(ctx: Any) -> None:
        await run.session(ctx, tiles[:half], flow=1.0, leave_out=2 * dut.config.drain_cycles)
        await run.reset(ctx)
        await run.session(ctx, tiles[half:], flow=0.7, leave_out=0)

    _simulate(ResetInserter(run.rst)(run.dut), drive)
    guards = {"psums__payload": "psums__valid", "digits": "digits_new"}
    outputs = run.recorder.outputs
    return run.recorder.vectors({name: by for name, by in guards.items() if name in outputs})


class _ArrayRun:
    """Drives an array as the bench does, compares and records."""

    def __init__(self, dut: ObservedArray, seed: int) -> None:
        self.config = dut.config
        self.dut = dut
        self.rst = Signal()
        self.recorder = ports(self.dut)
        self.recorder.inputs["rst"] = self.rst
        self._random = random.Random(seed)

    async def reset(self, ctx: Any) -> None:
        """Reset for one cycle, whatever is under way."""
        ctx.set(self.rst, 1)
        self.recorder.sample(ctx)
        await ctx.tick()
        ctx.set(self.rst, 0)

    async def session(
        self, ctx: Any, tiles: Sequence[Tile], *, flow: float, leave_out: int
    ) -> None:
        """Send tiles until all rows of results but some have been seen."""
        config, dut = self.config, self.dut
        items = {
            "tiles": [tile.command(config) for tile in tiles],
            "acts": [item for tile in tiles for item in tile.act_items(config)],
            "weights": [item for tile in tiles for item in tile.weight_items(config)],
        }
        offered = dict.fromkeys(items, False)
        results: list[tuple[int, list[int]]] = []
        while len(results) < len(tiles) * config.drain_cycles - leave_out:
            for name, left in items.items():
                stream = getattr(dut, name)
                payload = Value.cast(stream.payload)
                offered[name] = bool(left) and (offered[name] or self._random.random() < flow)
                # what nobody may take is noise
                noise = self._random.getrandbits(len(payload))
                ctx.set(payload, left[0] if offered[name] else noise)
                ctx.set(stream.valid, offered[name])
            ctx.set(dut.room, self._random.random() < flow)
            self.recorder.sample(ctx)
            if ctx.get(dut.psums.valid):
                results.append(_row(ctx, dut))
            for name, left in items.items():
                if offered[name] and ctx.get(getattr(dut, name).ready):
                    left.pop(0)
                    offered[name] = False
            await ctx.tick()
        _compare(config, tiles, results)


def _row(ctx: Any, dut: ObservedArray) -> tuple[int, list[int]]:
    config, sums = dut.config, dut.psums.payload.sums
    values = [ctx.get(sums[c][i]) for i in range(config.drain_rows) for c in range(config.cols)]
    return ctx.get(dut.psums.payload.row), values


def _compare(
    config: ArrayConfig, tiles: Sequence[Tile], results: Sequence[tuple[int, list[int]]]
) -> None:
    for index, tile in enumerate(tiles):
        expected = tile.expected()
        rest = results[index * config.drain_cycles :]
        for cycle in range(min(config.drain_cycles, len(rest))):
            row, values = results[index * config.drain_cycles + cycle]
            rows = range(cycle, config.rows, config.drain_cycles)
            wanted = [int(value) for r in rows for value in expected[r]]
            if (row, values) != (cycle, wanted):
                raise GoldenError(
                    f"{config.name}: tile {index}, row {cycle}: {wanted} expected, got {values}"
                )


def requantiser_vectors(config: ArrayConfig, *, count: int, seed: int) -> Vectors:
    """Record the requantiser on sums around rounding boundaries, the bounds, and the extremes.

    Raises
    ------
    GoldenError
        If an output is not that of the golden model.
    """
    dut = Requantiser(config)
    recorder = ports(dut)
    rng = np.random.default_rng(seed)
    layers = [(7, 0, 255), (7, 7, 240), (0, 0, 255), (128, 128, 200), (255, 3, 254), None]
    expected: list[int] = []
    results: list[int] = []

    async def drive(ctx: Any) -> None:
        for layer in layers:
            sums = _sums(rng, count // len(layers))
            # None: the low bits, whatever the bounds
            zero_point, low, high = layer or (90, -(1 << 50), 1 << 50)
            ctx.set(dut.zero_point, zero_point)
            ctx.set(dut.low, low if layer else 100)
            ctx.set(dut.high, high if layer else 120)
            ctx.set(dut.wrap, layer is None)
            wanted = golden.requantise(
                sums["sum"],
                bias=sums["bias"],
                multiplier=sums["multiplier"],
                shift=sums["shift"],
                zero_point=zero_point,
                low=low,
                high=high,
            )
            expected.extend((wanted if layer else wanted & 0xFF).tolist())
            valid = (rng.random(2 * len(sums["sum"])) < 0.8).tolist()
            index = 0
            while index < len(sums["sum"]) + LATENCY:
                here = min(index, len(sums["sum"]) - 1)
                offers = index < len(sums["sum"]) and valid.pop() if valid else True
                offers = bool(offers) and index < len(sums["sum"])
                ctx.set(dut.valid, offers)
                ctx.set(dut.sum, int(sums["sum"][here]))
                for name in ("bias", "multiplier", "shift"):
                    ctx.set(getattr(dut.channel, name), int(sums[name][here]))
                recorder.sample(ctx)
                if ctx.get(dut.out_valid):
                    results.append(ctx.get(dut.out))
                index += offers or index >= len(sums["sum"])
                await ctx.tick()

    _simulate(dut, drive)
    if results != expected:
        raise GoldenError("requantiser: an output is not that of the golden model")
    return recorder.vectors({"out": "out_valid"})


def _sums(rng: np.random.Generator, count: int) -> dict[str, Ints]:
    """Random sums with channels: on rounding boundaries, single bits, at the ends of 32 bits."""
    low, high = -(1 << 31), (1 << 31) - 1
    shift = rng.integers(1, SHIFT_MAX + 1, count)
    multiplier = rng.integers(1 << (MULTIPLIER_BITS - 1), 1 << MULTIPLIER_BITS, count)
    total = np.round(rng.normal(size=count) * 2.0 ** np.minimum(shift - 8, 30)).astype(np.int64)
    # an odd number of halves: total * 2**15 = odd * 2**(shift - 1)
    halves = (rng.random(count) < 0.4) & (shift >= MULTIPLIER_BITS) & (shift < 40)
    odd = 2 * rng.integers(-128, 128, count) + 1
    multiplier[halves] = 1 << (MULTIPLIER_BITS - 1)
    total[halves] = odd[halves] << (shift[halves] - MULTIPLIER_BITS)
    # small multipliers and shifts, where the low bits of a product show
    small = rng.random(count) < 0.2
    shift[small] = rng.integers(1, 12, small.sum())
    multiplier[small] = rng.integers(0, 64, small.sum())
    total[small] = rng.integers(-256, 256, small.sum())
    # products of one bit, so that no upper bit may be lost where bounds are compared
    single = rng.random(count) < 0.2
    shift[single] = rng.integers(1, 8, single.sum())
    multiplier[single] = 1 << (MULTIPLIER_BITS - 1)
    total[single] = np.int64(1) << rng.integers(0, 31, single.sum())
    ends = rng.random(count) < 0.1
    total[ends] = rng.choice([low, high, low + 1, -1, 0, 1], ends.sum())
    total = np.clip(total, low, high)
    bias = np.where(rng.random(count) < 0.3, 0, rng.integers(low, high, count) >> 1)
    bias = np.clip(bias, total - high, total - low)
    return {"sum": total - bias, "bias": bias, "multiplier": multiplier, "shift": shift}


def _simulate(dut: Elaboratable, drive: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-9)  # type: ignore[no-untyped-call]
    simulator.add_testbench(drive)
    simulator.run()  # type: ignore[no-untyped-call]
