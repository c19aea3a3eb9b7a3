"""Local search on integers: single steps and pairs of steps that lower a row's error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_LEAST_GAIN = 1e-12


class Descent:
    """Integers of all rows, and what a step of each would gain.

    The error of a row e is ``e @ hessian @ e``. With its slope ``g = e @ hessian``, a step of one
    down or up in column j lowers half of it by ``|g[j]| - hessian[j, j] / 2``. All rows step at
    once, each where it gains most, so the error of no row ever grows. Ours.

    Parameters
    ----------
    units, integers : float64 [M, K]
        Weights in steps of their channel, and where they are now; `integers` is changed.
    hessian : float64 [K, K]
        Symmetric, positive diagonal.
    low, high : float
        Limits of the integers.
    """

    def __init__(
        self, units: Matrix, integers: Matrix, hessian: Matrix, low: float, high: float
    ) -> None:
        self.integers = integers
        self.hessian = hessian
        self.low, self.high = low, high
        self._slope = (integers - units) @ hessian  # [M, K]
        self._half = hessian.diagonal() / 2
        # a slope is cut to 0 where its step would leave the limits, so that it gains nothing
        self._least = np.where(integers >= high, 0.0, -np.inf)
        self._most = np.where(integers <= low, 0.0, np.inf)

    def singles(self, rounds: int) -> int:
        """Step once per row and round, until no row gains; return the steps taken."""
        rows, steps = np.arange(len(self.integers)), 0
        for _ in range(rounds):
            slope = self._cut(rows)
            gain = np.abs(slope)
            gain -= self._half
            column = gain.argmax(axis=1)
            every = np.arange(len(rows))
            better = gain[every, column] > _LEAST_GAIN * self._half[column]
            if not better.any():
                break
            rows, column, every = rows[better], column[better], every[better]
            self._step(rows, column, -np.sign(slope[every, column]))
            steps += len(rows)
        return steps

    def pairs(self, rounds: int, *, firsts: int) -> int:
        """Take two steps at once per row and round, until no row gains; return the pairs taken.

        The first is one of the `firsts` that cost least by themselves, the second the best after
        it: where columns are correlated, one up and one down may gain what neither does.
        """
        firsts = min(firsts, self.hessian.shape[0] - 1)
        rows, taken = np.arange(len(self.integers)), 0
        for _ in range(rounds if firsts > 0 else 0):
            slope = self._cut(rows)
            price = np.where(slope == 0, np.inf, self._half - np.abs(slope))
            first = np.argpartition(price, firsts - 1, axis=1)[:, :firsts]  # [rows, firsts]
            way = -np.sign(np.take_along_axis(slope, first, 1))
            after = self.hessian[first]  # [rows, firsts, K]
            after *= way[:, :, None]
            after += self._slope[rows, None]
            np.clip(after, self._least[rows, None], self._most[rows, None], out=after)
            np.put_along_axis(after, first[:, :, None], 0.0, axis=2)
            gain = np.abs(after)
            gain -= self._half
            second = gain.argmax(axis=2)  # [rows, firsts]
            total = np.take_along_axis(gain, second[:, :, None], 2)[:, :, 0]
            total -= np.take_along_axis(price, first, 1)
            best = total.argmax(axis=1)
            every = np.arange(len(rows))
            better = total[every, best] > _LEAST_GAIN * self._half[first[every, best]]
            if not better.any():
                break
            rows, best, every = rows[better], best[better], every[better]
            other = second[every, best]
            self._step(rows, first[every, best], way[every, best])
            self._step(rows, other, -np.sign(after[every, best, other]))
            taken += len(rows)
        return taken

    def _cut(self, rows: NDArray[np.intp]) -> Matrix:
        return np.clip(self._slope[rows], self._least[rows], self._most[rows])

    def _step(self, rows: NDArray[np.intp], columns: NDArray[np.intp], way: Matrix) -> None:
        self.integers[rows, columns] += way
        self._slope[rows] += way[:, None] * self.hessian[columns]
        now = self.integers[rows, columns]
        self._least[rows, columns] = np.where(now >= self.high, 0.0, -np.inf)
        self._most[rows, columns] = np.where(now <= self.low, 0.0, np.inf)
