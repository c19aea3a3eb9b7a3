"""An array of every kind of PE, all of one throughput at 8 bit, and the ways to build each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations

from hw.catalog import named
from hw.config import ArrayConfig, Multiplier, PEKind, Stage


def kinds() -> dict[str, ArrayConfig]:
    """Return an array of every kind, by name."""
    default = named("edge").array
    return {
        "booth_digit": replace(default, pe=PEKind.BOOTH_DIGIT),
        "bit_pair": replace(default, pe=PEKind.BIT_PAIR),
        "radix4_digit": replace(default, pe=PEKind.RADIX4_DIGIT),
        "bit_plane": replace(default, pe=PEKind.BIT_PLANE, lanes=64),
        "digit_planes": replace(default, pe=PEKind.DIGIT_PLANES),
        # as many columns as channels are sampled of each layer, so that their waiting is counted
        "shift_add": replace(
            default,
            pe=PEKind.SHIFT_ADD,
            rows=32,
            cols=8,
            lanes=1,
            drain_rows=8,
            double_buffered=False,
        ),
        "int8_mac": default.int8_equivalent(),
        "int8_dot": default.int8_dot_equivalent(),
    }


def variants(config: ArrayConfig) -> Iterator[ArrayConfig]:
    """Ways to build a kind: places of registers, lanes to a group, multipliers."""
    stages = config.pe.traits.stages
    chosen = chain.from_iterable(combinations(stages, n) for n in range(len(stages) + 1))
    whole = config.pe in (PEKind.INT8_MAC, PEKind.INT8_DOT)
    groups = (2, 4, 8) if whole else (4, 8, 16)  # a whole product has as many rows as 4 bit pairs
    for registers in chosen:
        grouped = Stage.GROUP in registers
        for group in groups if grouped else (config.group,):
            if grouped and group >= config.lanes // config.pe.traits.planes:
                continue
            for multiplier in Multiplier if whole else (config.multiplier,):
                if multiplier is Multiplier.FUSED and Stage.PRODUCT in registers:
                    continue
                yield replace(config, registers=registers, group=group, multiplier=multiplier)


def described(config: ArrayConfig) -> str:
    """Say the registers, groups and multiplier of a variant."""
    names = [stage.value for stage in config.stages] or ["none"]
    text = ", ".join(f"{name} of {config.group}" if name == "group" else name for name in names)
    how = {
        Multiplier.OPERATOR: ", product by Yosys",
        Multiplier.FUSED: ", rows of all lanes at once",
    }
    return text + how.get(config.multiplier, "")
