"""Named configurations of the accelerator, each with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass

from hw.accelerator_config import AcceleratorConfig
from hw.config import ArrayConfig
from hw.precision import CHANNEL_BITS


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """A configuration and the sentence that says what it is for."""

    config: AcceleratorConfig
    reason: str


TINY = AcceleratorConfig(
    array=ArrayConfig(rows=4, cols=4, lanes=8, acc_bits=26, max_depth=576, drain_rows=1),
    bank_channels=8,
    act_words=512,
    weight_words=512,
    channel_tiles=16,
)
EDGE = AcceleratorConfig()
LARGE = AcceleratorConfig(
    array=ArrayConfig(rows=16, cols=16, lanes=32, max_depth=4608),
    bank_channels=16,
    act_words=1024,
    weight_words=2048,
    channel_tiles=128,
)

CATALOG: Mapping[str, CatalogEntry] = {
    "tiny": CatalogEntry(
        config=TINY,
        reason="Fits a small FPGA (ECP5) and is quick to simulate; the dot products of the shipped "
        "networks fit, their largest layers go in parts.",
    ),
    "edge": CatalogEntry(
        config=EDGE,
        reason="The default, and the one that the cost table measures: 512 products a cycle at "
        "8-bit weights, for small networks on one small chip.",
    ),
    "large": CatalogEntry(
        config=LARGE,
        reason="Four times the default's products, in a square array that reuses every operand "
        "16 times: for layers of many pixels and channels, beside a 256-bit bus.",
    ),
}
"""By name."""


def named(name: str) -> AcceleratorConfig:
    """Return a configuration of the catalogue.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in CATALOG:
        raise ValueError(f"config must be one of {', '.join(CATALOG)}, not {name!r}")
    return CATALOG[name].config


def memory_bits(config: AcceleratorConfig) -> dict[str, int]:
    """Bits of both halves of each memory."""
    array = config.array
    record_bits = CHANNEL_BITS * array.cols + 2
    return {
        "acts": 2 * config.act_words * array.rows * config.bank_channels * array.act_bits,
        "weights": 2 * config.weight_words * config.weight_word_bytes * 8,
        "patches": 2 * config.patch_chunks * array.rows * array.lanes * array.act_bits,
        "parameters": 2 * config.channel_tiles * record_bits,
    }
