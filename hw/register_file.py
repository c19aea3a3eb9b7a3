"""Gateware of a register map: storage, side effects and read data, from its definition."""

from collections.abc import Mapping, Sequence

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.axi_lite import ACCESS
from hw.component import Component
from hw.register import DATA_BITS, Access, Field, Register


def port_name(register: Register, field: Field) -> str:
    """Name of a field in the register file's inputs and outputs."""
    return f"{register.name}_{field.name}".lower()


class RegisterFile(Component):
    """Registers behind an `AxiLiteSlave`.

    A field that is written changes in the next cycle, when a `pulse` field is 1 for that cycle.

    Parameters
    ----------
    registers : sequence of Register
        The map.
    constants : mapping of (register, field) to int
        Values of the read-only fields that never change; the others are inputs.

    Members
    -------
    ACCESS
        The other way round than of the slave.
    inputs : In(StructLayout)
        Values of the other read-only fields; a 1 sets a `w1c` field.
    outputs : Out(StructLayout)
        Values of the `rw`, `w1c` and `pulse` fields.
    """

    def __init__(
        self, registers: Sequence[Register], constants: Mapping[tuple[str, str], int]
    ) -> None:
        self.registers = registers
        self.constants = constants
        inputs: dict[str, int] = {}
        outputs: dict[str, int] = {}
        for register in registers:
            for field in register.fields:
                name = port_name(register, field)
                from_hardware = field.access in (Access.RO, Access.W1C)
                if from_hardware and (register.name, field.name) not in constants:
                    inputs[name] = field.bits
                if field.access is not Access.RO:
                    outputs[name] = field.bits
        super().__init__(
            {name: member.flip() for name, member in ACCESS.items()}
            | {"inputs": In(data.StructLayout(inputs)), "outputs": Out(data.StructLayout(outputs))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [self.read_error.eq(1), self.write_error.eq(1)]
        mask = Signal(DATA_BITS)
        m.d.comb += mask.eq(Cat(strobe.replicate(8) for strobe in self.write_strobe))
        words = {register.name: self._word(m, register, mask) for register in self.registers}
        with m.Switch(self.read_word):
            for register in self.registers:
                with m.Case(register.address // 4):
                    m.d.comb += [
                        self.read_error.eq(0),
                        self.read_data.eq(words[register.name]),
                    ]
        with m.Switch(self.write_word):
            for register in self.registers:
                if register.writable:
                    with m.Case(register.address // 4):
                        m.d.comb += self.write_error.eq(0)
        return m

    def _word(self, m: Module, register: Register, mask: Value) -> Value:
        """Build a register and return what its read gives."""
        word = Signal(DATA_BITS, name=f"{register.name.lower()}_word")
        written = Signal(name=f"{register.name.lower()}_written")
        m.d.comb += written.eq(self.write & (self.write_word == register.address // 4))
        for field in register.fields:
            bits = slice(field.low, field.low + field.bits)
            ones = self.write_data[bits] & mask[bits]
            value = self._field(m, register, field, ones, mask[bits], written)
            m.d.comb += word[bits].eq(value)
        if not register.held_by:
            return word
        held = Signal(DATA_BITS, name=f"{register.name.lower()}_held", reset_less=True)
        [holder] = [other for other in self.registers if other.name == register.held_by]
        with m.If(self.read & (self.read_word == holder.address // 4)):
            m.d.sync += held.eq(word)
        return held

    def _field(
        self,
        m: Module,
        register: Register,
        field: Field,
        ones: Value,
        mask: Value,
        written: Value,
    ) -> Value | int:
        """Build a field and return what its read gives."""
        name = port_name(register, field)
        if field.access is Access.RO:
            if (register.name, field.name) in self.constants:
                return self.constants[register.name, field.name]
            return Value.cast(self.inputs[name])
        output = Value.cast(self.outputs[name])
        stored = Signal(field.bits, name=f"{name}_stored", init=field.reset)
        m.d.comb += output.eq(stored)
        if field.access is Access.PULSE:
            m.d.sync += stored.eq(ones & written.replicate(field.bits))
            return 0
        if field.access is Access.W1C:
            cleared = ones & written.replicate(field.bits)
            m.d.sync += stored.eq(stored & ~cleared | Value.cast(self.inputs[name]))
        else:
            with m.If(written):
                m.d.sync += stored.eq(stored & ~mask | ones)
        return stored
