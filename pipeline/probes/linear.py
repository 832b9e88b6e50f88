"""Linear (and other small) heads, tuned on a hold-out of train: all variants of a study."""

from __future__ import annotations

import time

import numpy as np

from pipeline.classifiers.linear_heads import FittedHead, Labels, fit_head
from pipeline.classifiers.normalization import Features
from pipeline.probes.protocol import Scored, Task, judged, read_features
from pipeline.probes.scoring import Outcome, make_outcome
from pipeline.study import Study


def run_linear(study: Study, backend: str, task: Task) -> Scored:
    """Judge every variant on the val split; the first is the protocol's headline.

    Variants are ``logistic_none``, ``ridge_zscore``, … for each head and normalization, and those
    of `pipeline.probes.sgd` for the heads trained by gradient descent.

    Parameters
    ----------
    study : Study
    backend : {"numpy", "torch", "sklearn", "cuml"}
        Of logistic regression and ridge; heads trained by gradient descent need torch.
    task : Task
    """
    train, labels = read_features(task.train), task.train.labels().astype(np.int64)
    outcomes: list[Outcome] = []
    for name in study.linear.heads:
        if name in ("logistic", "ridge"):
            for normalization in study.linear.normalization:
                head = fit_head(
                    name,
                    normalization,
                    train,
                    labels,
                    len(task.classes),
                    study.linear,
                    backend,
                    task.train_groups,
                )
                outcomes.append(_judge(head, read_features(task.val), task.val.labels()))
        else:
            from pipeline.probes.sgd import run_gradient_heads  # imports torch

            outcomes += run_gradient_heads(study, task, name, train, labels)
    return judged(task, outcomes)


def _judge(head: FittedHead, val: Features, labels: Labels) -> Outcome:
    start = time.perf_counter()
    scores = head.scores(val)
    return make_outcome(
        head.variant,
        np.exp(scores) if head.log_probabilities else scores,
        labels,
        seconds=head.seconds + time.perf_counter() - start,
        backend=head.backend,
        seed=head.seed,
        details=head.details,
        are_probabilities=head.log_probabilities,
    )
