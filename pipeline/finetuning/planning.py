"""What fine-tuning is going to cost, before it starts; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cache.errors import ProbelineError
from pipeline.datasets.index import Index
from pipeline.finetuning.cells import epochs_of, is_finetuned, runs_to_do
from pipeline.study.finetune import Run
from pipeline.study.schema import Study

PASSES_A_STEP = 3
"""A training step costs about as much as so many forward passes: its own, and twice as much for the
gradients of activations and of weights."""


@dataclass(frozen=True)
class FinetunePlan:
    """What is still to be trained; NaN is what nobody knows yet.

    Attributes
    ----------
    runs, epochs : int
    images : float
        Trained on, each as often as it is seen; hold-outs are among them.
    seconds : float
        By `PASSES_A_STEP` and the rates at which the models embedded images.
    """

    runs: int
    epochs: int
    images: float
    seconds: float


def plan_finetuning(
    study: Study,
    index_of: Callable[[str], Index | None],
    train: Mapping[str, float],
    rate: Callable[[str], float],
) -> FinetunePlan:
    """Count the runs that are not kept.

    Parameters
    ----------
    study : Study
    index_of : callable
        The index of a data set; None where it is not indexed yet.
    train : mapping of str to float
        Train images by data set.
    rate : callable
        Seconds that an image takes a model in a forward pass; NaN where it never ran.
    """
    runs = epochs = 0
    images = seconds = 0.0
    for dataset in study.datasets:
        index = index_of(dataset)
        for model in study.models:
            if not is_finetuned(study, dataset, model):
                continue
            for name in _to_do(study, index, model):
                run = study.finetune.runs[name]
                seen = epochs_of(run) * _given(run, index, train[dataset])
                runs, epochs, images = runs + 1, epochs + epochs_of(run), images + seen
                seconds += PASSES_A_STEP * seen * rate(model)
    return FinetunePlan(runs, epochs, images, seconds)


def _to_do(study: Study, index: Index | None, model: str) -> list[str]:
    if index is not None:
        try:
            return runs_to_do(study, index, model)
        except ProbelineError:  # its weights are not known yet, so nothing of it was trained
            pass
    return list(study.finetune.runs)


def _given(run: Run, index: Index | None, train: float) -> float:
    """Train images of a run; of a few-shot one without an index, by its share alone."""
    if not run.few:
        return train
    if index is None:
        return float("nan") if run.fraction is None else train * run.fraction
    budget = run.budget(train, len(index.classes))
    if budget.shots is not None:
        return float(budget.shots * len(index.classes))
    return train * (budget.share or 1)
