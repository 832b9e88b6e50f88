"""When is float16 enough? Range, and the step against each column's spread."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STEP = 0.05
"""Largest float16 rounding error allowed, as a share of a column's standard deviation."""


_BLOCK = 64


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of each column, mergeable without loss.

    Attributes
    ----------
    count : int
        Rows seen.
    mean, m2 : ndarray of shape (n_features,), float64
    """

    count: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Moments of an ndarray of shape (n_rows, n_features)."""
        mean = values.mean(axis=0, dtype=np.float64)
        m2 = np.zeros(values.shape[1])
        for start in range(0, len(values), _BLOCK):  # a block widened to float64 stays in cache
            m2 += np.square(values[start : start + _BLOCK] - mean).sum(axis=0)
        return cls(len(values), mean, m2)

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of rows together (Chan, Golub & LeVeque 1983)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            self.m2 + other.m2 + delta**2 * (self.count * other.count / count),
        )

    def encode(self) -> str:
        """As text for the journal."""
        return base64.b64encode(np.stack([self.mean, self.m2]).tobytes()).decode()

    @classmethod
    def decode(cls, count: int, text: str) -> Moments:
        """The inverse of `encode`."""
        mean, m2 = np.frombuffer(base64.b64decode(text), np.float64).reshape(2, -1)
        return cls(count, mean, m2)


def overflows_float16(values: NDArray[np.floating]) -> bool:
    """Whether any value would round to infinity in float16."""
    limit = float(np.finfo(np.float16).max)
    return bool(values.max(initial=0.0) > limit or values.min(initial=0.0) < -limit)


def columns_drowned_in_float16(moments: Moments) -> int:
    """How many columns lose their signal in float16's step.

    A stored value is off by step/√12 (one standard deviation of rounding to a grid). Where that
    exceeds `MAX_STEP` of the column's own standard deviation, neighbours and probes see rounding
    noise: a huge mean with a small spread. Columns that are constant up to float32 rounding hold
    no signal to lose.
    """
    deviation = np.sqrt(moments.m2 / moments.count)
    typical = np.sqrt(moments.mean**2 + deviation**2)
    # From 32,768 to the end of float16's range the step is the same; asking at the end overflows.
    step = np.spacing(np.minimum(typical, 32768.0).astype(np.float16)).astype(np.float64)
    constant = deviation <= 1e-6 * typical
    return int(np.count_nonzero(~constant & (step / np.sqrt(12.0) > MAX_STEP * deviation)))
