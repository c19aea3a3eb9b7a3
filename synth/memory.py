"""Published costs of memories, to be put into cost tables; none is a result of this project."""

from synth.costs.memory import Cited, MemoryCost, MemoryLevel

_ISSCC = "M. Horowitz, Computing's energy problem, ISSCC 2014"
_PLUG_IN = "Accelergy CACTI plug-in (github.com/Accelergy-Project/accelergy-cacti-plug-in)"


def dram(pj_per_bit: float, source: str, *, node_nm: float | None = None) -> MemoryLevel:
    """Return a DRAM whose reads and writes cost the same, from a source that states no width."""
    energy = Cited(value=pj_per_bit, source=source, node_nm=node_nm)
    return MemoryLevel(read_pj_per_bit=energy, write_pj_per_bit=energy)


_SRAM = Cited(
    value=10 / 64,
    source=f"{_ISSCC}: 8 KB SRAM, 10 pJ per 64-bit access; writes taken as reads",
    node_nm=45,
)
SRAM_8_KIB_45_NM = MemoryLevel(
    read_pj_per_bit=_SRAM,
    write_pj_per_bit=_SRAM,
    access_bits=64,
    area_um2_per_bit=Cited(
        value=0.346,
        source=(
            "K. Mistry et al., A 45nm logic technology with high-k+metal gate transistors, "
            "IEDM 2007: the 6T cell alone, without decoders and amplifiers"
        ),
        node_nm=45,
    ),
)

_DRAM = Cited(
    value=640 / 32,
    source=f"{_ISSCC}: about 640 pJ per 32 bits; writes taken as reads",
    node_nm=45,
)
DRAM_45_NM = MemoryLevel(read_pj_per_bit=_DRAM, write_pj_per_bit=_DRAM, access_bits=32)

LPDDR4 = dram(8, f"{_PLUG_IN}: LPDDR4, public data; states no node")
DDR3 = dram(70, f"{_PLUG_IN}: DDR3, from Malladi et al., ISCA 2012; states no node")
HBM2 = dram(3.9, f"{_PLUG_IN}: HBM2, from Chatterjee et al., MICRO 2017; states no node")

MEMORY_45_NM = MemoryCost(scratchpad=SRAM_8_KIB_45_NM, dram=DRAM_45_NM)
"""What tables at 45 nm get; all feature maps stay on the chip."""
