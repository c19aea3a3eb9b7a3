"""What every weight recoder looks like: between the words of a column and its PEs."""

from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.signature import weight_layout, weight_word


class Recoder(Component):
    """Turns words of the weight memory into what PEs take; the base of each kind's own.

    Members
    -------
    step : In(1)
        A step happens.
    first, last : In(1)
        It is the first, or the last, of its chunk.
    mode : In(2)
        Digits of the tile's weights, less one.
    word : In(weight_word(config))
        From memory.
    out : Out(weight_layout(config))
        To the PEs, registered: one cycle after `step`.
    left : Out(1)
        There will be digits left after this step; only where the kind skips zeros.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        members = {
            "step": In(1),
            "first": In(1),
            "last": In(1),
            "mode": In(2),
            "word": In(weight_word(config)),
            "out": Out(weight_layout(config)),
        }
        if config.pe.traits.skips_zeros:
            members["left"] = Out(1)
        super().__init__(members)
