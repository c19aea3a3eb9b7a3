"""Weight optimisers against plain loops, dense formulas and each other."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hw.precision import WeightMode
from quant.ptq.adaround import adaround
from quant.ptq.descent import Descent
from quant.ptq.gptq import gptq
from quant.ptq.grid import BITS, IntegerRange, WeightGrid
from quant.ptq.hessian import damped, sensitivity_factor
from quant.ptq.obq import obq
from quant.ptq.rtn import round_to_nearest
from quant.ptq.sensitivity import sensitivity
from quant.ptq.sweep import sweep
from quant.quantizer import weight_scale

torch.set_num_threads(1)

Matrix = NDArray[np.float64]
Solver = Callable[[Matrix, Matrix, WeightGrid], Matrix]
SOLVERS: dict[str, Solver] = {
    "gptq": gptq,
    "act-order": lambda w, h, g: gptq(w, h, g, act_order=True),
    "sensitivity": sensitivity,
    "obq": obq,
    "adaround": adaround,
}


def layer(rows: int, depth: int, seed: int) -> tuple[Matrix, Matrix]:
    """Weights [M, K] and the Hessian [K, K] of correlated inputs."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(depth, depth)) + 2 * np.eye(depth)
    inputs = np.maximum(random.normal(size=(4 * depth, depth)) @ mixed, 0)
    return random.normal(size=(rows, depth)), inputs.T @ inputs / len(inputs)


def grid_of(weight: Matrix, bits: int, *, narrow: bool = False) -> WeightGrid:
    return WeightGrid.symmetric(weight, IntegerRange(bits=bits, narrow=narrow))


def error(integers: Matrix, weight: Matrix, hessian: Matrix, grid: WeightGrid) -> float:
    wrong = grid.values(integers) - weight
    return float(np.einsum("mi,ij,mj->", wrong, hessian, wrong))


def definite(hessian: Matrix, damping: float = 0.01) -> Matrix:
    return hessian + np.diag(np.full(len(hessian), damping * hessian.diagonal().mean()))


def plain_obq(weight: Matrix, hessian: Matrix, grid: WeightGrid) -> Matrix:
    """Invert the Hessian of the weights left anew for each of them."""
    result = np.empty_like(weight)
    for m, row in enumerate(weight):
        scale, low, high = grid.scale[m], grid.range.low, grid.range.high
        left, now = list(range(len(row))), row.astype(float).copy()
        while left:
            inverse = np.linalg.inv(hessian[np.ix_(left, left)])
            nearest = {q: min(max(np.floor(now[q] / scale + 0.5), low), high) for q in left}
            wrong = {q: nearest[q] * scale - now[q] for q in left}
            outliers = [q for q in left if abs(wrong[q]) > scale * (0.5 + 1e-9)]
            if outliers:
                q = max(outliers, key=lambda q: abs(wrong[q]))
            else:
                q = min(left, key=lambda q: wrong[q] ** 2 / inverse[left.index(q), left.index(q)])
            i = left.index(q)
            for j, other in enumerate(left):
                now[other] += wrong[q] / inverse[i, i] * inverse[j, i]
            result[m, q] = nearest[q]
            left.remove(q)
    return result


def dense_gptq(weight: Matrix, hessian: Matrix, grid: WeightGrid, order: list[int]) -> Matrix:
    """Invert the Hessian of the columns left anew for each of them, one row at a time."""
    result = np.empty_like(weight)
    for m, row in enumerate(weight):
        now = row.astype(float).copy()
        for position, q in enumerate(order):
            left = order[position:]
            inverse = np.linalg.inv(hessian[np.ix_(left, left)])
            whole = np.floor(now[q] / grid.scale[m] + 0.5)
            result[m, q] = min(max(whole, grid.range.low), grid.range.high)
            wrong = result[m, q] * grid.scale[m] - now[q]
            now[left] += wrong / inverse[0, 0] * inverse[:, 0]
    return result


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_obq_agrees_with_plain_loops(bits: int, seed: int) -> None:
    weight, hessian = layer(4, 14, seed)
    grid = grid_of(weight, bits)
    found = obq(weight, hessian, grid)
    assert (found == obq(weight, hessian, grid, in_place=False)).all()
    expected = plain_obq(weight, definite(hessian), grid)
    assert (found == expected).all()
    ours, theirs = (error(q, weight, hessian, grid) for q in (found, expected))
    assert abs(ours - theirs) <= 1e-9 * theirs


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("depth", [15, 150])
def test_gptq_agrees_with_the_dense_formula(depth: int, act_order: bool) -> None:
    weight, hessian = layer(2, depth, 3)
    grid = grid_of(weight, 3)
    order = list(range(depth))
    if act_order:
        order.sort(key=lambda j: -hessian[j, j])
    expected = dense_gptq(weight, definite(hessian), grid, order)
    assert (gptq(weight, hessian, grid, act_order=act_order) == expected).all()


@pytest.mark.parametrize("cluster", [1, 4, 100])
def test_plain_sweep_is_gptq_in_the_order_of_sensitivity(cluster: int) -> None:
    weight, hessian = layer(3, 20, 4)
    grid = grid_of(weight, 3)
    found = sensitivity(weight, hessian, grid, cluster=cluster, alternatives=0, repair=False)
    order, _ = sensitivity_factor(definite(hessian), cluster)
    assert (found == dense_gptq(weight, definite(hessian), grid, list(order))).all()


@pytest.mark.parametrize("cluster", [1, 7, 64])
def test_factor_gives_the_ordered_hessian_back(cluster: int) -> None:
    _, hessian = layer(1, 30, 5)
    order, factor = sensitivity_factor(definite(hessian), cluster)
    assert sorted(order) == list(range(30))
    assert not np.tril(factor, -1).any()
    np.testing.assert_allclose(
        factor @ factor.T, definite(hessian)[np.ix_(order, order)], rtol=1e-12, atol=1e-12
    )


def test_least_sensitive_column_of_those_not_yet_placed_comes_last() -> None:
    _, hessian = layer(1, 12, 6)
    hessian = definite(hessian)
    order, factor = sensitivity_factor(hessian, 1)
    for stop in range(12, 0, -1):
        after, left = order[stop:], order[:stop]
        given = hessian[np.ix_(left, left)] - hessian[np.ix_(left, after)] @ np.linalg.solve(
            hessian[np.ix_(after, after)], hessian[np.ix_(after, left)]
        )
        assert given.diagonal().argmin() == stop - 1
        np.testing.assert_allclose(given[-1, -1], factor[stop - 1, stop - 1] ** 2)


def test_sweep_keeps_the_best_of_all_single_reversals() -> None:
    weight, hessian = layer(20, 6, 7)
    grid = grid_of(weight, 2)
    order, factor = sensitivity_factor(definite(hessian), 6)
    units = np.ascontiguousarray(grid.units(weight)[:, order].T)

    def swept(row: Matrix, reversed_: int | None) -> Matrix | None:
        error = np.zeros(6)
        for j in range(6):
            aim = row[j] - factor[:j, j] @ error[:j] / factor[j, j]
            whole = min(max(np.floor(aim + 0.5), -2), 1)
            if j == reversed_:
                whole += 1 if aim >= whole else -1
            if not -2 <= whole <= 1:
                return None
            error[j] = whole - row[j]
        return error

    plain = [swept(row, None) for row in units.T]
    found = sweep(units, factor, -2, 1, cluster=6, alternatives=6) - units
    nearest = sweep(units, factor, -2, 1, cluster=6, alternatives=0) - units
    for m, row in enumerate(units.T):
        tried = [error for j in range(6) if (error := swept(row, j)) is not None]
        assert (nearest[:, m] == plain[m]).all()
        costs = [np.square(factor.T @ error).sum() for error in [nearest[:, m], *tried]]
        np.testing.assert_allclose(np.square(factor.T @ found[:, m]).sum(), min(costs))
    assert not (found == nearest).all()


@pytest.mark.parametrize("bits", [2, 3])
def test_repair_ends_where_no_step_and_no_pair_of_steps_helps(bits: int) -> None:
    weight, hessian = layer(5, 8, 8)
    grid = grid_of(weight, bits)
    units, low, high = grid.units(weight), grid.range.low, grid.range.high
    integers = grid.nearest(units)

    def cost(m: int, candidate: Matrix) -> float:
        return float((candidate - units[m]) @ hessian @ (candidate - units[m]))

    before = [cost(m, integers[m]) for m in range(5)]
    descent = Descent(units, integers, hessian, low, high)
    for _ in range(10):
        moved = descent.singles(100) + descent.pairs(100, firsts=7)
    assert moved == 0
    assert low <= integers.min() <= integers.max() <= high
    assert [cost(m, integers[m]) for m in range(5)] < before
    for m, i, j in itertools.product(range(5), range(8), range(8)):
        here = cost(m, integers[m]) - 1e-9
        # a pair starts the way in which its first column is pulled
        pulled = -np.sign(((integers[m] - units[m]) @ hessian)[i])
        one, two = integers[m].copy(), integers[m].copy()
        one[i] += pulled
        for way in (-1, 1):
            two[:] = one
            two[j] += way
            if low <= one[i] <= high and low <= two[j] <= high:
                assert cost(m, one) >= here
                assert i == j or cost(m, two) >= here


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("bits", [2, 4])
def test_errors_come_out_below_those_of_rounding_to_nearest(solver: Solver, bits: int) -> None:
    weight, hessian = layer(16, 40, 9)
    grid = grid_of(weight, bits)
    nearest = error(round_to_nearest(weight, grid), weight, hessian, grid)
    assert error(solver(weight, hessian, grid), weight, hessian, grid) < 0.8 * nearest


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_sensitivity_is_at_least_as_good_as_act_order(bits: int) -> None:
    weight, hessian = layer(32, 96, 10)
    grid = grid_of(weight, bits)
    ours = error(sensitivity(weight, hessian, grid), weight, hessian, grid)
    assert ours < error(gptq(weight, hessian, grid, act_order=True), weight, hessian, grid)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("narrow", [False, True])
def test_integers_stay_within_the_range(solver: Solver, bits: int, narrow: bool) -> None:
    weight, hessian = layer(3, 12, 11)
    grid = grid_of(weight, bits, narrow=narrow)
    found = solver(weight, hessian, grid)
    assert found.shape == weight.shape
    assert (found == np.round(found)).all()
    least = -(2 ** (bits - 1)) + narrow
    assert least <= found.min()
    assert found.max() <= 2 ** (bits - 1) - 1


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_integers_that_fit_exactly_are_left_alone(solver: Solver) -> None:
    random = np.random.default_rng(12)
    expected = random.integers(-8, 8, (3, 10)).astype(np.float64)
    expected[:, 0] = -8
    _, hessian = layer(1, 10, 12)
    weight = expected * 0.25
    assert (solver(weight, hessian, grid_of(weight, 4)) == expected).all()


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_independent_inputs_leave_rounding_to_nearest(solver: Solver) -> None:
    weight, _ = layer(3, 10, 13)
    grid = grid_of(weight, 4)
    hessian = np.diag(np.arange(1.0, 11.0))
    assert (solver(weight, hessian, grid) == round_to_nearest(weight, grid)).all()


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_singular_hessians_are_damped_until_they_do(solver: Solver) -> None:
    weight, _ = layer(30, 10, 14)
    grid = grid_of(weight, 4)
    one = np.arange(1.0, 11.0)
    found = solver(weight, np.outer(one, one), grid)  # one input vector: rank 1
    assert np.isfinite(found).all()
    nearest = round_to_nearest(weight, grid)
    hessian = np.outer(one, one)
    assert error(found, weight, hessian, grid) < error(nearest, weight, hessian, grid)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [(1, 1), (0, 2)])
def test_hessians_that_are_not_finite_are_refused(value: float, place: tuple[int, int]) -> None:
    hessian = np.eye(3)
    hessian[place] = hessian[place[::-1]] = value
    with pytest.raises(ValueError, match=r"^hessian must be finite, not infinite or NaN$"):
        damped(hessian, 0.01, np.linalg.cholesky)


def test_a_hessian_of_zeros_is_refused_as_no_damping_helps() -> None:
    with pytest.raises(ValueError, match=r"^hessian must have a positive mean diagonal, not 0.0$"):
        damped(np.zeros((2, 2)), 0.01, np.linalg.cholesky)


def test_damping_grows_until_the_factorisation_succeeds() -> None:
    one = np.ones(5)
    tried = []

    def factorise(matrix: Matrix) -> float:
        tried.append(matrix[0, 0] - 1)
        if len(tried) < 3:
            raise np.linalg.LinAlgError
        return float(matrix[0, 1])

    assert damped(np.outer(one, one), 0.0, factorise) == 1.0
    np.testing.assert_allclose(tried, [0, 1e-10, 1e-9], rtol=1e-6)
    with pytest.raises(ValueError, match=r"^damping must be at least 0 and finite, not -1$"):
        damped(np.eye(2), -1, factorise)


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("narrow", [False, True])
def test_scales_follow_the_rule_of_the_quantiser(mode: WeightMode, narrow: bool) -> None:
    weight = torch.randn(6, 20, generator=torch.Generator().manual_seed(15))
    grid = grid_of(weight.double().numpy(), mode.bits, narrow=narrow)
    expected = weight_scale(weight, mode, narrow=narrow).numpy()
    np.testing.assert_allclose(grid.scale, expected, rtol=1e-6)


def test_a_width_that_no_grid_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^weight bits must be one of 2, 3, 4, 6, 8, not 5$"):
        IntegerRange(bits=5, narrow=False)
