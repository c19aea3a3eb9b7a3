"""Where the scales of weights come from while a network is trained; `--scales`."""

from enum import Enum


class Scales(Enum):
    """Scales of weights, per output channel; the value is the name on the command line.

    Min-max: those of the rule (`quant.quantizer.weight_scale`) at every step, from the weights as
    they are then. Learned: those of the rule at first, then parameters (`quant.lsq`).
    """

    MIN_MAX = "min-max"
    LEARNED = "learned"
