"""From the products of a PE's lanes to its accumulator: trees, shifters, registers."""

from collections.abc import Sequence

from amaranth import Module, Signal, Value

from hw.booth import tree_sum
from hw.config import ArrayConfig, Stage


def delayed(m: Module, value: Value, cycles: int, *, name: str) -> Value:
    """Return a value some cycles later."""
    for stage in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{stage}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def lane_sum(
    m: Module, products: Sequence[Value], config: ArrayConfig, *, name: str = "lane"
) -> Value:
    """Sum of lanes' products behind the registers of `Stage.PRODUCT` and `Stage.GROUP`."""
    if Stage.PRODUCT in config.stages:
        products = [delayed(m, p, 1, name=f"{name}_{i}") for i, p in enumerate(products)]
    return group_sum(m, products, config, name=name)


def group_sum(
    m: Module, terms: Sequence[Value], config: ArrayConfig, *, name: str, per_lane: int = 1
) -> Value:
    """Sum of terms, `per_lane` of each lane, behind the register of `Stage.GROUP`."""
    if Stage.GROUP not in config.stages:
        return tree_sum(list(terms))
    sums: list[Value] = []
    size = config.group * per_lane
    for first in range(0, len(terms), size):
        total = tree_sum(list(terms[first : first + size]))
        sums.append(delayed(m, total, 1, name=f"{name}_group_{first // size}"))
    return tree_sum(sums)


def either(ways: Sequence[Value]) -> Value:
    """Bitwise or of values of which one at most is not 0."""
    result = ways[0]
    for way in ways[1:]:
        result = result | way
    return result


def weighed(total: Value, shift: Value, *, digit_bits: int) -> Value:
    """Shift an unsigned sum to the position of its digit, one-hot; 0 where there is none."""
    width = len(total) + digit_bits * (len(shift) - 1)
    ways = [
        (total << (digit_bits * position))[:width] & shift[position].replicate(width)
        for position in range(len(shift))
    ]
    return either(ways)


def summand(m: Module, value: Value, config: ArrayConfig) -> Value:
    """Return what goes into the accumulator: `value` behind the register of `Stage.SUM`."""
    return delayed(m, value, int(Stage.SUM in config.stages), name="summand")
