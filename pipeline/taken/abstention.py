"""What the study's test images say of answering only where the classifier is sure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.taken.risk import LEVEL, Step

THRESHOLDS = tuple(1 / (1 + np.exp(-np.arange(14, -5.01, -0.25))))
"""Fixed before any image is looked at: equal steps of log odds, strictest first."""


def steps_of(confidence: NDArray[np.floating], hits: NDArray[np.bool_]) -> list[Step]:
    """Each threshold at which some image is answered, strictest first.

    Parameters
    ----------
    confidence : ndarray of shape (n_test,)
        Probability of the predicted class; NaN of scores that are no probabilities.
    hits : ndarray of shape (n_test,), bool

    Returns
    -------
    list of Step
        Empty where the scores are no probabilities.
    """
    from scipy import stats

    steps = []
    for threshold in THRESHOLDS:
        answered = confidence >= threshold
        images, wrong = int(answered.sum()), int((answered & ~hits).sum())
        if images:
            upper = float(stats.beta.ppf(1 - LEVEL, wrong + 1, images - wrong))
            steps.append(Step(float(threshold), images, wrong, 1.0 if wrong == images else upper))
    return steps
