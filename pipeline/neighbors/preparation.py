"""The space in which neighbours are searched: features prepared with statistics of train alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from cache.precision import Moments
from pipeline.neighbors.banks import Bank, draw
from pipeline.neighbors.points import points_of
from pipeline.study.neighbors import Metric, Preparation

METRICS, PREPARATIONS = get_args(Metric), get_args(Preparation)

_CENTRE_ROWS = 1024
"""Rows, spread over the bank, whose mean becomes `Space.centre`."""

_BLOCK = 512
"""Rows widened to float64 at a time for the statistics."""

_HALF_REST, _HALF_INFINITY = np.int16(0x7FFF), 0x7C00
_SINGLE_BITS = np.int32(-0x70000001)  # all but the three bits between sign and moved exponent
_SCALE = np.float32(2.0**112)

_INFINITY_BECOMES_NAN = np.errstate(invalid="ignore")
"""Without a warning: who uses the points refuses what is not finite."""

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Space:
    """How stored features become the points between which squared distances are taken.

    Every metric becomes a squared Euclidean distance: cosine distance is half that between
    vectors of unit length.

    Attributes
    ----------
    metric : {"euclidean", "cosine"}
    mean : ndarray of shape (n_features,) or None
        Subtracted first, for "zscore" and "centered_l2".
    deviation : ndarray of shape (n_features,) or None
        Divides then, for "zscore"; 1 for a column that is constant over train.
    unit : bool
        Whether rows are brought to length 1 then; a row of zeros stays.
    centre : ndarray of shape (n_features,)
        About the mean of the prepared train rows, rounded to float32. Distances do not depend on
        it, but float32 products lose their digits far from the origin.
    """

    metric: str
    mean: Vector | None
    deviation: Vector | None
    unit: bool
    centre: Vector

    @classmethod
    @_INFINITY_BECOMES_NAN
    def fit(
        cls,
        bank: Bank,
        preparation: str,
        metric: str,
        some: NDArray[np.floating] | None = None,
    ) -> Space:
        """Take the statistics of the train split, in float64.

        Parameters
        ----------
        bank : Bank
            The train split.
        preparation : {"none", "l2", "zscore", "centered_l2"}
            "centered_l2" subtracts the train mean and then scales to unit length (SimpleShot,
            arXiv 1911.04623).
        metric : {"euclidean", "cosine"}
        some : ndarray of shape (n_some, n_features), optional
            Stored rows whose mean becomes the centre; by default they are drawn.

        Raises
        ------
        ProbelineError
            When the preparation or the metric is not one of these.
        """
        _require("preparation", preparation, PREPARATIONS)
        _require("metric", metric, METRICS)
        mean = deviation = None
        if preparation in ("zscore", "centered_l2"):
            mean, spread = _statistics(bank)
            deviation = spread if preparation == "zscore" else None
        unit = metric == "cosine" or preparation.endswith("l2")
        space = cls(metric, mean, deviation, unit, np.zeros(bank.columns))
        points = space.prepare(draw(bank, _CENTRE_ROWS)[1] if some is None else some)
        return cls(metric, mean, deviation, unit, _single(points.mean(axis=0)))

    @_INFINITY_BECOMES_NAN
    def prepare(self, values: NDArray[np.floating]) -> Matrix:
        """Points of stored features: ndarray of shape (n_rows, n_features), float64."""
        return points_of(widen(values), self.mean, self.deviation, unit=self.unit)

    @_INFINITY_BECOMES_NAN
    def place(self, values: NDArray[np.floating], out: NDArray[np.floating]) -> Vector:
        """Put points about the centre into `out`, and return their squared lengths.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_features)
            As stored.
        out : ndarray of shape (n_rows, n_features)
            float32 or float64.

        Returns
        -------
        ndarray of shape (n_rows,), float64
            As exact as `out`. Zero rows under cosine are one longer (`zero_penalty`).
        """
        stored = self.mean is None and not self.unit
        if stored and values.dtype == np.float16 and out.dtype == np.float32:
            # Both terms are float32 numbers: their difference is rounded once, as from float64.
            np.subtract(widen(values), self.centre.astype(np.float32), out=out)
            return np.asarray(np.vecdot(out, out), np.float64)  # no squares overflow
        exact = self.prepare(values)
        penalty = self.zero_penalty(exact)
        exact -= self.centre
        with np.errstate(over="ignore"):
            out[...] = exact
        return np.asarray(np.vecdot(exact, exact) + penalty)

    def zero_penalty(self, points: Matrix) -> Vector:
        """What a row adds to its squared distances: 1 for a zero row under cosine, else 0.

        The cosine with a zero row counts as 0 (as in scikit-learn), its distance as 1; |u - v|²
        falls short of that by 1 for each zero row.
        """
        if self.metric != "cosine":
            return np.zeros(len(points))
        return np.where(points.any(axis=1), 0.0, 1.0)

    def distance(self, squared: Matrix) -> Matrix:
        """Distances of the metric from squared Euclidean distances between points."""
        distances: Matrix = squared / 2 if self.metric == "cosine" else np.sqrt(squared)
        return distances


def _require(name: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise ProbelineError(
            f"{name} of a neighbour search",
            "is not known",
            expected=", ".join(known),
            found=found,
        )


def widen(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Float16 as float32 (two to four times as fast as NumPy's own conversion); others as they are.

    A float16's bits, moved to where a float32 has its fraction and exponent, are the number times
    2**-112. Infinity and NaN alone do not come out so.
    """
    if values.dtype != np.float16:
        return values
    halves = values.astype(np.float16, copy=False).view(np.int16)
    if np.bitwise_and(halves, _HALF_REST).max(initial=0) >= _HALF_INFINITY:
        return values.astype(np.float32)
    bits = np.left_shift(halves, 13, dtype=np.int32)
    bits &= _SINGLE_BITS
    wide = bits.view(np.float32)
    wide *= _SCALE
    return wide


def _statistics(bank: Bank) -> tuple[Vector, Vector]:
    """Mean and standard deviation of each column; 1 where a column is constant."""
    first: Vector | None = None
    moments: Moments | None = None
    for _, values in bank.chunks():
        if first is None:  # differences from one row make constant columns constant exactly
            first = values[0].astype(np.float64)
        for start in range(0, len(values), _BLOCK):
            part = Moments.of(widen(values[start : start + _BLOCK]) - first)
            moments = part if moments is None else moments.merge(part)
    assert first is not None
    assert moments is not None
    deviation = np.sqrt(moments.m2 / moments.count)
    deviation[deviation == 0] = 1.0
    mean: Vector = first + moments.mean
    return mean, deviation


def _single(mean: Vector) -> Vector:
    """Rounded to float32, where that does not overflow."""
    with np.errstate(over="ignore"):
        rounded = mean.astype(np.float32).astype(np.float64)
    return np.where(np.isinf(rounded), mean, rounded)
