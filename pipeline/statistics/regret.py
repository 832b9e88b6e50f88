"""What choosing a model by a proxy costs: pure numbers on one predictor and one target."""

from __future__ import annotations

import math

import numpy as np

from pipeline.statistics.arrays import Floats
from pipeline.statistics.rank_correlation import rho_of

TEN = 10
"""Models within reach of somebody who chooses by a proxy and looks at the first page."""


def choice(proxy: Floats) -> Floats:
    """Probability that each model is chosen: the best by the proxy, ties alike.

    Parameters
    ----------
    proxy : ndarray of shape (n_models,)
    """
    best = proxy == proxy.max()
    chosen: Floats = best / best.sum()
    return chosen


def naive_regret(chosen: Floats, truth: Floats) -> float:
    """Best target score less that of the choice.

    Its expectation is at least the true regret: the best of noisy scores is best by luck, too.

    Parameters
    ----------
    chosen : ndarray of shape (n_models,)
        See `choice`.
    truth : ndarray of shape (n_models,)
        Target scores.
    """
    return float(truth.max() - chosen @ truth)


def crossed_regret(chosen: Floats, halves: Floats) -> float:
    """The same with the best found on one half of the test images and judged on the other.

    Its expectation is at most the true regret: judged on fresh images, what one half calls the
    best is no better than the best. Averaged over both directions and all halvings.

    Parameters
    ----------
    chosen : ndarray of shape (n_models,)
    halves : ndarray of shape (2, n_splits, n_models)
        Target scores on either half of the images.
    """
    regrets = []
    for found_on, judged_on in (halves, halves[::-1]):
        best = found_on == found_on.max(axis=1, keepdims=True)
        expected = (best * judged_on).sum(axis=1) / best.sum(axis=1)
        regrets.append(expected - judged_on @ chosen)
    return float(np.mean(regrets))


def hit_rates(proxy: Floats, truth: Floats) -> dict[str, float]:
    """Whether the target's best model is the proxy's first, or among its first three.

    Of tied target scores any will do; ties of the proxy share the places that are left.
    """
    found = {}
    for places in (1, 3):
        rates = []
        for model in np.flatnonzero(truth == truth.max()):
            better = int((proxy > proxy[model]).sum())
            tied = int((proxy == proxy[model]).sum())
            rates.append(min(max((places - better) / tied, 0.0), 1.0))
        found[f"top{places}"] = max(rates)
    return found


def top_half(proxy: Floats, truth: Floats) -> float:
    """Spearman ρ among the models that the proxy puts at its median or above.

    Very weak models can carry a high ρ over all; NaN below 4 models, or of constant scores.
    """
    half = proxy >= np.median(proxy)
    return rho_of(proxy[half], truth[half])


def top_ten(proxy: Floats, truth: Floats) -> float:
    """Spearman ρ among the ten models that the proxy puts first; NaN of ten models or fewer.

    A tie across the tenth place takes in all that are tied.
    """
    if len(proxy) <= TEN:
        return math.nan
    first = proxy >= np.sort(proxy)[-TEN]
    return rho_of(proxy[first], truth[first])


def decision_accuracy(first: Floats, second: Floats, difference: Floats) -> float:
    """Share of model pairs that a proxy orders like the target; a proxy's tie counts half.

    Parameters
    ----------
    first, second : ndarray of shape (n_pairs,)
        Proxy scores of each pair's models.
    difference : ndarray of shape (n_pairs,)
        Target score of the first less that of the second; not 0.
    """
    if not len(difference):
        return math.nan
    agreement = np.sign(first - second) * np.sign(difference)
    return float((1 + agreement).mean() / 2)
