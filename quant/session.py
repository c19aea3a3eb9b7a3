"""The state of a running search: what it knows, and the steps that it can take.

Every step that takes long goes through the journal (`quant.journal`), so a search that was killed
takes the same way again and reads what is done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hw.precision import WeightMode
from quant.allocation import ACT_BITS, Acts, Bits
from quant.best import BestSoFar
from quant.divergence import scores
from quant.hardware import Candidate
from quant.jobs import Jobs
from quant.journal import Entry, Journal
from quant.milp import ActSensitivity, Sensitivity, exact
from quant.progress import SearchProgress
from quant.qat import QatSettings
from quant.quant_network import QuantNetwork
from quant.request import Request
from quant.sensitivity import (
    Measure,
    act_sensitivities,
    sensitivities,
    shared_act_sensitivities,
    shared_sensitivities,
)
from quant.visits import OutOfStepsError, Visit
from quant.workbench import Workbench

FINAL = "final training"
PROBE_LR = 1e-3
"""Peak learning rate of the short trainings; they lose accuracy at that of the long ones."""


class Session:
    """A running search.

    Parameters
    ----------
    request : Request
        What was asked for.
    bench : Workbench
        The network and its images.
    hardware : Candidate
        The hardware that was picked.
    float_validation : float
        Top-1 accuracy of the float network on the validation images.
    journal : Journal
        Steps that are done.
    progress : SearchProgress
        Told of every step.
    jobs : Jobs, optional
        Where sensitivities are measured, if not here.
    """

    def __init__(
        self,
        request: Request,
        bench: Workbench,
        hardware: Candidate,
        *,
        float_validation: float,
        journal: Journal,
        progress: SearchProgress,
        jobs: Jobs | None = None,
    ) -> None:
        self.request = request
        self.bench = bench
        self.hardware = hardware
        self.menu = hardware.menu
        self.journal = journal
        self.progress = progress
        self.jobs = jobs
        self.steps_left = request.plan.total_steps
        self.visits: list[Visit] = []
        self.final_visits: list[Visit] = []
        self.probed = 0
        self.measured: Sensitivity | None = None
        layers = bench.network.layers
        weights = {layer.name: bench.network.weight(layer.name) for layer in layers}
        self.sigma = {name: float(weight.std()) for name, weight in weights.items()}
        self.scores = {name: scores(weight) for name, weight in weights.items()}
        self.float_validation = float_validation
        self.modes = request.policy.on(hardware.table).modes
        self.budget = request.wishes.budget(self.menu)
        self.best = BestSoFar(request.out, bench.network, self.budget)

    def settings(self, steps: int) -> QatSettings:
        """Return the training recipe for a number of steps."""
        done = self.request.plan.total_steps - self.steps_left  # other images each time
        seed = self.request.seed * self.request.plan.total_steps + done
        plan = self.request.plan
        return QatSettings(steps=steps, batch=plan.batch, seed=seed, scales=plan.scales)

    def evaluate(
        self, bits: Bits, label: str, start: Visit | None, acts: Acts | None = None
    ) -> Visit:
        """Recalibrate, train shortly and measure an allocation (see `quant.visits.Evaluate`).

        Where nothing is trained, the float network is calibrated anew each time. Bits of
        activations are those of `acts_for` if not given.
        """
        plan = self.request.plan
        floor = plan.total_steps * (1 - plan.search_share)
        if self.steps_left - plan.probe_steps < floor or (
            not plan.trains and self.probed >= plan.probes
        ):
            raise OutOfStepsError
        self.progress.stage(f"{label}, visit {len(self.visits)}")
        name, self.probed = f"visit-{self.probed:03d}", self.probed + 1
        chosen = self.acts_for(bits) if acts is None else acts
        asked = self._asked(bits, chosen, label, plan.probe_steps)
        entry = self.journal.step(name, asked, lambda: self._short_training(bits, chosen, start))
        self.steps_left -= plan.probe_steps
        return self.visit_of(bits, chosen, label, entry)

    def _short_training(self, bits: Bits, acts: Acts, start: Visit | None) -> Entry:
        plan, seed = self.request.plan, self.request.seed
        if plan.trains and start is not None and start.state is not None:
            changed = [name for name in bits if bits[name] is not start.bits[name]]
            quantised = self.bench.quantised(bits, scales=plan.scales)
            quantised.restore(start.state)
            quantised.set_bits(bits)
            self.bench.start(quantised, changed, seed=seed)
            quantised.set_acts(acts)
            self.bench.recalibrate(quantised, seed=seed)
        else:
            quantised = self.bench.calibrated(bits, seed=seed, scales=plan.scales, acts=acts)
        if plan.trains:
            settings = replace(self.settings(self.request.plan.probe_steps), peak_lr=PROBE_LR)
            self.bench.train(quantised, settings, self.progress.step)
        return self._measured(quantised)

    def calibrated(self, bits: Bits, label: str, acts: Acts | None = None) -> Visit:
        """Measure an allocation of the float network, calibrated, not trained.

        Bits of activations are those of `acts_for` if not given.
        """
        self.progress.stage(label)
        chosen, seed = self.acts_for(bits) if acts is None else acts, self.request.seed
        entry = self.journal.step(
            "calibrated-" + self.digits(bits, chosen),
            self._asked(bits, chosen, label, 0),
            lambda: self._measured(self.bench.calibrated(bits, seed=seed, acts=chosen)),
        )
        return self.visit_of(bits, chosen, label, entry)

    def finally_trained(self, start: Visit, steps: int) -> Visit:
        """Return a visit as it is after more training, or before it if that was better."""
        self.progress.stage(FINAL)
        name = f"final-{len(self.final_visits):03d}"
        asked = self._asked(start.bits, start.acts, FINAL, steps)
        entry = self.journal.step(name, asked, lambda: self._long_training(start, steps))
        self.steps_left -= steps
        trained = self.visit_of(start.bits, start.acts, FINAL, entry)
        self.final_visits.append(trained)
        return trained

    def _long_training(self, start: Visit, steps: int) -> Entry:
        quantised = self.bench.quantised(start.bits, scales=self.request.plan.scales)
        quantised.restore(start.state)
        validation = self.bench.train_keeping_best(
            quantised, self.settings(steps), self.progress.step
        )
        return Entry(values={"validation": validation}, snapshot=quantised.snapshot())

    def acts_for(self, bits: Bits) -> Acts:
        """Return the bits of activations that go with weights of some bits; ours.

        The most that each may have, and where that breaks a limit, those of the least divergence
        at which all limits are kept; the fewest where none do.
        """
        menu = self.menu
        if not menu.act_choices or self.budget.uses_met(menu.total(bits)):
            return menu.most_acts
        pinned = replace(menu, choices={name: (mode,) for name, mode in bits.items()})
        alike = {name: {mode: 0.0} for name, mode in bits.items()}
        found = exact(pinned, self.budget, alike, acts=self.act_sensitivity())
        fewest = {tensor: options[0] for tensor, options in menu.act_choices.items()}
        return menu.with_acts(fewest) if found is None else found.acts

    def digits(self, bits: Bits, acts: Acts) -> str:
        """Return an allocation as text: bits of all layers, and of activations if not all 8."""
        weights = "".join(str(mode.bits) for mode in bits.values())
        tensors = self.bench.network.tensors
        below = "".join(str(acts.get(tensor, ACT_BITS)) for tensor in tensors)
        return f"{weights}-{below}" if acts else weights

    def sensitivity(self, measure: Measure) -> Sensitivity:
        """Measure every layer at each of its choices, once."""
        self.progress.stage(f"sensitivity: {measure.value}")
        seed, most = self.request.seed, self.modes[-1]

        def compute() -> Entry:
            menu, bench = self.menu, self.bench
            found: Sensitivity
            if self.jobs is None:
                found = sensitivities(measure, bench, menu, most, seed=seed)
            else:
                found = shared_sensitivities(
                    self.jobs, measure, bench.source, menu, most, seed=seed
                )
            by_name = {n: {str(m.bits): v for m, v in by.items()} for n, by in found.items()}
            return Entry(values=by_name)

        choices = {n: [m.bits for m in modes] for n, modes in self.menu.choices.items()}
        name, asked = f"sensitivity-{measure.value}", {"choices": choices, "seed": seed}
        values = self.journal.step(name, asked, compute).values
        self.measured = {
            n: {WeightMode.from_bits(int(bits)): v for bits, v in by.items()}
            for n, by in values.items()
        }
        return self.measured

    def act_sensitivity(self) -> ActSensitivity:
        """Measure every activation that has a choice at each of its bits, once."""
        choices = {tensor: list(options) for tensor, options in self.menu.act_choices.items()}
        if not choices:
            return {}
        self.progress.stage("sensitivity: activations")
        seed, most = self.request.seed, self.modes[-1]

        def compute() -> Entry:
            menu, bench = self.menu, self.bench
            if self.jobs is None:
                found = act_sensitivities(bench, menu, most, seed=seed)
            else:
                found = shared_act_sensitivities(self.jobs, bench.source, menu, most, seed=seed)
            by_name = {t: {str(bits): v for bits, v in by.items()} for t, by in found.items()}
            return Entry(values=by_name)

        asked = {"choices": choices, "seed": seed}
        values = self.journal.step("sensitivity-activations", asked, compute).values
        return {t: {int(bits): v for bits, v in by.items()} for t, by in values.items()}

    def _measured(self, quantised: QuantNetwork) -> Entry:
        validation = self.bench.validation_accuracy(quantised)
        return Entry(values={"validation": validation}, snapshot=quantised.snapshot())

    def _asked(self, bits: Bits, acts: Acts, label: str, steps: int) -> dict[str, Any]:
        return {
            "bits": {name: mode.bits for name, mode in bits.items()},
            "activations": dict(acts),
            "label": label,
            "steps": steps,
            "seed": self.request.seed,
        }

    def visit_of(self, bits: Bits, acts: Acts, label: str, entry: Entry) -> Visit:
        """Return what a step gave as a visit, and keep it if it is the best so far."""
        visit = Visit(
            label=label,
            bits=dict(bits),
            acts=dict(acts),
            drop=self.float_validation - float(entry.values["validation"]),
            use=self.menu.total(bits, acts),
            cost=self.hardware.prices.network_cost(bits, acts=acts),
            state=entry.snapshot,
            objective=self.menu.objective,
        )
        self.best.offer(visit)
        return visit
