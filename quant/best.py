"""The best allocation so far, on disk after every step, for whoever stops a search."""

from __future__ import annotations

from pathlib import Path

from quant.allocation import act_bits_of
from quant.budget import Budget
from quant.files import save_tensors, write_json
from quant.graph import Network
from quant.quant_network import QuantNetwork
from quant.visits import Visit, best_visit

JSON_NAME = "best.json"
TENSORS_NAME = "best.safetensors"


class BestSoFar:
    """Writes ``best.json`` and ``best.safetensors`` whenever a better visit comes.

    Parameters
    ----------
    folder : Path
        Where to.
    network : Network
        The float network.
    budget : Budget
        The targets, which say what is better (`quant.visits.best_visit`).
    """

    def __init__(self, folder: Path, network: Network, budget: Budget) -> None:
        self.folder = folder
        self.network = network
        self.budget = budget
        self.visit: Visit | None = None

    def offer(self, visit: Visit) -> None:
        """Keep a visit if it is the best."""
        kept = [visit] if self.visit is None else [self.visit, visit]
        if best_visit(kept, self.budget, margin=0.0) is self.visit:
            return
        self.visit = visit
        quantised = QuantNetwork(self.network, visit.bits)
        quantised.restore(visit.state)
        save_tensors(quantised.tensors(), self.folder / TENSORS_NAME, metadata={})
        write_json(
            self.folder / JSON_NAME,
            {
                "allocation": {name: mode.bits for name, mode in visit.bits.items()},
                "activations": act_bits_of(self.network.layers, visit.acts),
                "label": visit.label,
                "validation_drop": visit.drop,
                "use": {resource.value: value for resource, value in visit.use.items()},
                "targets_met_on_validation": self.budget.met(drop=visit.drop, use=visit.use),
            },
        )

    def delete(self) -> None:
        """Delete the files; the result takes their place."""
        for name in (JSON_NAME, TENSORS_NAME):
            (self.folder / name).unlink(missing_ok=True)
