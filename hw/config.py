"""Parameters of a MAC array, checked once, where they are declared."""

from dataclasses import dataclass

from hw.csd import MAX_SHIFT, most_shift_add_cycles
from hw.kinds import Multiplier, PEKind, Stage
from hw.planes import slots
from hw.precision import WeightMode

__all__ = ["MAX_CHUNKS", "ArrayConfig", "Multiplier", "PEKind", "Stage"]

MAX_CHUNKS = 1 << 16
"""Most chunks of a tile; the control counts them."""


class _AccBits:
    """The field `acc_bits`: given, or derived where None is given; always an int when read."""

    def __get__(self, config: "ArrayConfig | None", owner: type | None = None) -> int:
        """Return the bits of a configuration's accumulator, or the default."""
        if config is None:
            return 32
        bits: int | None = config.__dict__["acc_bits"]
        return config.required_acc_bits if bits is None else bits

    def __set__(self, config: "ArrayConfig", bits: int | None) -> None:
        """Keep what was given."""
        config.__dict__["acc_bits"] = bits


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
        Products per PE and cycle (digit products on PEs that work by digits), 1 to 64; 1 for
        a MAC, a multiple of 4 for digit planes.
    pe : PEKind
        Microarchitecture of every PE.
    act_bits : int
        Bits of an activation, 4 to 8.
    act_signed : bool
        Whether activations are two's complement; unsigned by default (ADR 0002).
    acc_bits : int or None
        Bits of an accumulator; the fewest that hold `max_depth` products if None is given.
    max_depth : int
        Longest dot product the accumulator must hold without overflow.
    group : int
        Lanes summed before the register `Stage.GROUP`.
    double_buffered : bool
        Whether results leave through a second register, while the next tile is computed. If
        not, the array stands still while they leave.
    drain_rows : int
        Rows of results that leave in a cycle; a divisor of `rows`.
    registers : tuple of Stage, optional
        Pipeline registers of a PE between its operands and its accumulator, in their order; the
        kind's own choice if None.
    max_shift : int
        Widest shift of a serial shift-add MAC in one cycle, 1 to 7; other kinds do not use it.
    multiplier : Multiplier
        How INT8 PEs multiply; other kinds do not use it.

    Raises
    ------
    ValueError
        If a parameter is out of range or the accumulator cannot hold `max_depth` products.
    """

    rows: int = 8
    cols: int = 8
    lanes: int = 32
    pe: PEKind = PEKind.BIT_PAIR
    act_bits: int = 8
    act_signed: bool = False
    acc_bits: _AccBits = _AccBits()
    max_depth: int = 16384
    group: int = 16
    double_buffered: bool = True
    drain_rows: int = 2
    registers: tuple[Stage, ...] | None = None
    max_shift: int = 3
    multiplier: Multiplier = Multiplier.ROWS

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
            ("max_shift", 1, MAX_SHIFT),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {value}")
        self._check_kind()
        if self.drain_rows < 1 or self.rows % self.drain_rows:
            raise ValueError(f"drain_rows must divide rows = {self.rows}, not {self.drain_rows}")
        shortest = min(self.chunk_depth(mode) for mode in WeightMode)
        if -(-self.max_depth // shortest) > MAX_CHUNKS:
            raise ValueError(
                f"max_depth must be at most {MAX_CHUNKS} chunks of {shortest}, not {self.max_depth}"
            )
        if self.acc_bits < self.required_acc_bits:
            raise ValueError(
                f"acc_bits must be at least {self.required_acc_bits} for max_depth = "
                f"{self.max_depth}, not {self.acc_bits}"
            )

    def _check_kind(self) -> None:
        """Check what depends on the kind of PE."""
        traits, kind = self.pe.traits, self.pe.value
        if traits.one_lane and self.lanes != 1:
            raise ValueError(f"lanes must be 1 for {kind}, not {self.lanes}")
        if self.lanes % traits.planes:
            raise ValueError(
                f"lanes must be a multiple of {traits.planes} for {kind}, not {self.lanes}"
            )
        if self.act_signed and not traits.signed_acts:
            raise ValueError(f"act_signed must be False for {kind}, not True")
        if self.multiplier is Multiplier.FUSED and Stage.PRODUCT in self.stages:
            raise ValueError("registers must have no product where multiplier is fused")
        if self.stages != tuple(stage for stage in traits.stages if stage in self.stages):
            known = ", ".join(stage.value for stage in traits.stages)
            given = ", ".join(stage.value for stage in self.stages)
            raise ValueError(
                f"registers must be some of {known}, in this order, for {kind}, not {given}"
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
        """Short name, for example ``bit_pair-8x8x16``."""
        return f"{self.pe.value}-{self.rows}x{self.cols}x{self.lanes}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Pipeline registers of a PE between its operands and its accumulator."""
        return self.pe.traits.default_stages if self.registers is None else self.registers

    @property
    def registers_before_shift(self) -> int:
        """Pipeline registers of a PE before its sums are shifted."""
        return len(self.stages) - (Stage.SUM in self.stages)

    def chunk_depth(self, mode: WeightMode) -> int:
        """Products of a dot product in one chunk: one item of the activation stream."""
        if self.pe.traits.planes == 1:
            return self.lanes
        return self.lanes // self.pe.traits.planes * slots(mode)

    def weight_items(self, mode: WeightMode) -> int:
        """Words of the weight memory that a chunk takes: items of the weight stream."""
        return mode.bits // self.weight_field_bits if self.pe.traits.serial else 1

    @property
    def weight_field_bits(self) -> int:
        """Bits of a weight in one word of the weight memory."""
        return self.pe.traits.field_bits

    def steps(self, mode: WeightMode) -> int:
        """Cycles that a PE spends on one chunk at a weight precision.

        The most where they depend on the weights; `hw.schedule.steps_of_weights` has those of given
        weights.
        """
        if self.pe.traits.skips_zeros:
            return most_shift_add_cycles(mode, self.max_shift)
        return self.weight_items(mode)

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
        return self._int8(PEKind.INT8_MAC, lanes=1, pes=self._products_at_8_bit)

    def int8_dot_equivalent(self) -> "ArrayConfig":
        """INT8 dot product array of the same products per cycle at 8-bit weights.

        The strong baseline. As `int8_equivalent`, but with 16 lanes a PE (as many as divide the
        products, if not 16), sums of two products in registers, and with output registers, which
        are small beside 16 multipliers.

        Raises
        ------
        ValueError
            If the products per cycle are no whole number.
        """
        products = self._products_at_8_bit
        lanes = max(lanes for lanes in range(1, 17) if products % lanes == 0)
        return self._int8(PEKind.INT8_DOT, lanes=lanes, pes=products // lanes)

    @property
    def _products_at_8_bit(self) -> int:
        mode = WeightMode.W8
        products, rest = divmod(self.rows * self.cols * self.chunk_depth(mode), self.steps(mode))
        if rest:
            raise ValueError(f"{self.name} has no INT8 array of equal throughput")
        return products

    def _int8(self, pe: PEKind, *, lanes: int, pes: int) -> "ArrayConfig":
        cols = max(c for c in range(1, 257) if pes % c == 0 and c * c <= pes)
        rows = pes // cols
        return ArrayConfig(
            rows=rows,
            cols=cols,
            lanes=lanes,
            pe=pe,
            act_bits=self.act_bits,
            act_signed=self.act_signed,
            acc_bits=self.acc_bits,
            max_depth=self.max_depth,
            group=2,  # as docs/compare.json has it
            double_buffered=lanes > 1,
            drain_rows=max(1, rows // self.drain_cycles) if rows % self.drain_cycles == 0 else 1,
        )
