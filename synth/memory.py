"""Scratchpad energy: cited, not measured."""

from synth.table import MemoryCost

SRAM_8_KIB_45_NM = MemoryCost(
    source=(
        "M. Horowitz, Computing's energy problem, ISSCC 2014: 8 KB SRAM, 45 nm, 10 pJ per 64-bit "
        "access; writes taken as reads"
    ),
    read_pj_per_bit=10 / 64,
    write_pj_per_bit=10 / 64,
)
