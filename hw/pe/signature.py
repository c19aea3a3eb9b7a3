"""What every processing element (PE) looks like from outside."""

from amaranth import Shape, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.booth import DIGIT
from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode

CONTROL = data.StructLayout({"shift": WeightMode.W8.digits, "clear": 1, "capture": 1, "drain": 1})
"""Pipelined control, the same for all PEs.

shift
    One-hot digit position of the step that is being summed; 0 when there is none.
clear
    The step that reaches the accumulator is the first of its tile.
capture
    The accumulator holds a finished tile: take it into the output register.
drain
    Without an output register: accumulators move on by one row.
"""


def weight_layout(config: ArrayConfig) -> data.ArrayLayout:
    """Weights of one step as a PE takes them."""
    if config.pe is PEKind.BOOTH_DIGIT:
        return data.ArrayLayout(DIGIT, config.lanes)
    return data.ArrayLayout(signed(WeightMode.W8.bits), config.lanes)


def act_layout(config: ArrayConfig) -> data.ArrayLayout:
    """Activations of one chunk."""
    return data.ArrayLayout(Shape(config.act_bits, config.act_signed), config.lanes)


class PESignature(wiring.Signature):
    """Ports of a PE.

    Members
    -------
    act : In(act_layout(config))
        Held while the digits of a chunk stream.
    weight : In(weight_layout(config))
        One digit, or one whole weight, per lane.
    control : In(CONTROL)
        Aligned to the pipeline of the kind: `shift` one stage before the accumulator's input
        register, `clear` at the accumulator, `capture` behind it.
    chain_in, chain_out : In(acc_bits), Out(acc_bits)
        Results on their way to the end of the column.
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(
            {
                "act": In(act_layout(config)),
                "weight": In(weight_layout(config)),
                "control": In(CONTROL),
                "chain_in": In(config.acc_bits),
                "chain_out": Out(config.acc_bits),
            }
        )
