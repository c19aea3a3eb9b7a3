"""The accelerator: engine, registers on AXI4-Lite, packets on AXI4-Stream."""

from collections.abc import Callable

from amaranth import Module, ResetInserter, Signal
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.axi_lite import ACCESS, CHANNELS, AxiLiteSlave
from hw.axi_stream import StreamSlice
from hw.component import Component
from hw.counters import Counters
from hw.descriptor import ErrorCode
from hw.engine import Engine
from hw.register_file import RegisterFile
from hw.registers import REGISTERS, constants


class Accelerator(Component):
    """A stand-alone block: layers in, activations out, controlled by registers.

    Clock `clk`, synchronous reset `rst`. No path leads from an input to an output without a
    register.

    Parameters
    ----------
    config : AcceleratorConfig
    engine : callable
        Makes the engine; tests give one of their own.

    Members
    -------
    s_axil_* : AXI4-Lite slave
        The registers, see docs/register-map.md.
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast : AXI4-Stream in
        Packets of layers, `bus_bytes` a beat.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast : AXI4-Stream out
        Results, `bus_bytes` a beat.
    irq : Out(1)
        High while an enabled event is pending.
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        *,
        engine: Callable[[AcceleratorConfig], Component] = Engine,
    ) -> None:
        self.config = config
        self.engine = engine(config)
        bits = 8 * config.bus_bytes
        super().__init__(
            {f"s_axil_{name}": member for name, member in CHANNELS.items()}
            | {
                "s_axis_tdata": In(bits),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(bits),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        flush = Signal()
        m.submodules.engine = ResetInserter(flush)(self.engine)
        left = self._streams(m, flush)
        self._control(m, left, flush)
        return m

    def _streams(self, m: Module, flush: Signal) -> Signal:
        """Connect the streams; return whether all results have left."""
        engine, bits = self.engine, 8 * self.config.bus_bytes
        slice_in, slice_out = StreamSlice(bits), StreamSlice(bits)
        m.submodules.slice_in = ResetInserter(flush)(slice_in)
        m.submodules.slice_out = ResetInserter(flush)(slice_out)
        left = Signal()
        m.d.comb += [
            slice_in.in_valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(slice_in.in_ready),
            slice_in.in_data.eq(self.s_axis_tdata),
            slice_in.in_last.eq(self.s_axis_tlast),
            engine.in_valid.eq(slice_in.out_valid),
            slice_in.out_ready.eq(engine.in_ready),
            engine.in_data.eq(slice_in.out_data),
            engine.in_last.eq(slice_in.out_last),
            slice_out.in_valid.eq(engine.out_valid),
            engine.out_ready.eq(slice_out.in_ready),
            slice_out.in_data.eq(engine.out_data),
            slice_out.in_last.eq(engine.out_last),
            self.m_axis_tvalid.eq(slice_out.out_valid),
            slice_out.out_ready.eq(self.m_axis_tready),
            self.m_axis_tdata.eq(slice_out.out_data),
            self.m_axis_tlast.eq(slice_out.out_last),
            left.eq(~slice_out.out_valid),
        ]
        return left

    def _control(self, m: Module, left: Signal, flush: Signal) -> None:
        """Connect registers, counters and interrupt."""
        engine = self.engine
        m.submodules.slave = slave = AxiLiteSlave()
        m.submodules.registers = registers = RegisterFile(REGISTERS, constants(self.config))
        m.submodules.counters = counters = Counters(len(engine.skipped))
        for name, member in CHANNELS.items():
            port, bus = getattr(slave, name), getattr(self, f"s_axil_{name}")
            m.d.comb += port.eq(bus) if member.flow is In else bus.eq(port)
        for name, member in ACCESS.items():
            port, access = getattr(slave, name), getattr(registers, name)
            m.d.comb += access.eq(port) if member.flow is Out else port.eq(access)

        inputs, outputs = registers.inputs, registers.outputs
        start, busy, ended, failed = (Signal(name=n) for n in ("start", "busy", "ended", "failed"))
        # the engine ends when its last beat is in the slice, the host hears of it when that left
        ending = Signal()
        m.d.sync += ending.eq((ending | engine.done) & ~ended & ~flush)
        m.d.comb += [
            flush.eq(outputs.control_flush),
            ended.eq(ending & left & ~flush),
            failed.eq(ended & (engine.error != ErrorCode.NONE)),
            busy.eq(engine.busy | ending),
            start.eq(outputs.control_start & ~busy & ~flush),
            engine.start.eq(start),
            inputs.status_busy.eq(busy),
            inputs.status_error.eq(engine.error),
            inputs.status_error_tag.eq(engine.error_tag),
            inputs.layers_count.eq(engine.layers),
            inputs.irq_status_done.eq(ended),
            inputs.irq_status_error.eq(failed),
            counters.clear.eq(start),
            counters.busy.eq(engine.busy),
            counters.stepping.eq(engine.stepping),
            counters.stalled.eq(engine.stalled),
            counters.skipped.eq(engine.skipped),
        ]
        for name in ("busy_cycles", "step_cycles", "stall_cycles", "skipped_steps"):
            count = getattr(counters, name)
            m.d.comb += [
                inputs[f"{name}_lo_count"].eq(count[:32]),
                inputs[f"{name}_hi_count"].eq(count[32:]),
            ]
        pending = outputs.irq_status_done & outputs.irq_enable_done
        pending_error = outputs.irq_status_error & outputs.irq_enable_error
        m.d.sync += self.irq.eq(pending | pending_error)
