"""What every processing element (PE) looks like from outside, and the lines that lead to it."""

from typing import TypeAlias

from amaranth import Shape, signed
from amaranth.hdl import ShapeLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.booth import DIGIT
from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode

Lines: TypeAlias = "data.View[data.ArrayLayout]"
"""Operands, lane by lane."""

Record: TypeAlias = "data.View[data.StructLayout]"
"""Named fields: a digit, or the control."""

PLAIN_DIGIT = data.StructLayout({"one": 1, "two": 1, "three": 1})
"""A digit 0 to 3 as a PE takes it: one line at most is high."""


def move_layout(config: ArrayConfig) -> data.StructLayout:
    """Lay out a cycle of a serial shift-add MAC.

    Fields: `load` takes the activation, `shift` (one-hot) moves it to the left, then `add` adds it
    to the accumulator or, with `neg`, subtracts it.
    """
    return data.StructLayout({"load": 1, "shift": config.max_shift + 1, "add": 1, "neg": 1})


def control_layout(config: ArrayConfig) -> data.StructLayout:
    """Pipelined control, the same for all PEs of an array.

    shift
        What is being summed, one-hot, 0 when there is no step: the position of a digit on serial
        kinds, the weight mode on digit planes. Other kinds have no such field.
    top
        The digit that is being summed is the highest of its weights; on serial kinds only.
    clear
        The step that reaches the accumulator is the first of its tile.
    capture
        The accumulator holds a finished tile: take it into the output register.
    drain
        Without an output register: accumulators move on by one row.
    """
    traits = config.pe.traits
    fields: dict[str, ShapeLike] = {}
    if traits.shift_positions:
        fields["shift"] = traits.shift_positions
    if traits.serial:
        fields["top"] = 1
    return data.StructLayout(fields | {"clear": 1, "capture": 1, "drain": 1})


def weight_word(config: ArrayConfig) -> data.ArrayLayout:
    """Weights of one step as they lie in memory: a digit's bits, or a whole weight, a lane."""
    return data.ArrayLayout(config.weight_field_bits, config.lanes)


def weight_layout(config: ArrayConfig) -> data.ArrayLayout:
    """Weights of one step as a PE takes them."""
    whole = signed(WeightMode.W8.bits)
    lane: dict[PEKind, ShapeLike] = {
        PEKind.BOOTH_DIGIT: DIGIT,
        PEKind.BIT_PLANE: 1,
        PEKind.BIT_PAIR: 2,
        PEKind.RADIX4_DIGIT: PLAIN_DIGIT,
        PEKind.DIGIT_PLANES: DIGIT,
        PEKind.SHIFT_ADD: move_layout(config),
        PEKind.INT8_MAC: whole,
        PEKind.INT8_DOT: whole,
    }
    return data.ArrayLayout(lane[config.pe], config.lanes)


def act_layout(config: ArrayConfig) -> data.ArrayLayout:
    """Activations of one chunk as they lie in memory."""
    return data.ArrayLayout(Shape(config.act_bits, config.act_signed), config.lanes)


def act_lines(config: ArrayConfig) -> data.ArrayLayout:
    """Activations of one chunk as a PE takes them: on radix-4 digits with their triples."""
    if config.pe is not PEKind.RADIX4_DIGIT:
        return act_layout(config)
    lane = data.StructLayout({"single": config.act_bits, "triple": config.act_bits + 2})
    return data.ArrayLayout(lane, config.lanes)


class PESignature(wiring.Signature):
    """Ports of a PE.

    Members
    -------
    act : In(act_lines(config))
        Held while the digits of a chunk stream.
    weight : In(weight_layout(config))
        One digit, one whole weight or one move, per lane.
    control : In(control_layout(config))
        Aligned to the pipeline of the kind: `shift` and `top` at the shifter, `clear` at the
        accumulator, `capture` behind it.
    chain_in, chain_out : In(acc_bits), Out(acc_bits)
        Results on their way to the end of the column.
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(
            {
                "act": In(act_lines(config)),
                "weight": In(weight_layout(config)),
                "control": In(control_layout(config)),
                "chain_in": In(config.acc_bits),
                "chain_out": Out(config.acc_bits),
            }
        )
