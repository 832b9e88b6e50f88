"""All pairs of models on the same test images, tested together: arrays in, arrays out.

One object answers every question about them, so that no two answers contradict each other: which
pairs differ, which ranks are possible, who is within chance of the best, and how far behind the
best each may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from pipeline.statistics.arrays import Counts, Floats, Mask, Places
from pipeline.statistics.multiplicity import holm
from pipeline.statistics.pair_maxima import PairMaxima
from pipeline.statistics.rank_sets import implied, rank_sets
from pipeline.statistics.tie_cost import farthest_behind, images_to_tell, upper_limit

FEW_DISCORDANT = 25
"""Images on which two models differ, below which their test is exact."""


@dataclass(frozen=True)
class Paired:
    """Scores of some models on the same test images, or their means over several data sets.

    Attributes
    ----------
    models : tuple of str
    scores : ndarray of shape (n_models,)
    covariance : ndarray of shape (n_models, n_models)
        Of the scores, over draws of test images.
    images : int
        Test images.
    wins : ndarray of shape (n_models, n_models) or None
        Images on which the row's model does better than the column's; None where nobody counted.
    hits : bool
        Whether each image is right or wrong and all weigh the same, so that McNemar's exact test
        is one of the scores. Where it is not (shares of draws, means over classes or data sets)
        the larger one of its p and the normal one is taken.
    effective : int
        Of means over data sets the images of the smallest one times the number of different
        samples, by which a limit is not too narrow where they are few; else 0.
    """

    models: tuple[str, ...]
    scores: Floats
    covariance: Floats
    images: int
    wins: Floats | None = None
    hits: bool = False
    effective: int = 0


@dataclass(frozen=True)
class PairTests:
    """What was found of all pairs.

    Arrays have shape (n_models, n_models) unless said: the row's model less the column's.

    Attributes
    ----------
    paired : Paired
    p, p_corrected : ndarray
    critical : ndarray
        How many standard errors wide the limits of all pairs at once are.
    better : ndarray of bool
        Whether the row's model is better than the column's.
    behind_high : ndarray of shape (n_models,)
        Upper limit, for all at once, of how far each model is behind the best.
    confidence : float
    """

    paired: Paired
    p: Floats
    p_corrected: Floats
    critical: Floats
    better: Mask
    behind_high: Floats
    confidence: float

    @property
    def difference(self) -> Floats:
        """The row's score less the column's."""
        return self.paired.scores[:, np.newaxis] - self.paired.scores

    @property
    def error(self) -> Floats:
        """Standard errors of the differences."""
        return _standard_error(self.paired.covariance)

    @cached_property
    def high(self) -> Floats:
        """Upper limits of the differences, for all pairs at once.

        An interval contains 0, or ends there, exactly where the pair is within chance.
        """
        images = self.paired.effective or self.paired.images
        high = upper_limit(self.difference, self.error, self.critical, images)
        high = np.where(self.better.T, np.minimum(high, 0), np.maximum(high, 0))
        np.fill_diagonal(high, 0)
        return high

    @property
    def low(self) -> Floats:
        """Lower limits, as `high`."""
        return -self.high.T

    @property
    def models(self) -> tuple[str, ...]:
        """Those compared."""
        return self.paired.models

    @property
    def differs(self) -> Mask:
        """Of each pair, whether one of the two is better."""
        found: Mask = self.better | self.better.T
        return found

    @cached_property
    def rank_sets(self) -> tuple[Counts, Counts]:
        """Best and worst possible rank of each model."""
        return rank_sets(self.better)

    @property
    def within_chance(self) -> Mask:
        """Of each model, whether its best possible rank is 1: within chance of the best."""
        tied: Mask = self.rank_sets[0] == 1
        return tied

    @property
    def leader(self) -> int:
        """Place of the model with the highest score; of equal ones the first."""
        return int(np.argmax(self.paired.scores))

    def images_to_tell(self, margin: float) -> Floats:
        """Test images that tell each model from the leader, if it lies `margin` behind.

        Returns
        -------
        ndarray of shape (n_models,)
            NaN of the leader.
        """
        images = self.paired.effective or self.paired.images
        others = np.arange(len(self.models)) != self.leader
        found = np.full(len(self.models), np.nan)
        needed = images_to_tell(
            self.difference[self.leader, others], self.error[self.leader, others], images, margin,
            self.confidence,
        )  # fmt: skip
        found[others] = np.ceil(needed * self.paired.images / images)
        return found


def compare_pairs(paired: Paired, drawn: Floats | None, confidence: float) -> PairTests:
    """Test all pairs of models.

    Parameters
    ----------
    paired : Paired
        Of at least 2 models.
    drawn : ndarray of shape (n_draws, n_models) or None
        Scores on other images alike; None: all pairs by Holm, for more models than max-t can take.
    confidence : float
        That everything which is found is true.

    Returns
    -------
    PairTests

    Notes
    -----
    Pairs that differ on fewer than `FEW_DISCORDANT` images: McNemar's exact test, corrected by
    Holm. All other ordered pairs: step-down max-t, which knows from the draws how pairs depend on
    each other. Either kind may use as much of the error as it has pairs, so both hold together.
    """
    scores, alpha = paired.scores, 1 - confidence
    images, others = paired.effective or paired.images, len(scores) - 1
    difference = scores[:, np.newaxis] - scores
    error = _standard_error(paired.covariance)
    few = _few(paired, error) if drawn is not None else np.ones(error.shape, bool)
    p = _alone(paired, difference, error, few)
    corrected, critical, against = _bonferroni(p, few, alpha)
    if drawn is not None and not few.all():
        # Redrawn images spread a little less than other ones would: (n - 1)/n within each class.
        spread = _standard_error(np.cov(drawn, rowvar=False))
        counted = ~few & (spread > 0)
        inverse = np.where(counted, 1 / np.where(counted, spread, 1), 0.0)
        maxima = PairMaxima(drawn - scores, inverse, scores)
        ahead, behind = _once(scores, ~few)
        share = np.mean(~few[_pairs(len(scores))])
        t = difference[ahead, behind] / error[ahead, behind]
        stepped = maxima.step_down_p(ahead, behind, t) / share
        corrected[ahead, behind] = corrected[behind, ahead] = np.minimum(stepped, 1)
        critical[~few] = np.quantile(maxima.of_all, 1 - alpha * share)
        for j, column in enumerate(maxima.of_column):
            many = ~few[:, j]
            against[many, j] = np.quantile(column, 1 - alpha * many.sum() / others)
    # Not even if one model did better on every image could p be smaller.
    corrected = np.maximum(corrected, min(1.0, 2.0 ** (1 - min(paired.images, 1_000))))
    better = implied((corrected <= alpha) & (difference > 0))
    corrected = np.where(better | better.T, np.minimum(corrected, alpha), corrected)
    best = rank_sets(better)[0] == 1
    ahead_by = np.zeros(error.shape)  # by how much those ahead are that may be the best
    ahead_by[best] = upper_limit(difference[best], error[best], against.T[best], images)
    return PairTests(
        paired, p, corrected, critical, better, farthest_behind(ahead_by, best, images), confidence
    )


def _pairs(models: int) -> tuple[Places, Places]:
    first, second = np.triu_indices(models, 1)
    return first, second


def _once(scores: Floats, chosen: Mask) -> tuple[Places, Places]:
    """Chosen pairs, each once: the model with the higher score, and the other one."""
    order = np.argsort(-scores, kind="stable")
    ahead, behind = (order[side] for side in _pairs(len(scores)))
    kept = chosen[ahead, behind]
    return ahead[kept], behind[kept]


def _standard_error(covariance: Floats) -> Floats:
    variances = np.diag(covariance)
    both = variances[:, np.newaxis] + variances
    of_difference = both - 2 * covariance
    # What is left of two equal models is rounding of float32 sums.
    error: Floats = np.sqrt(np.where(of_difference <= 1e-6 * both, 0.0, of_difference))
    return error


def _few(paired: Paired, error: Floats) -> Mask:
    """Pairs whose difference is not normal; also those that differ on every image alike."""
    few: Mask = error == 0
    if paired.wins is not None:
        few |= paired.wins + paired.wins.T < FEW_DISCORDANT
    return few


def _alone(paired: Paired, difference: Floats, error: Floats, few: Mask) -> Floats:
    """P of each pair, uncorrected."""
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(difference == 0, 0.0, np.abs(difference) / error)
    normal: Floats = 2 * scipy.stats.norm.sf(t)
    if paired.wins is None:
        return normal
    # Images on which only one does better are coin tosses under the null hypothesis.
    one, other = paired.wins, paired.wins.T
    tosses = scipy.stats.binom.cdf(np.minimum(one, other), one + other, 0.5)
    exact: Floats = np.minimum(2 * tosses, 1)
    if paired.hits:
        return exact
    exact[(one - other) * difference < 0] = 1.0  # images weigh differently
    return np.where(few, np.maximum(exact, normal), normal)


def _bonferroni(p: Floats, few: Mask, alpha: float) -> tuple[Floats, Floats, Floats]:
    """Of pairs tested by Holm: corrected p, and how many errors wide limits are.

    Returns
    -------
    corrected : ndarray of shape (n_models, n_models)
    critical : ndarray of shape (n_models, n_models)
        Of intervals of all pairs.
    against : ndarray of shape (n_models, n_models)
        Of limits of all models (rows) against one (the column's).
    """
    models = len(p)
    first, second = _pairs(models)
    chosen = few[first, second]
    first, second = first[chosen], second[chosen]
    corrected = np.ones(p.shape)
    if len(first):
        found = np.minimum(holm(p[first, second]) * len(chosen) / len(first), 1)
        corrected[first, second] = corrected[second, first] = found
    critical = np.full(p.shape, scipy.stats.norm.isf(alpha / 2 / len(chosen)))
    against = np.full(p.shape, scipy.stats.norm.isf(alpha / (models - 1)))
    return corrected, critical, against
