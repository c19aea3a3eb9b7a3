"""Parameters of a MAC array, checked once, where they are declared."""

from dataclasses import dataclass
from enum import Enum

from hw.precision import WeightMode

MAX_CHUNKS = 1 << 16
"""Most chunks of a tile; the control counts them."""


class PEKind(Enum):
    """Microarchitecture of a processing element (PE)."""

    BOOTH_DIGIT = "booth_digit"
    """`lanes` activations times one radix-4 Booth digit of `lanes` weights a cycle."""

    INT8_MAC = "int8_mac"
    """One 8 x 8 bit multiplier with a private accumulator: the baseline."""


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """A rows x cols array of PEs, output stationary.

    Parameters
    ----------
    rows : int
        PE rows; one output pixel each.
    cols : int
        PE columns; one output channel each.
    lanes : int
        Products per PE and cycle (digit products on a digit-serial PE), 1 to 64.
    pe : PEKind
        Microarchitecture of every PE.
    act_bits : int
        Bits of an activation, 4 to 8.
    act_signed : bool
        Whether activations are two's complement; unsigned by default (ADR 0002).
    acc_bits : int
        Bits of an accumulator.
    max_depth : int
        Longest dot product the accumulator must hold without overflow.
    group : int
        Lanes summed before the first pipeline register.
    double_buffered : bool
        Whether results leave through a second register, while the next tile is computed. If
        not, the array stands still while they leave.
    drain_rows : int
        Rows of results that leave in a cycle; a divisor of `rows`.

    Raises
    ------
    ValueError
        If a parameter is out of range or the accumulator cannot hold `max_depth` products.
    """

    rows: int = 8
    cols: int = 8
    lanes: int = 32
    pe: PEKind = PEKind.BOOTH_DIGIT
    act_bits: int = 8
    act_signed: bool = False
    acc_bits: int = 32
    max_depth: int = 16384
    group: int = 8
    double_buffered: bool = True
    drain_rows: int = 2

    def __post_init__(self) -> None:
        """Check ranges and the width of the accumulator."""
        for name, low, high in (
            ("rows", 1, 256),
            ("cols", 1, 256),
            ("lanes", 1, 64),
            ("act_bits", 4, 8),
            ("acc_bits", 8, 64),
            ("max_depth", 1, 1 << 24),
            ("group", 1, 64),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {value}")
        if self.pe is PEKind.INT8_MAC and self.lanes != 1:
            raise ValueError(f"lanes must be 1 for {self.pe.value}, not {self.lanes}")
        if self.drain_rows < 1 or self.rows % self.drain_rows:
            raise ValueError(f"drain_rows must divide rows = {self.rows}, not {self.drain_rows}")
        if -(-self.max_depth // self.lanes) > MAX_CHUNKS:
            raise ValueError(
                f"max_depth must be at most {MAX_CHUNKS} chunks of {self.lanes}, "
                f"not {self.max_depth}"
            )
        if self.acc_bits < self.required_acc_bits:
            raise ValueError(
                f"acc_bits must be at least {self.required_acc_bits} for max_depth = "
                f"{self.max_depth}, not {self.acc_bits}"
            )

    @property
    def act_min(self) -> int:
        """Smallest activation."""
        return -(1 << (self.act_bits - 1)) if self.act_signed else 0

    @property
    def act_max(self) -> int:
        """Largest activation."""
        return (1 << (self.act_bits - self.act_signed)) - 1

    @property
    def required_acc_bits(self) -> int:
        """Fewest accumulator bits that hold every sum of `max_depth` products at 8-bit weights."""
        weight = WeightMode.W8
        corners = [a * w for a in (self.act_min, self.act_max) for w in (weight.min, weight.max)]
        low, high = self.max_depth * min(corners), self.max_depth * max(corners)
        return 1 + max(high.bit_length(), (~low).bit_length())

    @property
    def groups(self) -> int:
        """Lane groups of a PE."""
        return -(-self.lanes // self.group)

    @property
    def drain_cycles(self) -> int:
        """Cycles in which the results of a tile leave."""
        return self.rows // self.drain_rows

    @property
    def name(self) -> str:
        """Short name, for example ``booth_digit-8x8x16``."""
        return f"{self.pe.value}-{self.rows}x{self.cols}x{self.lanes}"

    def chunk_depth(self, mode: WeightMode) -> int:
        """Products of a dot product in one chunk: one item of the activation stream."""
        return self.lanes

    def weight_items(self, mode: WeightMode) -> int:
        """Words of the weight memory that a chunk takes: items of the weight stream."""
        return self.steps(mode)

    @property
    def weight_field_bits(self) -> int:
        """Bits of a weight in one word of the weight memory."""
        return 2 if self.pe is PEKind.BOOTH_DIGIT else WeightMode.W8.bits

    def steps(self, mode: WeightMode) -> int:
        """Cycles that a PE spends on one chunk of `lanes` products at a weight precision."""
        return mode.digits if self.pe is PEKind.BOOTH_DIGIT else 1

    def int8_equivalent(self) -> "ArrayConfig":
        """INT8 MAC array of the same products per cycle at 8-bit weights: the baseline.

        The products are arranged as near to a square as they can be, rather higher than wide,
        because pixels are plenty and channels few in small networks; results leave through the
        accumulators themselves, which is the smaller choice for one-lane PEs, and in as many
        cycles as here.

        Raises
        ------
        ValueError
            If the products per cycle are no whole number of MACs.
        """
        products, rest = divmod(self.rows * self.cols * self.lanes, self.steps(WeightMode.W8))
        if rest:
            raise ValueError(f"{self.name} has no INT8 array of equal throughput")
        cols = max(c for c in range(1, 257) if products % c == 0 and c * c <= products)
        rows = products // cols
        return ArrayConfig(
            rows=rows,
            cols=cols,
            lanes=1,
            pe=PEKind.INT8_MAC,
            act_bits=self.act_bits,
            act_signed=self.act_signed,
            acc_bits=self.acc_bits,
            max_depth=self.max_depth,
            double_buffered=False,
            drain_rows=max(1, rows // self.drain_cycles) if rows % self.drain_cycles == 0 else 1,
        )
