"""Drivers of the array's bench: streams that pause, and a consumer that has no room at times."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from cocotb.triggers import RisingEdge


class StreamDriver:
    """Offers items on a valid/ready stream, with random idle cycles before each.

    Parameters
    ----------
    dut : simulator handle
        With a clock `clk`.
    name : str
        Of the stream.
    seed : int
        Of the idle cycles.
    """

    def __init__(self, dut: Any, name: str, *, seed: int) -> None:
        self._clk = dut.clk
        self._valid = getattr(dut, f"{name}__valid")
        self._payload = getattr(dut, f"{name}__payload")
        self._ready = getattr(dut, f"{name}__ready")
        self._random = random.Random(f"{name}-{seed}")
        self._valid.value = 0

    async def send(self, items: Iterable[int], *, idle: float) -> None:
        """Offer items until the last one is taken; `idle` is the chance of an idle cycle."""
        edge = RisingEdge(self._clk)
        for item in items:
            while self._random.random() < idle:
                self._valid.value = 0
                await edge
            self._payload.value = item
            self._valid.value = 1
            await edge
            while not int(self._ready.value):
                await edge
        self._valid.value = 0


class RoomDriver:
    """Says at random whether the consumer has room for another tile."""

    def __init__(self, dut: Any, *, seed: int) -> None:
        self._dut = dut
        self._random = random.Random(f"room-{seed}")
        self.busy = 0.0
        dut.room.value = 1

    async def run(self) -> None:
        """Toggle for ever; `busy` is the chance of no room in a cycle."""
        edge = RisingEdge(self._dut.clk)
        while True:
            await edge
            self._dut.room.value = int(self._random.random() >= self.busy)
