"""The copy of the pipelined control at an edge."""

from amaranth import Module, Signal
from amaranth.lib import data

from hw.config import ArrayConfig
from hw.pe.signature import Record, control_layout


def registered(m: Module, config: ArrayConfig, control: Record) -> Record:
    """Return the control one cycle later."""
    layout = control_layout(config)
    register = data.View(layout, Signal(layout.size, name="control_here"))
    m.d.sync += register.eq(control)
    return register
