"""Boolean expressions of Liberty files: parsed once, evaluated or written as Verilog."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*([A-Za-z_]\w*(?:\[\d+\])?|[01]|[!'^&*|+()])")


@dataclass(frozen=True)
class Expression:
    """An operator with its operands, a constant "0" / "1", or a pin.

    Parameters
    ----------
    operator : str
        One of ``! ^ & |``, or empty for a leaf.
    operands : tuple of Expression
        Empty for a leaf.
    leaf : str
        Pin name or constant.
    """

    operator: str
    operands: tuple[Expression, ...] = ()
    leaf: str = ""

    @property
    def pins(self) -> frozenset[str]:
        """Names of the pins."""
        if not self.operator:
            return frozenset() if self.leaf in "01" else frozenset({self.leaf})
        return frozenset().union(*(operand.pins for operand in self.operands))

    def value(self, pins: Mapping[str, bool]) -> bool:
        """Evaluate for given pin values."""
        if not self.operator:
            return self.leaf == "1" if self.leaf in "01" else pins[self.leaf]
        values = [operand.value(pins) for operand in self.operands]
        if self.operator == "!":
            return not values[0]
        if self.operator == "^":
            return values[0] != values[1]
        return all(values) if self.operator == "&" else any(values)

    def verilog(self, nets: Mapping[str, str]) -> str:
        """Write as a Verilog expression over net names."""
        if not self.operator:
            return f"1'b{self.leaf}" if self.leaf in "01" else nets[self.leaf]
        parts = [operand.verilog(nets) for operand in self.operands]
        if self.operator == "!":
            return f"(~{parts[0]})"
        return "(" + f" {self.operator} ".join(parts) + ")"


def parse(text: str) -> Expression:
    """Parse a Liberty expression.

    ``!`` and ``'`` negate, ``^`` is exclusive or, ``&``, ``*`` and juxtaposition are and, ``|`` and
    ``+`` are or, in this order of binding.

    Raises
    ------
    ValueError
        If the text is no such expression.
    """
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise ValueError(f"expression must be a Liberty function, not {text!r}")
        tokens.append(match[1])
        position = match.end()
    expression, rest = _either(tokens)
    if rest:
        raise ValueError(f"expression must be a Liberty function, not {text!r}")
    return expression


def _either(tokens: list[str]) -> tuple[Expression, list[str]]:
    left, tokens = _both(tokens)
    while tokens and tokens[0] in "|+":
        right, tokens = _both(tokens[1:])
        left = Expression("|", (left, right))
    return left, tokens


def _both(tokens: list[str]) -> tuple[Expression, list[str]]:
    left, tokens = _differ(tokens)
    while tokens and tokens[0] not in "|+)":
        right, tokens = _differ(tokens[1:] if tokens[0] in "&*" else tokens)
        left = Expression("&", (left, right))
    return left, tokens


def _differ(tokens: list[str]) -> tuple[Expression, list[str]]:
    left, tokens = _factor(tokens)
    while tokens and tokens[0] == "^":
        right, tokens = _factor(tokens[1:])
        left = Expression("^", (left, right))
    return left, tokens


def _factor(tokens: list[str]) -> tuple[Expression, list[str]]:
    if not tokens:
        raise ValueError("expression must not end here")
    head, tokens = tokens[0], tokens[1:]
    if head == "!":
        inner, tokens = _factor(tokens)
        return Expression("!", (inner,)), tokens
    if head == "(":
        inner, tokens = _either(tokens)
        if not tokens or tokens[0] != ")":
            raise ValueError("expression must close its parentheses")
        tokens = tokens[1:]
    elif head in ")'^&*|+":
        raise ValueError(f"expression must not have {head} here")
    else:
        inner = Expression("", leaf=head)
    while tokens and tokens[0] == "'":
        inner, tokens = Expression("!", (inner,)), tokens[1:]
    return inner, tokens
