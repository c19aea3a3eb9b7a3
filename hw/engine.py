"""Place of the sequencer core while it is written elsewhere: its ports, and no function."""

from amaranth import Module
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.component import Component


class Engine(Component):
    """Ports of the engine; takes nothing and gives nothing."""

    def __init__(self, config: AcceleratorConfig) -> None:
        bits = 8 * config.bus_bytes
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(4),
                "error_tag": Out(16),
                "layers": Out(16),
                "stepping": Out(1),
                "stalled": Out(1),
                "skipped": Out(3),
                "in_valid": In(1),
                "in_ready": Out(1),
                "in_data": In(bits),
                "in_last": In(1),
                "out_valid": Out(1),
                "out_ready": In(1),
                "out_data": Out(bits),
                "out_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        return Module()
