"""The accumulator of a PE and the way its result leaves."""

from amaranth import Module, Mux, Signal, Value

from hw.config import ArrayConfig
from hw.pe.signature import Record


def accumulate(
    m: Module,
    *,
    config: ArrayConfig,
    addend: Value,
    control: Record,
    chain_in: Signal,
    chain_out: Signal,
    carry: Value | None = None,
) -> None:
    """Add `addend`, and the bit `carry`, to an accumulator every cycle and wire up its result.

    Sums are modulo ``2**acc_bits``. With an output register results move on while the next tile is
    summed; without one the accumulators themselves shift, and `addend` must be 0 meanwhile.
    """
    acc = Signal(config.acc_bits, reset_less=True)
    keep = ~(control.clear | control.drain) if not config.double_buffered else ~control.clear
    feedback = acc & keep.replicate(config.acc_bits)
    if config.double_buffered:
        out = Signal(config.acc_bits, reset_less=True)
        m.d.sync += out.eq(Mux(control.capture, acc, chain_in))
        m.d.comb += chain_out.eq(out)
    else:
        feedback |= chain_in & control.drain.replicate(config.acc_bits)
        m.d.comb += chain_out.eq(acc)
    total = feedback + addend
    m.d.sync += acc.eq(total if carry is None else total + carry)
