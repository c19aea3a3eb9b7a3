"""What a register is: fields, access, packing, and its page of documentation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

DATA_BITS = 32
ADDRESS_BITS = 8
"""Of the byte address: 64 words."""


class Access(Enum):
    """What software may do with a field."""

    RO = "ro"
    """Read only."""

    RW = "rw"
    """Read and write."""

    W1C = "w1c"
    """Set by the hardware, cleared by writing 1; a new event in the same cycle is kept."""

    PULSE = "pulse"
    """Writing 1 has an effect once; reads as 0."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """Some bits of a register."""

    name: str
    low: int
    bits: int
    access: Access
    text: str
    reset: int = 0

    @property
    def mask(self) -> int:
        """Ones at the field's bits."""
        return ((1 << self.bits) - 1) << self.low


@dataclass(frozen=True, kw_only=True)
class Register:
    """A word of the map; bits without a field read as 0 and ignore what is written.

    Parameters
    ----------
    name : str
        In capitals.
    address : int
        In bytes, a multiple of 4.
    fields : tuple of Field
        From the lowest bit on.
    text : str
        One sentence.
    held_by : str
        Register whose read takes a copy of this one, which this one's reads then give; empty if
        it is read directly.

    Raises
    ------
    ValueError
        If the address is not a word's, or fields overlap.
    """

    name: str
    address: int
    fields: tuple[Field, ...]
    text: str
    held_by: str = ""

    def __post_init__(self) -> None:
        """Check address and fields."""
        if self.address % 4 or not 0 <= self.address < 1 << ADDRESS_BITS:
            raise ValueError(
                f"address of {self.name} must be a multiple of 4 below {1 << ADDRESS_BITS}, "
                f"not {self.address}"
            )
        used = 0
        for field in self.fields:
            if field.mask & used or field.mask >> DATA_BITS:
                raise ValueError(f"bits of {self.name}.{field.name} must be free and below 32")
            used |= field.mask

    @property
    def writable(self) -> bool:
        """Whether a write has a meaning; else it is answered with SLVERR."""
        return any(field.access is not Access.RO for field in self.fields)

    def pack(self, **values: int) -> int:
        """Word of the named fields, the others 0.

        Raises
        ------
        ValueError
            If a field is unknown or a value does not fit it.
        """
        by_name = {field.name: field for field in self.fields}
        word = 0
        for name, value in values.items():
            if name not in by_name:
                raise ValueError(f"field of {self.name} must be one of {[*by_name]}, not {name!r}")
            field = by_name[name]
            if not 0 <= value < 1 << field.bits:
                raise ValueError(
                    f"{self.name}.{name} must be from 0 to {(1 << field.bits) - 1}, not {value}"
                )
            word |= value << field.low
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """Values of the fields in a word."""
        return {field.name: (word & field.mask) >> field.low for field in self.fields}


def markdown(registers: Sequence[Register]) -> Iterator[str]:
    """Lines of Markdown: a table of the registers, then each with its fields."""
    yield "| address | register | |"
    yield "|---|---|---|"
    for register in registers:
        link = f"[{register.name}](#{register.name.lower()})"
        yield f"| 0x{register.address:02x} | {link} | {register.text} |"
    for register in registers:
        yield ""
        yield f"## {register.name}"
        yield f"0x{register.address:02x}. {register.text}"
        yield ""
        yield "| bits | field | access | reset | |"
        yield "|---|---|---|---|---|"
        for field in register.fields:
            bits = f"{field.low + field.bits - 1}:{field.low}" if field.bits > 1 else field.low
            # what is read only has no reset of its own
            reset = "" if field.access is Access.RO else field.reset
            yield f"| {bits} | {field.name} | {field.access.value} | {reset} | {field.text} |"
