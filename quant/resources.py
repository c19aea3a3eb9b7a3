"""Resources that a budget can limit, and the one syntax of `--max-size`, `--max-energy` and so on.

A limit is a number and, optionally, a unit:

- ``0.4`` or ``40%``: relative to uniform 8 bit on the same hardware (an area: to the INT8 MAC array
  of the first cost table), above 0 and at most 1 (an area: any positive number);
- ``200kbit``, ``25kB``, ``2.5uJ``, ``15us``, ``300MBOPs``, ``0.2mm2``: absolute.

Units: bit, kbit, Mbit, B, kB, MB, KiB, MiB; pJ, nJ, uJ, mJ; ns, us, ms, s; BOPs, kBOPs, MBOPs,
GBOPs; um2, mm2. Prefixes are decimal (1 kB is 8,000 bits), KiB and MiB are not. Ours.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum

KIBI = 1024
_UNITS = {
    "size": {
        "bit": 1.0,
        "kbit": 1e3,
        "Mbit": 1e6,
        "B": 8.0,
        "kB": 8e3,
        "MB": 8e6,
        "KiB": 8.0 * KIBI,
        "MiB": 8.0 * KIBI * KIBI,
    },
    "energy": {"pJ": 1.0, "nJ": 1e3, "uJ": 1e6, "mJ": 1e9},
    "latency": {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9},
    "bops": {"BOPs": 1.0, "kBOPs": 1e3, "MBOPs": 1e6, "GBOPs": 1e9},
    "area": {"um2": 1.0, "mm2": 1e6},
}
_LIMIT = re.compile(r"\s*([-+0-9.eE]+|nan|inf|-inf)\s*(%|[A-Za-z][A-Za-z0-9]*)?\s*")


class Resource(Enum):
    """What a budget limits; the value is its name in options and results.

    Size: bits of the packed weights. Energy: that of the array for one inference, leakage
    included, memories not (`LayerCost.energy_pj`). Latency: of one inference, ns. BOPs: the sum of
    weight bits x activation bits x multiply-accumulates, of the integers (activations have at most
    8 bits, whatever the hardware takes). Area: of the array, um2; the one resource that does not
    depend on the bits.
    """

    SIZE = "size"
    ENERGY = "energy"
    LATENCY = "latency"
    BOPS = "bops"
    AREA = "area"

    @property
    def option(self) -> str:
        """Name in results and messages."""
        return f"max_{self.value}"

    @property
    def unit(self) -> str:
        """Unit of absolute values."""
        return next(iter(_UNITS[self.value]))


ADDITIVE = (Resource.SIZE, Resource.ENERGY, Resource.LATENCY, Resource.BOPS)
"""Those of which a network takes as much as its layers together."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit as the user gave it.

    Parameters
    ----------
    value : float
        A share of the reference, or in the resource's own unit.
    relative : bool
        Whether it is a share.
    """

    value: float
    relative: bool

    def absolute(self, reference: float) -> float:
        """Return the limit in the resource's unit; `reference` is what uniform 8 bit takes."""
        return self.value * reference if self.relative else self.value


def parse_limit(text: str, resource: Resource) -> Limit:
    """Read a limit.

    Parameters
    ----------
    text : str
        See the module's docstring.
    resource : Resource
        What it limits.

    Raises
    ------
    ValueError
        If it is no number, has a unit of something else, or is out of range; one line.
    """
    units = _UNITS[resource.value]
    rule = f"{resource.option} must be a share of 8 bit such as 0.4 or 40%, or have a unit of "
    match = _LIMIT.fullmatch(text)
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        match = None
    if match is None or (match[2] not in (None, "%") and match[2] not in units):
        raise ValueError(f"{rule}{', '.join(units)}, not {text}")
    if match[2] in units:
        if not 0 < value < math.inf:
            raise ValueError(f"{resource.option} must be above 0 {match[2]}, not {text}")
        return Limit(value=value * units[match[2]], relative=False)
    share = value / 100 if match[2] == "%" else value
    if resource is Resource.AREA and not 0 < share < math.inf:
        raise ValueError(f"max_area must be above 0 of the INT8 MAC array's area, not {text}")
    if resource is not Resource.AREA and not 0 < share <= 1:
        raise ValueError(
            f"{resource.option} must be above 0 and at most 1 (uniform 8 bit), or have a unit of "
            f"{', '.join(units)}, not {text}"
        )
    return Limit(value=share, relative=True)


def shown(value: float, resource: Resource) -> str:
    """Return an absolute value with the largest unit that keeps it at least 1, for people."""
    decimal = {name: size for name, size in _UNITS[resource.value].items() if "B" not in name}
    if resource is Resource.BOPS:
        decimal = _UNITS["bops"]
    name, size = max(
        ((n, s) for n, s in decimal.items() if s <= max(value, 1.0)), key=lambda pair: pair[1]
    )
    return f"{value / size:.4g} {name}"
