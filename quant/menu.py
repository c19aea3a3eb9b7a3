"""What each layer may cost: its bits, and what it takes of every resource at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hw.precision import WeightMode
from quant.allocation import ACT_BITS, Acts, Allocation, Bits
from quant.errors import QuantError
from quant.objective import Objective, best_known
from quant.resources import ADDITIVE, Resource
from synth.table import CostTable, LayerCost

if TYPE_CHECKING:
    from quant.cost import Prices
    from quant.graph import Layer


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Precisions that the user allows.

    Parameters
    ----------
    modes : tuple of WeightMode
        Of layers that are free, fewest bits first; all of the hardware's if empty.
    first_last : WeightMode, optional
        That of the first and the last layer; free if not given.
    act_bits : tuple of int
        Bits of activations other than the image, fewest first; the most that the hardware takes
        if empty.
    """

    modes: tuple[WeightMode, ...] = ()
    first_last: WeightMode | None = None
    act_bits: tuple[int, ...] = ()

    def on(self, table: CostTable) -> Policy:
        """Return the policy with the modes and the activation bits of a table filled in.

        Bits of activations beyond those of the table's hardware are left out.

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
        most = most_act_bits(table)
        act_bits = tuple(bits for bits in self.act_bits or (most,) if bits <= most)
        if not act_bits:
            raise QuantError(
                f"act_bits must be at most {most} (those of {table.name}), not {self.act_bits[0]}"
            )
        return Policy(
            modes=self.modes or table.modes, first_last=self.first_last, act_bits=act_bits
        )

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


def most_act_bits(table: CostTable) -> int:
    """Return the most bits of an activation on a table's hardware; 8 where it does not tell."""
    return min(ACT_BITS, table.array.activation_bits or ACT_BITS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Charges:
    """What layers take where all activations have some number of bits.

    Parameters
    ----------
    use : mapping of str to mapping
        As in `Menu`.
    price : mapping
        As in `Menu`.
    """

    use: Mapping[str, Mapping[WeightMode, Mapping[Resource, float]]]
    price: Mapping[str, Mapping[WeightMode, float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Menu:
    """Choices of a network's layers and activations on one piece of hardware.

    Parameters
    ----------
    choices : mapping of str to tuple of WeightMode
        Precisions that each layer may have, fewest bits first.
    use : mapping of str to mapping
        What each layer takes of each resource that the hardware's table can price, at every
        precision of the hardware and at 8 bit as far as that is known without it; activations at
        the most bits that the hardware takes.
    price : mapping
        What the objective makes of each layer at every precision of the hardware.
    objective : Objective
        The cost that is made small.
    reads : mapping of str to str
        Tensor that each layer reads.
    act_choices : mapping of str to tuple of int
        Bits that an activation may have, by tensor, fewest first; of those that have a choice.
    acts : mapping of str to int
        Bits of the activations that have no choice, as far as they are fewer than 8.
    fewer : mapping of int to Charges
        What layers take where the activations that they read have fewer bits.
    """

    choices: Mapping[str, tuple[WeightMode, ...]]
    use: Mapping[str, Mapping[WeightMode, Mapping[Resource, float]]]
    price: Mapping[str, Mapping[WeightMode, float]]
    objective: Objective
    reads: Mapping[str, str] = field(default_factory=dict)
    act_choices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    acts: Acts = field(default_factory=dict)
    fewer: Mapping[int, Charges] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Layers in order."""
        return tuple(self.choices)

    @property
    def fixed(self) -> frozenset[str]:
        """Layers that have one choice."""
        return frozenset(name for name, modes in self.choices.items() if len(modes) == 1)

    @property
    def most_acts(self) -> dict[str, int]:
        """The most bits that every activation may have."""
        return self.with_acts({tensor: bits[-1] for tensor, bits in self.act_choices.items()})

    def with_acts(self, acts: Acts) -> dict[str, int]:
        """Return bits of some activations together with those that have no choice."""
        return {t: bits for t, bits in {**self.acts, **acts}.items() if bits < ACT_BITS}

    def uniform(self, mode: WeightMode) -> dict[str, WeightMode]:
        """Return the same precision for every free layer, the only one for the others."""
        return {n: mode if mode in modes else modes[0] for n, modes in self.choices.items()}

    def use_of(self, name: str, mode: WeightMode, acts: Acts) -> Mapping[Resource, float]:
        """Return what a layer takes of each resource."""
        charges = self.fewer.get(self._act_bits(name, acts))
        return (self.use if charges is None else charges.use)[name][mode]

    def price_of(self, name: str, mode: WeightMode, acts: Acts) -> float:
        """Return what the objective makes of a layer."""
        charges = self.fewer.get(self._act_bits(name, acts))
        return (self.price if charges is None else charges.price)[name][mode]

    def _act_bits(self, name: str, acts: Acts) -> int:
        return acts.get(self.reads.get(name, ""), ACT_BITS)

    def total(self, bits: Bits, acts: Acts | None = None) -> dict[Resource, float]:
        """Sum the uses of an allocation; resources that not all layers can price are left out.

        Parameters
        ----------
        bits : mapping of str to WeightMode
        acts : mapping of str to int, optional
            The most bits that every activation may have, if not given.
        """
        known = self.most_acts if acts is None else acts
        uses = [self.use_of(name, mode, known) for name, mode in bits.items()]
        return {r: sum(use[r] for use in uses) for r in ADDITIVE if all(r in use for use in uses)}

    def total_price(self, bits: Bits, acts: Acts | None = None) -> float:
        """Return what the objective makes of an allocation; parameters as in `total`."""
        known = self.most_acts if acts is None else acts
        return sum(self.price_of(name, mode, known) for name, mode in bits.items())

    def leanest(self, resource: Resource) -> Allocation:
        """Return the allocation that takes the least of a resource; of equals, the fewest bits."""
        acts = dict(self.acts)
        for tensor, options in self.act_choices.items():
            readers = [name for name in self.names if self.reads[name] == tensor]
            least = {
                bits: sum(
                    min(self.use_of(name, mode, {tensor: bits})[resource] for mode in modes)
                    for name, modes in ((name, self.choices[name]) for name in readers)
                )
                for bits in options
            }
            acts[tensor] = min(options, key=lambda bits, least=least: (least[bits], bits))  # type: ignore[misc]
        acts = self.with_acts(acts)
        bits = {
            name: min(modes, key=lambda m: (self.use_of(name, m, acts)[resource], m.bits))
            for name, modes in self.choices.items()
        }
        return Allocation(bits=bits, acts=acts)

    def smallest(self, resource: Resource) -> float:
        """Return the least that any allocation takes of a resource, in its unit."""
        leanest = self.leanest(resource)
        return self.total(leanest.bits, leanest.acts)[resource]


def menu_of(
    layers: Sequence[Layer],
    prices: Prices,
    policy: Policy,
    *,
    tensors: Sequence[str] = (),
    images: frozenset[str] = frozenset(),
) -> Menu:
    """Price every choice of every layer.

    Parameters
    ----------
    layers : sequence of Layer
        Of the network.
    prices : Prices
        The hardware, with the network's operands.
    policy : Policy
        Precisions that the user allows, those of the hardware filled in (`Policy.on`).
    tensors : sequence of str
        All activations, those included that no layer reads.
    images : frozenset of str
        Those that are the network's input; they have as many bits as the hardware takes.
    """
    choices = policy.choices(layers)
    most = most_act_bits(prices.table)
    costs = _costs(layers, prices, most)
    objective = best_known(costs[m][name] for name, allowed in choices.items() for m in allowed)
    full = _charges(layers, costs, most, objective)
    reads = {layer.name: layer.source for layer in layers}
    read = [tensor for tensor in dict.fromkeys(reads.values()) if tensor not in images]
    free = len(policy.act_bits) > 1
    one = policy.act_bits[0] if policy.act_bits and not free else most
    acts = dict.fromkeys(tensors, most) | dict.fromkeys(read, one)
    return Menu(
        choices=choices,
        use=full.use,
        price=full.price,
        objective=objective,
        reads=reads,
        act_choices=dict.fromkeys(read, policy.act_bits) if free else {},
        acts={tensor: bits for tensor, bits in acts.items() if bits < ACT_BITS},
        fewer={
            bits: _charges(layers, _costs(layers, prices, bits), bits, objective)
            for bits in policy.act_bits
            if bits < most
        },
    )


Costs = Mapping[WeightMode, Mapping[str, LayerCost]]


def _costs(layers: Sequence[Layer], prices: Prices, act_bits: int) -> Costs:
    """Cost of every layer at every precision of the hardware, all activations at some bits."""
    acts = {layer.source: act_bits for layer in layers}
    return {
        mode: prices.layer_costs({layer.name: mode for layer in layers}, acts=acts)
        for mode in prices.table.modes
    }


def _charges(layers: Sequence[Layer], costs: Costs, act_bits: int, objective: Objective) -> Charges:
    return Charges(
        use={
            layer.name: {
                mode: _uses(
                    layer,
                    mode,
                    act_bits,
                    costs[mode][layer.name] if mode in costs else None,
                )
                for mode in {*costs, WeightMode.W8}
            }
            for layer in layers
        },
        price={
            layer.name: {m: _price(objective, costs[m][layer.name]) for m in costs}
            for layer in layers
        },
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
