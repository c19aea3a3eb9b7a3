"""Packets that the accelerator must refuse, at least one for each error."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hw.accelerator_config import RECORD_BYTES, AcceleratorConfig
from hw.descriptor import DESCRIPTOR_BYTES, FIELDS, FLAGS, ErrorCode
from hw.mapping import ConvShape
from hw.precision import WeightMode
from sim.bench.layers import LayerSpec, make_layers

_OFFSETS = {name: sum(bits for _, bits in FIELDS[:i]) for i, (name, _) in enumerate(FIELDS)}
_BITS = dict(FIELDS)


def with_field(packet: bytes, name: str, value: int) -> bytes:
    """Return the packet with another value in a field of its descriptor."""
    word = int.from_bytes(packet[:DESCRIPTOR_BYTES], "little")
    mask = ((1 << _BITS[name]) - 1) << _OFFSETS[name]
    word = word & ~mask | value << _OFFSETS[name]
    return word.to_bytes(DESCRIPTOR_BYTES, "little") + packet[DESCRIPTOR_BYTES:]


def malformed_packets(config: AcceleratorConfig, *, seed: int) -> Iterator[tuple[ErrorCode, bytes]]:
    """Take a good packet and break it, in every way that the accelerator tells apart.

    Payloads stay as they are: an error of the descriptor is found before it is read.
    """
    rng = random.Random(seed)
    shape = ConvShape(
        in_h=5, in_w=4, in_channels=4, out_channels=5, kernel_h=2, kernel_w=2, pad_top=1
    )
    spec = LayerSpec(shape=shape, mode=WeightMode.W4, seed=seed, narrow=WeightMode.W4)
    good = make_layers([spec], config)[0].packet(config)
    beat = config.bus_bytes
    for name, value in (("version", 0), ("version", 2), ("reserved", 1 << rng.randrange(16))):
        yield ErrorCode.VERSION, with_field(good, name, value)
    yield ErrorCode.VERSION, with_field(good, "flags", 1 << rng.randint(len(FLAGS), 7))
    # the first error counts, not that the packet is short, too
    yield ErrorCode.VERSION, with_field(good[: DESCRIPTOR_BYTES + beat], "version", 9)
    yield ErrorCode.MODE, with_field(good, "mode", rng.randint(4, 255))
    sizes = ("kernel_h", "kernel_w", "stride", "in_h", "in_w", "out_h", "out_w")
    for name in (*sizes, "in_channels", "group_channels", "groups", "out_tiles"):
        yield ErrorCode.SHAPE, with_field(good, name, 0)
    yield ErrorCode.SHAPE, with_field(good, "groups", 2)
    yield ErrorCode.SHAPE, with_field(good, "out_h", 7)
    yield ErrorCode.SHAPE, with_field(good, "out_w", 5)
    deep = with_field(with_field(good, "kernel_h", 255), "kernel_w", 255)
    yield ErrorCode.DEPTH, deep
    yield ErrorCode.ACT_SPACE, with_field(good, "in_h", 65535)
    wide = with_field(good, "in_channels", 65535)
    yield ErrorCode.ACT_SPACE, with_field(wide, "groups", 65535)
    yield ErrorCode.CHANNEL_SPACE, with_field(good, "out_tiles", config.channel_tiles + 1)
    for name in ("keep_acts", "keep_weights"):
        # nothing is resident behind an error
        yield ErrorCode.RESIDENT, with_field(good, "flags", 1 << FLAGS.index(name))
    # inside the descriptor and each section, and exactly behind each of them
    records = DESCRIPTOR_BYTES + 2 * RECORD_BYTES * config.array.cols
    weights = records + 2 * 2 * 2 * config.weight_word_bytes
    for size in (beat, DESCRIPTOR_BYTES, records, weights, len(good) - beat):
        yield ErrorCode.SHORT, good[:size]
        if size > DESCRIPTOR_BYTES:
            yield ErrorCode.SHORT, good[: size - beat]
    yield ErrorCode.LONG, good + rng.randbytes(rng.randint(1, 9) * beat)
    if config.skips_planes:
        record = int.from_bytes(good[DESCRIPTOR_BYTES : DESCRIPTOR_BYTES + 8], "little")
        three = (record | 3 << 62).to_bytes(8, "little")
        yield ErrorCode.MODE, good[:DESCRIPTOR_BYTES] + three + good[DESCRIPTOR_BYTES + 8 :]
    yield from _too_many_weights(config, good)


def _too_many_weights(config: AcceleratorConfig, good: bytes) -> Iterator[tuple[ErrorCode, bytes]]:
    """Send records of so many tiles that their weights do not fit, without these weights."""
    array, mode = config.array, WeightMode.W8
    depth = array.max_depth
    words = -(-depth // array.chunk_depth(mode)) * array.weight_items(mode)
    tiles = config.weight_words // words + 1
    if tiles > config.channel_tiles or depth > 0xFFFF:
        return
    if -(-depth // config.bank_channels) > config.act_words:
        return
    packet = good[:DESCRIPTOR_BYTES]
    fields = {"mode": mode.digits - 1, "kernel_h": 1, "kernel_w": 1, "in_h": 1, "in_w": 1}
    fields |= {"out_h": 1, "out_w": 1}
    fields |= {"in_channels": depth, "group_channels": depth, "out_tiles": tiles}
    for name, value in fields.items():
        packet = with_field(packet, name, value)
    records = (3 << 62).to_bytes(8, "little") * (tiles * array.cols)
    yield ErrorCode.WEIGHT_SPACE, packet + records
