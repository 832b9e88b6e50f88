"""Linear (and other small) heads, tuned on a hold-out of train: all variants of a study."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from pipeline.heads.inner_splits import Groups
from pipeline.heads.linear_heads import FittedHead, Labels, fit_head
from pipeline.heads.slabs import Rows, whole
from pipeline.probes.needs import linear_need
from pipeline.probes.protocol import run_protocol
from pipeline.probes.reading import rows_of
from pipeline.probes.scoring import Outcome, make_outcome
from pipeline.probes.task import Scored, Task, judged, shape_of
from pipeline.study.linear import LINEAR, closed_form
from pipeline.study.protocol import Say
from pipeline.study.schema import Study
from pipeline.study.variant import Variant


def score_all(study: Study, say: Say) -> tuple[int, int]:
    """Score what the study misses."""
    return run_protocol(
        study,
        LINEAR.name,
        partial(run_linear, study),
        lambda task: linear_need(study, task.backend, shape_of(task)),
        say=say,
    )


def run_linear(study: Study, task: Task) -> Scored:
    """Judge the task's variants on the val split; a study's first is the protocol's headline.

    Variants are ``logistic_none``, ``ridge_zscore``, … for each head and normalization, and those
    of `pipeline.probes.sgd` for the heads trained by gradient descent.

    Parameters
    ----------
    study : Study
    task : Task
        Its backend is that of logistic regression and ridge; heads trained by gradient descent
        need torch.
    """
    train = rows_of(task.train, streamed=task.streamed)
    val, labels = rows_of(task.val, streamed=task.streamed), task.train.labels().astype(np.int64)
    val_labels = task.val.labels()
    heads = fit_all_heads(
        study,
        task.backend,
        task.dataset,
        task.model,
        train,
        labels,
        len(task.classes),
        task.train_groups,
        task.wanted(study, LINEAR),
    )
    return judged(task, [_judge(head, val, val_labels) for head in heads])


def fit_all_heads(
    study: Study,
    backend: str,
    dataset: str,
    model: str,
    train: Rows,
    labels: Labels,
    n_classes: int,
    groups: Groups | None,
    wanted: Collection[Variant],
) -> Iterator[FittedHead]:
    """Heads that a study asks for, fitted on one train split.

    Parameters
    ----------
    study : Study
    backend : {"numpy", "torch", "sklearn", "cuml"}
        Of logistic regression and ridge; heads trained by gradient descent need torch.
    dataset, model : str
        Whose train split it is.
    train : Rows of shape (n_train, n_features)
        As cached.
    labels : ndarray of shape (n_train,)
    n_classes : int
    groups : ndarray of shape (n_train,) of str, or None
    wanted : collection of Variant
        Of the linear protocol, those that are needed.
    """
    settings = study.linear
    for name in settings.heads:
        if name in ("logistic", "ridge"):
            for normalization in settings.normalization:
                if closed_form(name, normalization) in wanted:
                    yield fit_head(
                        name, normalization, train, labels, n_classes, settings, backend, groups
                    )
        elif views := {variant.views for variant in wanted if variant.head == name}:
            from pipeline.probes.sgd import fit_gradient_heads  # imports torch

            yield from fit_gradient_heads(
                study, dataset, model, name, whole(train), labels, n_classes, groups, views
            )


def _judge(head: FittedHead, val: Rows, labels: Labels) -> Outcome:
    start = time.perf_counter()
    outcome = make_outcome(
        head.variant.name,
        map(np.exp, head.slabs(val)) if head.log_probabilities else head.slabs(val),
        labels,
        seconds=0.0,
        backend=head.backend,
        seed=head.seed,
        details=head.details,
        are_probabilities=head.log_probabilities,
    )
    return replace(outcome, seconds=head.seconds + time.perf_counter() - start)
