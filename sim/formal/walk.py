"""A walker goes through its nested counts without skipping or repeating one."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, Value

from sim.formal.harness import claim, given


def steady_layer(m: Module, *, valid: Value, layer: Any, finish: Value) -> None:
    """Have a layer stay until it is finished, as `hw.layer.LayerQueue` keeps it."""
    waits, held = Signal(name="layer_waits"), Signal(len(layer.as_value()), name="layer_held")
    m.d.sync += [waits.eq(valid & ~finish), held.eq(layer)]
    m.d.comb += [
        given(~waits | (valid & (layer.as_value() == held))),
        claim(valid | ~finish),
    ]


def walks(
    m: Module, digits: list[tuple[Value, Value]], *, active: Value, step: Value, finish: Value
) -> None:
    """Claim that counters count as the digits of a number do, once through for every layer.

    Parameters
    ----------
    m : Module
        Of the harness; not inside ``m.If``.
    digits : list of (counter, count)
        The quickest first; a counter goes from 0 to its count, exclusive.
    active : Value
        There is a layer, to whose end the counters go.
    step : Value
        The counters advance behind this cycle.
    finish : Value
        The walker says that this is the layer's last step.
    """
    last: Value = step
    stepped = Signal(name="walk_stepped")
    carry: Value = stepped
    m.d.sync += stepped.eq(step)
    m.d.comb += claim(active | ~step)
    for index, (counter, count) in enumerate(digits):
        at_end = counter + 1 == count
        last = last & at_end
        before = Signal(len(counter), name=f"walk_before_{index}")
        ended = Signal(name=f"walk_ended_{index}")
        running = Signal(name=f"walk_running_{index}")
        m.d.sync += [before.eq(counter), ended.eq(at_end), running.eq(1)]
        m.d.comb += [
            claim(Mux(active, counter < count, counter == 0)),
            claim(~running | (counter == Mux(carry, Mux(ended, 0, before + 1), before))),
        ]
        carry = carry & ended
    m.d.comb += claim(finish == last)
