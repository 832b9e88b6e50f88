"""What a metric is: its name and words, which direction is better, what it needs, its formula.

`pipeline.study.metrics` has all metrics; whoever scores, reads, ranks or shows scores asks them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

TRANSFERABILITY = ("value", "promise")
"""What stands in the place of a metric's name where no image is predicted: the number of a
transferability metric, and the same with its sign turned so that more promises a better model."""


class Need(enum.Enum):
    """What a metric asks for beyond predictions and the ranks of the true classes."""

    SIX_CLASSES = "more than five classes"
    FIVE_PLACES = "at least five classes with a score of their own"
    GROUPS = "groups of test images"
    HELD_OUT_GROUPS = "groups that training left out in turn"
    PROBABILITIES = "probabilities of the classes"
    POSITIVE_PROBABILITIES = "a probability above 0 for every true class"
    ELSEWHERE = "what is computed elsewhere: several labels for an image, queries, boxes"


@dataclass(frozen=True)
class Predictions:
    """What a metric is computed from: one variant (or one of its draws) on its test images.

    Attributes
    ----------
    predicted : ndarray of shape (n_test,), int
    rank : ndarray of shape (n_test,), int
        Place of the true class among the classes sorted by score; 1 is a hit.
    log_probability : ndarray of shape (n_test,), float32
        Natural logarithm of the true class's probability; NaN of scores that are none.
    confidence : ndarray of shape (n_test,), float64
        Probability of the predicted class; NaN likewise.
    truth : ndarray of shape (n_test,), int
        What `predicted` is compared with.
    labels : ndarray of shape (n_test,), int
        The data set's own classes: `truth`, unless classes were merged into coarse ones.
    n_classes : int
        Among how many an image was classified.
    groups : ndarray of shape (n_test,), str, or None
        "" is no group.
    held_out : bool
        Whether each group was predicted by what the other groups taught.
    places : int or None
        Classes that can have a score of their own, as of k neighbours' votes; None: all.
    """

    predicted: NDArray[np.integer]
    rank: NDArray[np.integer]
    log_probability: NDArray[np.floating]
    confidence: NDArray[np.floating]
    truth: NDArray[np.integer]
    labels: NDArray[np.integer]
    n_classes: int
    groups: NDArray[np.str_] | None = None
    held_out: bool = False
    places: int | None = None

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """Which predictions are right, shape (n_test,)."""
        hits: NDArray[np.bool_] = self.rank == 1
        return hits

    @cached_property
    def offers(self) -> frozenset[Need]:
        """The needs that these predictions meet."""
        grouped = self.groups is not None and bool((self.groups != "").any())
        probable = not np.isnan(self.confidence).any()
        met = {
            Need.SIX_CLASSES: self.n_classes > 5,
            Need.FIVE_PLACES: self.places is None or self.places >= 5,
            Need.GROUPS: grouped,
            Need.HELD_OUT_GROUPS: grouped and self.held_out,
            Need.PROBABILITIES: probable,
            Need.POSITIVE_PROBABILITIES: probable and np.isfinite(self.log_probability).all(),
        }
        return frozenset(need for need, is_met in met.items() if is_met)


@dataclass(frozen=True)
class Metric:
    """A way to score predictions.

    Attributes
    ----------
    name : str
        In files.
    label : str
        In words.
    value : callable
        From predictions to the score.
    interval : callable or None
        From predictions to the ends of the score's 95% interval over test images.
    needs : frozenset of Need
        It is computed wherever these are met.
    higher_is_better : bool
    unit : {"share", "nats"}
        A share lies between 0 and 1, and is written in %.
    digits : int
        Decimals with which it is written.
    range : tuple of float
        Lowest and highest value.
    mean_of_hits : {"images", "classes"} or None
        Whether it is a mean of hits (of misses, where lower is better) over images or over
        classes: then per-image outcomes tell how much of it is chance in the test images.
    over_draws : callable or None
        Values of several draws at once, where that is another sum than one after the other.
    in_keys : bool
        Whether its name stands in the keys of records, so that those without it are made anew.
        False only for what every record of `pipeline.study.records.RECORD_FORMAT` has.
    """

    name: str
    label: str
    value: Callable[[Predictions], float]
    interval: Callable[[Predictions], tuple[float, float]] | None = None
    needs: frozenset[Need] = frozenset()
    higher_is_better: bool = True
    unit: Literal["share", "nats"] = "share"
    digits: int = 1
    range: tuple[float, float] = (0.0, 1.0)
    mean_of_hits: Literal["images", "classes"] | None = None
    over_draws: Callable[[Sequence[Predictions]], NDArray[np.float64]] | None = None
    in_keys: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name) or self.name in TRANSFERABILITY:
            raise ValueError(f"{self.name!r} can't be the name of a metric")
        if self.is_share and self.range != (0.0, 1.0):
            raise ValueError(f"{self.name} is a share: its range is 0 to 1, not {self.range}")

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1."""
        return self.unit == "share"

    @property
    def is_correlated(self) -> bool:
        """Whether `correlation.metric` may name it: a share that every variant has everywhere.

        Or that imported scores have everywhere.
        """
        return self.is_share and (not self.needs or self.is_imported)

    @property
    def is_imported(self) -> bool:
        """Whether only imported scores have it."""
        return Need.ELSEWHERE in self.needs

    def of_draws(self, draws: Sequence[Predictions]) -> NDArray[np.float64]:
        """The value of each draw, shape (n_draws,)."""
        if self.over_draws:
            return self.over_draws(draws)
        return np.array([self.value(draw) for draw in draws], np.float64)

    def goodness(self, values: Any) -> Any:
        """Values as what ranks models, higher is better: an error e of a share as 1 - e.

        It undoes itself. Numbers and arrays alike; those of an accuracy are returned as they are.
        """
        if self.higher_is_better:
            return values
        return sum(self.range) - values if np.isfinite(self.range).all() else -values

    def goodness_of(self, words: str) -> str:
        """What `goodness` is called, from the name or the label."""
        if self.higher_is_better:
            return words
        return f"{sum(self.range):g} − {words}" if np.isfinite(self.range).all() else f"−{words}"
