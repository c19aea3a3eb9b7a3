"""Register map of the accelerator: the one definition for gateware, benches and documentation.

``python -m hw.registers`` writes docs/register-map.md, with ``--check`` it compares it.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hw import descriptor
from hw.accelerator_config import AcceleratorConfig
from hw.config import PEKind
from hw.register import ADDRESS_BITS, Access, Field, Register, markdown

IDENTIFICATION = int.from_bytes(b"SQMA", "big")
MAP_VERSION = 1
COUNTER_BITS = 48
"""Of a performance counter: three days of a run at 1 GHz before it wraps."""


def _ro(name: str, low: int, bits: int, text: str) -> Field:
    return Field(name=name, low=low, bits=bits, access=Access.RO, text=text)


def _bit(name: str, low: int, access: Access, text: str) -> Field:
    return Field(name=name, low=low, bits=1, access=access, text=text)


def _counter(name: str, address: int, text: str) -> tuple[Register, Register]:
    low, high = f"{name}_LO", f"{name}_HI"
    return (
        Register(
            name=low,
            address=address,
            fields=(_ro("count", 0, 32, "Bits 31 to 0."),),
            text=f"{text} Reading it holds the upper half for {high}.",
        ),
        Register(
            name=high,
            address=address + 4,
            fields=(_ro("count", 0, COUNTER_BITS - 32, f"Bits {COUNTER_BITS - 1} to 32."),),
            text=f"Upper half at the last read of {low}.",
            held_by=low,
        ),
    )


_KINDS = ", ".join(f"{index} {kind.value}" for index, kind in enumerate(PEKind))
_ERRORS = ", ".join(f"{code.value} {code.name}" for code in descriptor.ErrorCode)

REGISTERS: tuple[Register, ...] = (
    Register(
        name="ID",
        address=0x00,
        fields=(_ro("id", 0, 32, f"0x{IDENTIFICATION:08x}, `SQMA` in ASCII."),),
        text="Tells that this is the accelerator.",
    ),
    Register(
        name="VERSION",
        address=0x04,
        fields=(
            _ro("map", 0, 16, "Version of this register map."),
            _ro("descriptor", 16, 16, "Version of layer descriptors that is understood."),
        ),
        text="Raised when software must change.",
    ),
    Register(
        name="ARRAY",
        address=0x08,
        fields=(
            _ro("rows", 0, 9, "Rows of PEs: pixels of a tile."),
            _ro("cols", 12, 9, "Columns of PEs: output channels of a tile."),
            _ro("lanes", 24, 7, "Lanes of a PE."),
        ),
        text="Size of the array.",
    ),
    Register(
        name="PE",
        address=0x0C,
        fields=(
            _ro("kind", 0, 8, f"Microarchitecture: {_KINDS}."),
            _ro("act_bits", 8, 4, "Bits of an activation."),
            _ro("act_signed", 12, 1, "Whether activations are two's complement."),
            _ro("acc_bits", 16, 7, "Bits of an accumulator."),
            _ro("bus_bytes", 24, 8, "Bytes of a beat of either stream."),
        ),
        text="Kind and widths.",
    ),
    Register(
        name="MAX_DEPTH",
        address=0x10,
        fields=(_ro("products", 0, 25, "Longest dot product."),),
        text="What the accumulators hold without overflow.",
    ),
    Register(
        name="ACT_SPACE",
        address=0x14,
        fields=(
            _ro("words", 0, 17, "Words per row of the array in one half."),
            _ro("bank_channels", 24, 7, "Channels of one pixel in a word."),
        ),
        text="Activation scratchpad.",
    ),
    Register(
        name="WEIGHT_SPACE",
        address=0x18,
        fields=(_ro("words", 0, 17, "Words in one half; one is an item of the weight stream."),),
        text="Weight scratchpad.",
    ),
    Register(
        name="CHANNEL_SPACE",
        address=0x1C,
        fields=(_ro("tiles", 0, 17, "Tiles of `cols` output channels in one half."),),
        text="Store of the output channels' parameters.",
    ),
    Register(
        name="CONTROL",
        address=0x20,
        fields=(
            _bit("start", 0, Access.PULSE, "Start a run and clear the counters; ignored if busy."),
            _bit(
                "flush",
                1,
                Access.RW,
                "While 1, whatever the streams bring is dropped and everything but the registers "
                "is in reset: a run ends without results or interrupt, what was loaded is "
                "forgotten, and a packet of results may be cut.",
            ),
        ),
        text="Starts runs, and ends them.",
    ),
    Register(
        name="STATUS",
        address=0x24,
        fields=(
            _ro("busy", 0, 1, "A run is under way, or its last results have not left yet."),
            _ro("error", 4, 4, f"Why the last run ended: {_ERRORS}."),
            _ro("error_tag", 16, 16, "Tag of the layer with the error."),
        ),
        text="State of the run; error and tag stay until the next start.",
    ),
    Register(
        name="IRQ_ENABLE",
        address=0x28,
        fields=(
            _bit("done", 0, Access.RW, "Interrupt at the end of every run."),
            _bit("error", 1, Access.RW, "Interrupt at the end of a run with an error."),
        ),
        text="`irq` is high while a bit is set here and in IRQ_STATUS.",
    ),
    Register(
        name="IRQ_STATUS",
        address=0x2C,
        fields=(
            _bit("done", 0, Access.W1C, "A run has ended."),
            _bit("error", 1, Access.W1C, "A run has ended with an error."),
        ),
        text="What has happened, enabled or not; a start does not clear it.",
    ),
    Register(
        name="LAYERS",
        address=0x30,
        fields=(_ro("count", 0, 16, "Layers finished since the start."),),
        text="Progress of the run.",
    ),
    *_counter("BUSY_CYCLES", 0x40, "Cycles of the run."),
    *_counter("STEP_CYCLES", 0x48, "Cycles in which the array took a step."),
    *_counter(
        "STALL_CYCLES", 0x50, "Cycles in which a layer was loaded and the array took no step."
    ),
    *_counter("SKIPPED_STEPS", 0x58, "Steps saved because a tile's digit plane was empty."),
)
"""All registers, by address."""

BY_NAME: Mapping[str, Register] = {register.name: register for register in REGISTERS}


def constants(config: AcceleratorConfig) -> dict[tuple[str, str], int]:
    """Values of the fields that never change, by register and field."""
    array = config.array
    return {
        ("ID", "id"): IDENTIFICATION,
        ("VERSION", "map"): MAP_VERSION,
        ("VERSION", "descriptor"): descriptor.VERSION,
        ("ARRAY", "rows"): array.rows,
        ("ARRAY", "cols"): array.cols,
        ("ARRAY", "lanes"): array.lanes,
        ("PE", "kind"): list(PEKind).index(array.pe),
        ("PE", "act_bits"): array.act_bits,
        ("PE", "act_signed"): int(array.act_signed),
        ("PE", "acc_bits"): array.acc_bits,
        ("PE", "bus_bytes"): config.bus_bytes,
        ("MAX_DEPTH", "products"): array.max_depth,
        ("ACT_SPACE", "words"): config.act_words,
        ("ACT_SPACE", "bank_channels"): config.bank_channels,
        ("WEIGHT_SPACE", "words"): config.weight_words,
        ("CHANNEL_SPACE", "tiles"): config.channel_tiles,
    }


INTRODUCTION = f"""# Register map

Made by `python -m hw.registers` from `hw/registers.py`, from which the gateware comes, too: do not
edit.

AXI4-Lite, 32-bit words, {1 << ADDRESS_BITS} bytes. The two lowest address bits are ignored; bytes
whose strobe is 0 keep their value. A read without a register, and a write without a register or to
one of read-only fields, have no effect and are answered with SLVERR. Bits that are not listed read
as 0 and ignore what is written.

Access: `ro` read only; `rw` read and write; `w1c` set by the hardware, cleared by writing 1, and an
event in the cycle of the clearing is kept; `pulse` writing 1 has an effect once, reads as 0.

A run: clear IRQ_STATUS, write CONTROL, send the layers' packets, wait for `irq` or IRQ_STATUS.done,
read STATUS.error. Read a counter's _LO before its _HI: the two then belong together.

"""
PAGE = Path(__file__).parents[1] / "docs" / "register-map.md"


def page() -> str:
    """Text of docs/register-map.md."""
    return INTRODUCTION + "\n".join(markdown(REGISTERS)) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare the page; 1 if it differs, 2 if it cannot be read or written."""
    parser = argparse.ArgumentParser(prog="hw.registers", description="Document the register map.")
    parser.add_argument("-o", "--output", type=Path, default=PAGE, help="Markdown file")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    try:
        if not options.check:
            options.output.write_text(page(), encoding="utf-8")
            print(f"{options.output}: {len(REGISTERS)} registers")
        elif options.output.read_text(encoding="utf-8") != page():
            print(
                f"hw.registers: {options.output} is not what hw/registers.py says; "
                "run `python -m hw.registers`",
                file=sys.stderr,
            )
            return 1
    except OSError as error:
        print(f"hw.registers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
