"""Differences between two orders of the models, on the targets and models that both have.

On each target both are taken over the models that both have, and means over the targets on which
both have a ρ: an identical predictor with any missing cells differs from its equal by exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.statistics.arrays import Floats, Mask, Places, Words
from pipeline.statistics.common_ground import has_both
from pipeline.statistics.fidelity import Redraws, observed_spearman, redraw
from pipeline.statistics.predictions import Predictions

Pair = tuple[int, int]

_ELEMENTS = 100_000
"""Numbers in one block of differences: 0.8 MB, which stay near the processor."""


@dataclass(frozen=True)
class Paired:
    """Pairs of orders, each brought to what both have.

    Attributes
    ----------
    found : Predictions
        The rows of its `pick` are those given and, behind them, what gaps ask for: the same orders
        over fewer models.
    rho : ndarray of shape (n_rows, n_targets)
    left, right : ndarray of shape (n_pairs,)
        Their rows.
    """

    found: Predictions
    rho: Floats
    left: Places
    right: Places

    def differences(self, by_protocol: Floats, chosen: Mask) -> Floats:
        """Mean over some protocols of the left order's ρ less the right one's.

        Parameters
        ----------
        by_protocol : ndarray of shape (n_draws, n_rows, n_protocols)
        chosen : ndarray of bool, shape (n_pairs, n_protocols)
            Protocols of the targets that each pair is judged on.

        Returns
        -------
        ndarray of shape (n_draws, n_pairs)
        """
        if len(chosen) and (chosen == chosen[0]).all() and np.isfinite(by_protocol).all():
            # All pairs on the same protocols: means of the rows, then their differences.
            means = by_protocol[..., chosen[0]]
            if means.shape[-1]:
                alone = means.mean(axis=-1)
                gaps: Floats = alone[:, self.left] - alone[:, self.right]
                return gaps
        result: Floats = np.empty((len(by_protocol), len(self.left)))
        step = max(1, _ELEMENTS // max(len(chosen), 1))
        for start in range(0, len(by_protocol), step):
            part = by_protocol[start : start + step]
            total, count = np.zeros((2, len(part), len(self.left)))
            for p in np.flatnonzero(chosen.any(axis=0)):  # sums over a short last axis are slow
                column = np.ascontiguousarray(part[..., p])
                difference = column[:, self.left] - column[:, self.right]
                known = np.isfinite(difference) & chosen[:, p]
                total += np.where(known, difference, 0.0)
                count += known
            with np.errstate(invalid="ignore", divide="ignore"):
                result[start : start + step] = total / count
        return result

    def value(self, chosen: Mask) -> Floats:
        """The observed differences, shape (n_pairs,)."""
        means = self.found.by_protocol(self.rho)
        observed: Floats = self.differences(means[np.newaxis], chosen)[0]
        return observed

    def of(self, places: Sequence[int]) -> Paired:
        """Some of the pairs."""
        some = np.array(places, np.intp)
        return replace(self, left=self.left[some], right=self.right[some])


def paired(found: Predictions, rho: Floats, pairs: Sequence[Pair]) -> Paired:
    """Bring pairs of orders to the models that both have.

    Parameters
    ----------
    found : Predictions
        Orders are the rows of its `pick`.
    rho : ndarray of shape (n_rows, n_targets)
        Of each row's own ground.
    pairs : sequence of two rows each
    """
    has = has_both(found) & np.isfinite(rho)[:, np.newaxis]
    both = _rows(found, has, pairs)
    values = observed_spearman(both.found)
    # Fewer models may leave scores that do not vary: that target is lost to both.
    lost = np.isfinite(values[both.left]) != np.isfinite(values[both.right])
    if lost.any():
        both = _rows(found, has, pairs, lost)
        values = observed_spearman(both.found)
    return replace(both, rho=values)


def draws_of(both: Paired, given: Redraws, families: Words, *, new: bool) -> Redraws:
    """Redraws of all rows: those that are given, and the same draws of those behind them.

    Parameters
    ----------
    both : Paired
    given : Redraws
        Of the first rows.
    families : ndarray of shape (n_models,)
    new : bool
        Whether new targets are asked for.
    """
    there = given.models.shape[1]
    if there == len(both.found.pick):
        return given
    more = redraw(both.found.rows_from(there), families, new=new)
    parts = [(given.models, more.models), (given.families, more.families)]
    models, of_families = (_joined(*part) for part in parts)
    assert models is not None
    return Redraws(models, of_families, _joined(given.new_targets, more.new_targets))


def _joined(first: Floats | None, second: Floats | None) -> Floats | None:
    return None if first is None or second is None else np.concatenate([first, second], axis=1)


def _rows(found: Predictions, has: Mask, pairs: Sequence[Pair], lost: Mask | None = None) -> Paired:
    """Rows of both orders of each pair over the models that both have."""
    _, kind = np.unique(has.swapaxes(0, 1).reshape(has.shape[1], -1), axis=1, return_inverse=True)
    kind = kind.reshape(len(has), -1)  # of (row, target): which models it has
    orders, none = _Orders(found), np.zeros(len(found.targets), bool)

    def brought(mine: int, other: int, gone: Mask) -> tuple[int, int]:
        first, second = orders.pick(mine), orders.pick(other)
        for target in np.flatnonzero((kind[mine] != kind[other]) | gone | (first != second)):
            both = has[mine, :, target] & has[other, :, target] & ~gone[target]
            ends = orders.columns[first[target]], orders.columns[second[target]]
            # Equal scores of these models become one column: they differ by exactly 0.
            equal = np.array_equal(ends[0][both], ends[1][both])
            for pick, row in ((first, mine), (second, other)):
                if equal or (both != has[row, :, target]).any():
                    pick[target] = orders.masked(pick[target], both)
        return orders.row_of(first), orders.row_of(second)

    ends = [brought(a, b, none if lost is None else lost[k]) for k, (a, b) in enumerate(pairs)]
    left, right = np.array(ends, np.intp).reshape(-1, 2).T
    return Paired(orders.found(), np.zeros(0), left, right)


class _Orders:
    """Rows of a `pick`, and their columns: each different one once."""

    def __init__(self, found: Predictions) -> None:
        self.columns = [*found.scores.T]
        self._given = found
        self._numbers: dict[bytes, int] = {}
        for place, column in enumerate(self.columns):
            self._numbers.setdefault(column.tobytes(), place)
        same = [self._numbers[column.tobytes()] for column in self.columns]
        self._same = np.array(same, np.intp)
        self._picks = [*found.pick]
        self._rows: dict[tuple[int, ...], int] = {}
        for place in range(len(found.pick)):
            self._rows.setdefault(tuple(self.pick(place).tolist()), place)

    def pick(self, row: int) -> Places:
        """The columns of a given row, of equal ones the first."""
        columns: Places = self._same[self._given.pick[row]]
        return columns

    def masked(self, column: int, models: Mask) -> int:
        """The column with some of its models alone."""
        values = np.where(models, self.columns[column], np.nan)
        key = values.tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self.columns)
            self.columns.append(values)
        return self._numbers[key]

    def row_of(self, pick: Places) -> int:
        """The row with these columns."""
        key = tuple(pick.tolist())
        if key not in self._rows:
            self._rows[key] = len(self._picks)
            self._picks.append(pick)
        return self._rows[key]

    def found(self) -> Predictions:
        """All rows, the given ones first."""
        n_test = self._given.n_test
        unknown = np.full(len(self.columns) - len(n_test), np.nan)
        return self._given.with_columns(
            np.stack(self.columns, axis=1),
            np.concatenate([n_test, unknown]),
            np.array(self._picks, np.intp),
        )
