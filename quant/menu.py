"""What each layer may cost: its precisions, and what it takes of every resource at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hw.precision import WeightMode
from quant.errors import QuantError
from quant.objective import Objective, best_known
from quant.resources import ADDITIVE, Resource
from synth.table import CostTable, LayerCost

if TYPE_CHECKING:
    from quant.cost import Prices
    from quant.graph import Layer

Bits = Mapping[str, WeightMode]
ACT_BITS = 8
"""Of activations, where the hardware does not tell."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Precisions that the user allows.

    Parameters
    ----------
    modes : tuple of WeightMode
        Of layers that are free, fewest bits first; all of the hardware's if empty.
    first_last : WeightMode, optional
        That of the first and the last layer; free if not given.
    """

    modes: tuple[WeightMode, ...] = ()
    first_last: WeightMode | None = None

    def on(self, table: CostTable) -> Policy:
        """Return the policy with the modes of a table filled in.

        Raises
        ------
        QuantError
            If it asks for a precision that the table's hardware has not.
        """
        pinned = () if self.first_last is None else (self.first_last,)
        for mode in (*self.modes, *pinned):
            if mode not in table.modes:
                known = ", ".join(str(m.bits) for m in table.modes)
                raise QuantError(
                    f"modes must be some of {known} (those of {table.name}), not {mode.bits}"
                )
        return Policy(modes=self.modes or table.modes, first_last=self.first_last)

    @property
    def used(self) -> tuple[WeightMode, ...]:
        """Precisions that any layer may have."""
        pinned = () if self.first_last is None else (self.first_last,)
        return tuple(mode for mode in WeightMode if mode in (*self.modes, *pinned))

    def choices(self, layers: Sequence[Layer]) -> dict[str, tuple[WeightMode, ...]]:
        """Precisions that each layer may have, fewest bits first."""
        ends = {layers[0].name, layers[-1].name}
        pinned = None if self.first_last is None else (self.first_last,)
        return {
            layer.name: pinned if pinned and layer.name in ends else self.modes for layer in layers
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Menu:
    """Choices of a network's layers on one piece of hardware.

    Parameters
    ----------
    choices : mapping of str to tuple of WeightMode
        Precisions that each layer may have, fewest bits first.
    use : mapping of str to mapping
        What each layer takes of each resource that the hardware's table can price, at every
        precision of the hardware and at 8 bit as far as that is known without it.
    price : mapping
        What the objective makes of each layer at every precision of the hardware.
    objective : Objective
        The cost that is made small.
    """

    choices: Mapping[str, tuple[WeightMode, ...]]
    use: Mapping[str, Mapping[WeightMode, Mapping[Resource, float]]]
    price: Mapping[str, Mapping[WeightMode, float]]
    objective: Objective

    @property
    def names(self) -> tuple[str, ...]:
        """Layers in order."""
        return tuple(self.choices)

    @property
    def fixed(self) -> frozenset[str]:
        """Layers that have one choice."""
        return frozenset(name for name, modes in self.choices.items() if len(modes) == 1)

    def uniform(self, mode: WeightMode) -> dict[str, WeightMode]:
        """Return the same precision for every free layer, the only one for the others."""
        return {n: mode if mode in modes else modes[0] for n, modes in self.choices.items()}

    def total(self, bits: Bits) -> dict[Resource, float]:
        """Sum the uses of an allocation; resources that not all layers can price are left out."""
        uses = [self.use[name][mode] for name, mode in bits.items()]
        return {r: sum(use[r] for use in uses) for r in ADDITIVE if all(r in use for use in uses)}

    def total_price(self, bits: Bits) -> float:
        """Return what the objective makes of an allocation."""
        return sum(self.price[name][mode] for name, mode in bits.items())

    def leanest(self, resource: Resource) -> dict[str, WeightMode]:
        """Return the allocation that takes the least of a resource; of equals, the fewest bits."""
        return {
            name: min(modes, key=lambda m: (self.use[name][m][resource], m.bits))
            for name, modes in self.choices.items()
        }

    def smallest(self, resource: Resource) -> float:
        """Return the least that any allocation takes of a resource, in its unit."""
        return self.total(self.leanest(resource))[resource]


def menu_of(layers: Sequence[Layer], prices: Prices, policy: Policy) -> Menu:
    """Price every choice of every layer.

    Parameters
    ----------
    layers : sequence of Layer
        Of the network.
    prices : Prices
        The hardware, with the network's operands.
    policy : Policy
        Precisions that the user allows.
    """
    modes = prices.table.modes
    costs = {m: prices.layer_costs({layer.name: m for layer in layers}) for m in modes}
    act_bits = prices.table.array.activation_bits or ACT_BITS
    choices = policy.choices(layers)
    objective = best_known(costs[m][name] for name, allowed in choices.items() for m in allowed)
    return Menu(
        choices=choices,
        use={
            layer.name: {
                mode: _uses(
                    layer, mode, act_bits, costs[mode][layer.name] if mode in costs else None
                )
                for mode in {*modes, WeightMode.W8}
            }
            for layer in layers
        },
        price={
            layer.name: {m: _price(objective, costs[m][layer.name]) for m in modes}
            for layer in layers
        },
        objective=objective,
    )


def _price(objective: Objective, cost: LayerCost) -> float:
    """Price of a layer; infinite at a precision that is not allowed and has none."""
    value = getattr(cost, objective.value)
    return float("inf") if value is None else float(value)


def _uses(
    layer: Layer, mode: WeightMode, act_bits: int, cost: LayerCost | None
) -> dict[Resource, float]:
    known = {
        Resource.SIZE: float(layer.shape.weights * mode.bits),
        Resource.BOPS: float(mode.bits * act_bits * layer.shape.macs),
        Resource.ENERGY: None if cost is None else cost.energy_pj,
        Resource.LATENCY: None if cost is None else cost.latency_ns,
    }
    return {resource: value for resource, value in known.items() if value is not None}
