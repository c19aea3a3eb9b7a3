"""Performance counters of a run."""

from amaranth import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.registers import COUNTER_BITS


class Counters(Component):
    """Count what the engine says in each cycle; `clear` comes while there is nothing to count.

    Parameters
    ----------
    skipped_bits : int
        Width of the engine's number of skipped steps.

    Members
    -------
    clear, busy, stepping, stalled : In(1)
    skipped : In(skipped_bits)
        Added, while the others count cycles.
    busy_cycles, step_cycles, stall_cycles, skipped_steps : Out(COUNTER_BITS)
        Two cycles behind.
    """

    def __init__(self, skipped_bits: int) -> None:
        super().__init__(
            {
                "clear": In(1),
                "busy": In(1),
                "stepping": In(1),
                "stalled": In(1),
                "skipped": In(skipped_bits),
                "busy_cycles": Out(COUNTER_BITS),
                "step_cycles": Out(COUNTER_BITS),
                "stall_cycles": Out(COUNTER_BITS),
                "skipped_steps": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for counter, event in (
            (self.busy_cycles, self.busy),
            (self.step_cycles, self.stepping),
            (self.stall_cycles, self.stalled),
            (self.skipped_steps, self.skipped),
        ):
            # the events come from deep in the sequencer: not through the adder in the same cycle
            arrived = Signal(len(event), name=f"{event.name}_arrived")
            m.d.sync += [arrived.eq(event), counter.eq(counter + arrived)]
            with m.If(self.clear):
                m.d.sync += counter.eq(0)
        return m
