"""Rules of an AXI handshake, watched on every channel that the accelerator drives."""

from __future__ import annotations

from typing import Any

from cocotb.triggers import RisingEdge

CHANNELS = {
    "m_axis_t": ("data", "last"),
    "s_axil_b": ("resp",),
    "s_axil_r": ("data", "resp"),
}
"""Payload by channel; valid and ready have the same prefix."""


async def watch_handshakes(dut: Any) -> None:
    """Fail when a valid is withdrawn or a payload changes before ready, or either is unknown.

    Raises
    ------
    AssertionError
        Naming the channel; ARM IHI 0022 A3.2.1 and IHI 0051 2.2 are the rules.
    """
    edge = RisingEdge(dut.clk)
    waiting: dict[str, tuple[int, ...] | None] = dict.fromkeys(CHANNELS)
    while True:
        await edge
        for prefix, names in CHANNELS.items():
            valid = getattr(dut, f"{prefix}valid").value
            assert valid.is_resolvable, f"{prefix}valid must be known, not {valid}"
            held = waiting[prefix]
            if not int(valid):
                assert held is None, f"{prefix}valid was withdrawn before {prefix}ready"
                continue
            payload = tuple(int(getattr(dut, prefix + name).value) for name in names)
            assert held in (None, payload), f"{prefix}{names[0]} changed before {prefix}ready"
            waiting[prefix] = None if int(getattr(dut, f"{prefix}ready").value) else payload
