"""The ways to choose bits behind one interface: a session in, the chosen visit out.

All end in the same backend: `Plan.total_steps` training steps in all, or calibration alone where
nothing is trained. sigmaquant and auto spend a share of the steps on the allocations that they
try; the others choose before any training and spend all steps on one allocation.

Where activations have a choice of bits, milp, greedy and auto choose them together with those of
the weights, by the same measure; sigmaquant and uniform choose those of the weights, to which
`Session.acts_for` adds those of the activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from quant.allocation import Allocation
from quant.greedy import greedy
from quant.milp import Sensitivity, cheapest, exact, total_loss
from quant.refine import Problem, refine
from quant.request import Aim, Method
from quant.sensitivity import Measure
from quant.session import Session
from quant.sigma import LAMBDA_STEP, MAX_ITERATIONS, assign_bits
from quant.visits import OutOfStepsError, Visit
from quant.zones import inside_a_buffer

CLOSE = 0.02
"""Relative distance of prices at which `auto` stops to halve it."""
SLACK_NATS = 1e-3
"""Divergence that `auto` gives away for cost where it aims at accuracy (docs/adr/0022): untrained,
at most 0.08 points on average, validation images, for 9 to 14 % of the array's energy."""
UNTRAINED_VISITS = 3
"""Allocations that `auto` measures where nothing is trained; the time goes into those."""

Choose = Callable[[Session], Visit]


def choose(session: Session) -> Visit:
    """Choose bits by the method that was asked for, train them, return them."""
    methods: Mapping[Method, Choose] = {
        Method.SIGMAQUANT: sigmaquant,
        Method.MILP: exact_program,
        Method.GREEDY: by_threshold,
        Method.UNIFORM: cheapest_uniform,
        Method.AUTO: auto,
        Method.MAP: replay,
    }
    return methods[session.request.method](session)


def sigmaquant(session: Session) -> Visit:
    """Return what the two phases of the paper find (`quant.sigma`, `quant.refine`)."""
    phase_1(session)
    problem = problem_of(session)
    refine(session.visits, problem, session.evaluate)
    return final(session, problem)


def exact_program(session: Session) -> Visit:
    """Return the least sensitive allocation within all limits (`quant.milp`)."""
    loss = session.sensitivity(Measure(session.request.sensitivity))
    acts = session.act_sensitivity()
    return _backend(session, exact(session.menu, session.budget, loss, acts=acts), "milp")


def by_threshold(session: Session) -> Visit:
    """Return the allocation of one threshold on logit divergence (`quant.greedy`)."""
    loss = session.sensitivity(Measure.LOGIT_KL)
    acts = session.act_sensitivity()
    return _backend(session, greedy(session.menu, session.budget, loss, acts=acts), "greedy")


def cheapest_uniform(session: Session) -> Visit:
    """Return the cheapest uniform allocation that meets all targets, each trained in full.

    Uniforms are tried from the lowest price on, as far as they keep the limits, until one keeps
    the accuracy on the validation images; else the best of them.
    """
    menu = session.menu
    uniform = [menu.uniform(mode) for mode in session.modes]
    options = sorted(
        (Allocation(bits=bits, acts=session.acts_for(bits)) for bits in uniform),
        key=lambda option: menu.total_price(option.bits, option.acts),
    )
    within = [o for o in options if session.budget.uses_met(menu.total(o.bits, o.acts))]
    tried: list[Visit] = []
    for option in within or options[:1]:
        tried.append(_backend(session, option, "uniform"))
        if session.budget.met(drop=tried[-1].drop, use=tried[-1].use):
            break
    return problem_of(session).best(tried)


def replay(session: Session) -> Visit:
    """Return the allocation that a file tells."""
    assert session.request.bits is not None
    acts = session.menu.with_acts({**session.menu.most_acts, **session.request.acts})
    return _backend(session, Allocation(bits=session.request.bits, acts=acts), "map")


def auto(session: Session) -> Visit:
    """Return the cheapest allocation of the exact front whose measured drop stays in bounds; ours.

    With `Aim.ACCURACY` all steps train the cheapest allocation that loses hardly more than the
    least sensitive one within the limits (`SLACK_NATS`): a limit on the size alone would else fill
    up with bits that cost energy and serve nothing.

    Why: the divergence of the outputs when one layer alone is quantised costs seconds and no
    training, and the integer program over it is solved exactly, so for every price there is one
    best candidate, and only the price is left to search. That is what the paper's phases do with
    a score that orders layers weakly (docs/adr/0006), at many trained visits. How much drop a
    candidate really causes, which no additive measure tells, is measured, as in phase 2, after
    a short training: the price is halved between one that is too low and one that is not. The
    steps that a search of many visits would take go to the final training, which is the same.

    The first candidate is the cheapest one; if its drop is in bounds, nothing else is tried. Where
    nothing is trained, the cheapest one hardly ever is, and few are tried: the first is in the
    middle between it and the one that `Aim.ACCURACY` takes. Should no candidate be promising, the
    least sensitive allocation within the limits gets what is left.
    """
    problem = problem_of(session)
    loss = session.sensitivity(Measure.LOGIT_KL)
    acts = session.act_sensitivity()
    safest = exact(session.menu, session.budget, loss, acts=acts)
    if safest is None:
        return _backend(session, None, "auto")
    most = total_loss(safest, loss, acts) + SLACK_NATS
    lean = cheapest(session.menu, session.budget, loss, acts=acts, max_loss=most) or safest
    if session.request.aim is Aim.ACCURACY:
        return _backend(session, lean, "auto")
    _halve_price(session, problem, loss, safest if session.request.plan.trains else lean)
    if problem.boldest(session.visits) is not None:
        return final(session, problem)
    known = next((visit for visit in session.visits if visit.allocation == safest), None)
    last = known or session.calibrated(safest.bits, "auto: least sensitive", safest.acts)
    if known is None:
        session.visits.append(last)
    return problem.best([_trained(session, last), *session.visits])


def _halve_price(
    session: Session, problem: Problem, loss: Sensitivity, dearest: Allocation
) -> None:
    """Visit exact allocations until the cheapest promising price is known closely enough."""
    menu, acts = session.menu, session.act_sensitivity()

    def within(price: float) -> Allocation | None:
        return exact(menu, session.budget, loss, acts=acts, max_price=price)

    found = cheapest(menu, session.budget)
    low = cap = 0.0 if found is None else menu.total_price(found.bits, found.acts)
    high = menu.total_price(dearest.bits, dearest.acts)
    most = session.request.plan.probes
    if not session.request.plan.trains:
        most, cap = UNTRAINED_VISITS, (low + high) / 2
        found = within(cap)
    while True:
        seen = next((visit for visit in session.visits if visit.allocation == found), None)
        if seen is None and found is not None:
            if session.probed >= most:
                return
            try:
                start = session.visits[-1] if session.visits else None
                seen = session.evaluate(found.bits, "auto", start, found.acts)
            except OutOfStepsError:
                return
            session.visits.append(seen)
        if seen is not None and problem.promising(seen):
            high = min(high, menu.total_price(seen.bits, seen.acts))
        else:
            low = cap
        if high - low <= CLOSE * high:
            return
        cap = (low + high) / 2
        found = within(cap)


def phase_1(session: Session) -> None:
    """Visit uniform most bits, untrained, then clusters of sigma (`quant.sigma`)."""
    menu, modes, decisions = session.menu, session.modes, session.request.decisions
    bits = menu.uniform(modes[-1])
    session.progress.stage(f"start: uniform {modes[-1].bits} bit")
    session.visits.append(session.calibrated(bits, "start"))
    free = {name: sigma for name, sigma in session.sigma.items() if name not in menu.fixed}
    for iteration in range(MAX_ITERATIONS):
        balance = decisions.first_lambda + iteration * LAMBDA_STEP
        bits = {**bits, **assign_bits(free, balance=balance, modes=modes)} if free else bits
        if any(bits == visit.bits for visit in session.visits):
            continue
        try:
            visit = session.evaluate(bits, "phase 1", session.visits[-1])
        except OutOfStepsError:
            return
        session.visits.append(visit)
        load = session.budget.load(visit.use)
        budget, narrow = session.budget, decisions.narrow
        if inside_a_buffer(drop=visit.drop, load=load, budget=budget, buffer=narrow):
            return


def problem_of(session: Session) -> Problem:
    """Return what visits are judged by; nothing is recovered where nothing is trained."""
    decisions = session.request.decisions
    if not session.request.plan.trains:
        decisions = replace(decisions, recovery=0.0)
    return Problem(
        budget=session.budget,
        scores=session.scores,
        price=session.menu.price,
        decisions=decisions,
        modes=session.modes,
        objective=session.menu.objective,
        fixed=session.menu.fixed,
    )


def final(session: Session, problem: Problem) -> Visit:
    """Train the boldest allocation with the steps that are left; fall back if that fails.

    It gets three quarters of them. If it then meets the targets with the margin, it gets the
    rest as well. If not, it has shown how much drop training wins back here: the boldest of the
    visits that this would bring within the targets gets the rest, or the best one if none would.
    The best of what there is by then is returned. Where nothing is trained, the best visit is
    returned as it is.
    """
    if not session.request.plan.trains:
        return problem.best(session.visits)
    bold = problem.boldest(session.visits) or problem.best(session.visits)
    trained = session.finally_trained(bold, 3 * session.steps_left // 4)
    if problem.met(trained):
        return session.finally_trained(trained, session.steps_left)
    recovery = bold.drop - trained.drop
    safer = problem.boldest(session.visits, recovery) or problem.best(session.visits)
    last = session.finally_trained(trained if safer is bold else safer, session.steps_left)
    return problem.best([trained, last, *session.visits])


def leanest(session: Session) -> Visit:
    """Return the allocation that comes nearest to limits that none keeps; not trained."""
    unreachable = session.hardware.unreachable(session.request.wishes)
    limits = session.budget.limits
    worst = max(unreachable or limits, key=lambda r: session.menu.smallest(r) / limits[r])
    least = session.menu.leanest(worst)
    visit = session.calibrated(least.bits, f"smallest {worst.value}", least.acts)
    session.visits.append(visit)
    return visit


def _backend(session: Session, found: Allocation | None, label: str) -> Visit:
    """Calibrate an allocation and train it with all steps; None stands for limits not kept."""
    if found is None:
        return leanest(session)
    session.steps_left = session.request.plan.total_steps
    session.visits.append(session.calibrated(found.bits, label, found.acts))
    return _trained(session, session.visits[-1])


def _trained(session: Session, start: Visit) -> Visit:
    """Return a visit after all steps that are left, if there are any."""
    if not session.request.plan.trains:
        return start
    return session.finally_trained(start, session.steps_left)
