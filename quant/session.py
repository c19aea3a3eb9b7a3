"""One search, from the loaded network to the files: phases, final training, baselines, test."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from hw.precision import WeightMode
from quant.cost import Prices, relative_size
from quant.divergence import scores
from quant.evaluate import accuracy
from quant.jobs import Jobs, local_jobs
from quant.layers import Snapshot, uniform_bits
from quant.objective import Objective, best_known
from quant.progress import SearchProgress
from quant.qat import QatSettings
from quant.refine import Problem, RefineSettings, refine
from quant.sigma import FIRST_LAMBDA, LAMBDA_STEP, MAX_ITERATIONS, assign_bits
from quant.visits import OutOfStepsError, Visit
from quant.workbench import Source, Workbench, measure, train_uniform
from quant.zones import BUFFERS, inside_a_buffer

if TYPE_CHECKING:
    from quant.search import Request

UNIFORM = (WeightMode.W2, WeightMode.W4, WeightMode.W8)
"""Shown beside the result, as far as the hardware has them."""
BUFFER = BUFFERS["balanced"]
FINAL = "final training"
PROBE_LR = 1e-3
"""Peak learning rate of the short trainings; they lose accuracy at that of the long ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained allocation.

    Parameters
    ----------
    snapshot : Snapshot
        Its state.
    validation : float
        Top-1 accuracy on the validation images.
    test : float
        Top-1 accuracy on the test images.
    """

    snapshot: Snapshot
    validation: float
    test: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """All that a search found.

    Parameters
    ----------
    visits : list of Visit
        In order, the final trainings last.
    chosen : Visit
        The best of them.
    float_validation, float_test : float
        Top-1 accuracies of the float network.
    searched : Trained
        The chosen allocation as it is returned.
    uniform : mapping of WeightMode to Trained
        The uniform allocations after as many steps.
    sigma : mapping of str to float
        Of each layer's weights.
    scores : mapping
        Normalised divergence of each layer at each precision.
    objective : Objective
        The cost that was made small.
    prices : Prices
        Costs of the network's layers, with its own operands.
    """

    visits: list[Visit]
    chosen: Visit
    float_validation: float
    float_test: float
    searched: Trained
    uniform: Mapping[WeightMode, Trained]
    sigma: Mapping[str, float]
    scores: Mapping[str, Mapping[WeightMode, float]]
    objective: Objective
    prices: Prices


class Session:
    """The state of a running search.

    Parameters
    ----------
    request : Request
        What was asked for.
    bench : Workbench
        The network and its images.
    progress : SearchProgress
        Told of every step.
    """

    def __init__(self, request: Request, bench: Workbench, progress: SearchProgress) -> None:
        self.request = request
        self.bench = bench
        self.progress = progress
        self.steps_left = request.plan.total_steps
        self.visits: list[Visit] = []
        self.final_visits: list[Visit] = []
        layers = bench.network.layers
        weights = {layer.name: bench.network.weight(layer.name) for layer in layers}
        self.sigma = {name: float(weight.std()) for name, weight in weights.items()}
        self.scores = {name: scores(weight) for name, weight in weights.items()}
        self.float_validation = accuracy(bench.teacher, bench.images.validation)
        self.modes = request.table.modes
        most = uniform_bits(bench.network, self.modes[-1])
        samples = bench.operands(bench.calibrated(most, seed=request.seed), seed=request.seed)
        self.prices = Prices(table=request.table, layers=layers, samples=samples)
        self.costs = {
            mode: self.prices.layer_costs(uniform_bits(bench.network, mode)) for mode in self.modes
        }
        self.objective = best_known(c for costs in self.costs.values() for c in costs.values())

    def settings(self, steps: int) -> QatSettings:
        """Return the training recipe for a number of steps."""
        done = self.request.plan.total_steps - self.steps_left  # other images each time
        seed = self.request.seed * self.request.plan.total_steps + done
        return QatSettings(steps=steps, batch=self.request.plan.batch, seed=seed)

    def evaluate(self, bits: Mapping[str, WeightMode], label: str, start: Visit | None) -> Visit:
        """Recalibrate, train shortly and measure an allocation (see `quant.visits.Evaluate`)."""
        plan = self.request.plan
        if self.steps_left - plan.probe_steps < plan.total_steps * (1 - plan.search_share):
            raise OutOfStepsError
        self.progress.stage(f"{label}, visit {len(self.visits)}")
        if start is None or start.state is None:
            quantised = self.bench.calibrated(bits, seed=self.request.seed)
        else:
            quantised = self.bench.calibrated(bits, seed=self.request.seed)
            quantised.restore(start.state)
            quantised.set_bits(bits)
            self.bench.recalibrate(quantised, seed=self.request.seed)
        settings = replace(self.settings(plan.probe_steps), peak_lr=PROBE_LR)
        self.bench.train(quantised, settings, self.progress.step)
        self.steps_left -= plan.probe_steps
        return self._visit(
            bits, label, self.bench.validation_accuracy(quantised), quantised.snapshot()
        )

    def _visit(
        self, bits: Mapping[str, WeightMode], label: str, validation: float, state: Snapshot
    ) -> Visit:
        layers = self.bench.network.layers
        return Visit(
            label=label,
            bits=dict(bits),
            drop=self.float_validation - validation,
            size=relative_size(layers, bits),
            cost=self.prices.network_cost(bits),
            state=state,
            objective=self.objective,
        )

    def phase_1(self) -> None:
        """Visit uniform most bits, untrained, then clusters of sigma (`quant.sigma`)."""
        most = self.modes[-1]
        bits = uniform_bits(self.bench.network, most)
        self.progress.stage(f"start: uniform {most.bits} bit")
        start = self.bench.calibrated(bits, seed=self.request.seed)
        validation = self.bench.validation_accuracy(start)
        self.visits.append(self._visit(bits, "start", validation, start.snapshot()))
        for iteration in range(MAX_ITERATIONS):
            balance = FIRST_LAMBDA + iteration * LAMBDA_STEP
            bits = assign_bits(self.sigma, balance=balance, modes=self.modes)
            if any(bits == visit.bits for visit in self.visits):
                continue
            visit = self.evaluate(bits, "phase 1", self.visits[-1])
            self.visits.append(visit)
            budget = self.request.budget
            if inside_a_buffer(drop=visit.drop, size=visit.size, budget=budget, buffer=BUFFER):
                return

    def problem(self) -> Problem:
        """Return what phase 2 moves within."""
        return Problem(
            budget=self.request.budget,
            buffer=BUFFER,
            scores=self.scores,
            price={
                layer.name: {
                    mode: self.objective.of(costs[layer.name]) for mode, costs in self.costs.items()
                }
                for layer in self.bench.network.layers
            },
            settings=RefineSettings(),
            modes=self.modes,
            objective=self.objective,
        )

    def final(self, problem: Problem) -> Visit:
        """Train the boldest allocation with the steps that are left; fall back if that fails.

        It gets three quarters of them. If it then meets the targets with the margin, it gets the
        rest as well. If not, the best visit gets the rest, and the best of what there is by then
        is returned.
        """
        bold = problem.boldest(self.visits) or problem.best(self.visits)
        trained = self._finally_trained(bold, 3 * self.steps_left // 4)
        if problem.met(trained):
            return self._finally_trained(trained, self.steps_left)
        best = problem.best(self.visits)
        last = self._finally_trained(trained if best is bold else best, self.steps_left)
        return problem.best([trained, last, *self.visits])

    def _finally_trained(self, start: Visit, steps: int) -> Visit:
        """Return a visit as it is after more training, or before it if that was better."""
        self.progress.stage("final training")
        quantised = self.bench.calibrated(start.bits, seed=self.request.seed)
        quantised.restore(start.state)
        validation = self.bench.train_keeping_best(
            quantised, self.settings(steps), self.progress.step
        )
        self.steps_left -= steps
        trained = self._visit(start.bits, FINAL, validation, quantised.snapshot())
        self.final_visits.append(trained)
        return trained


def run(request: Request) -> bool:
    """Search, write the results, print them; returns whether both targets are met."""
    from quant.report import print_report, write_results

    torch.set_num_threads(1)
    source = Source(model=request.model, weights=request.weights, data=request.data)
    console = Console(stderr=True)
    request.out.mkdir(parents=True, exist_ok=True)
    bench = Workbench(source)
    with local_jobs(request.workers) as jobs, SearchProgress(console, request) as progress:
        settings = QatSettings(
            steps=request.plan.total_steps, batch=request.plan.batch, seed=request.seed
        )
        uniform = {
            mode: jobs.submit(train_uniform, source, mode, settings)
            for mode in UNIFORM
            if mode in request.table.modes
        }
        for mode, future in uniform.items():
            progress.watch(f"uniform {mode.bits} bit", future)
        session = Session(request, bench, progress)
        session.phase_1()
        problem = session.problem()
        refine(session.visits, problem, session.evaluate)
        outcome = _tested(session, session.final(problem), uniform, jobs)
    met = write_results(request, bench, outcome)
    print_report(request, bench, outcome, met)
    return met


def _tested(
    session: Session,
    chosen: Visit,
    uniform: Mapping[WeightMode, Future[tuple[Snapshot, float]]],
    jobs: Jobs,
) -> Outcome:
    """Wait for the uniform allocations, then read the test images, once, and measure on them."""
    session.progress.stage("waiting for the uniform allocations")
    trained = {mode: future.result() for mode, future in uniform.items()}
    session.progress.stage("test images")
    source, images = session.bench.source, session.bench.images.test
    float_test = jobs.submit(measure, source, None, images)
    searched_test = jobs.submit(measure, source, chosen.state, images)
    tests = {
        mode: jobs.submit(measure, source, state, images) for mode, (state, _) in trained.items()
    }
    return Outcome(
        visits=[*session.visits, *session.final_visits],
        chosen=chosen,
        float_validation=session.float_validation,
        float_test=float_test.result(),
        searched=Trained(
            snapshot=chosen.state,
            validation=session.float_validation - chosen.drop,
            test=searched_test.result(),
        ),
        uniform={
            mode: Trained(snapshot=state, validation=top_1, test=tests[mode].result())
            for mode, (state, top_1) in trained.items()
        },
        sigma=session.sigma,
        scores=session.scores,
        objective=session.objective,
        prices=session.prices,
    )
