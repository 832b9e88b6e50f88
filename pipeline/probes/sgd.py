"""The study's SGD linear probe from cached features: fixed settings, and a tuned learning rate.

Two runs of fused heads (`pipeline.heads.heads`): every learning rate with and without
BatchNorm on the inner part of train, judged on a hold-out of train
(`pipeline.heads.inner_splits`); then the presets and the chosen ones together on all of
train. No other split enters a choice.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from cache.cell import Cell
from cache.errors import ProbelineError
from pipeline.embeddings.cells import needed_splits
from pipeline.heads.heads import Array, FittedHeads, Head, Labels, Recipe, fit_heads
from pipeline.heads.inner_splits import Groups, Mask, held_out_parts
from pipeline.heads.linear_heads import FittedHead
from pipeline.heads.linear_solvers import use_our_share_of_threads
from pipeline.heads.normalization import Features
from pipeline.heads.tuning import HIDDEN, PRESET_RATE
from pipeline.machine.devices import this_machine
from pipeline.probes.task import read_features
from pipeline.project.paths import SPLITS, cell_address
from pipeline.study.linear import gradient_variants, gradient_views
from pipeline.study.schema import Study
from pipeline.study.variant import Variant


@dataclass(frozen=True)
class Trial:
    """What a head did on the hold-out.

    Attributes
    ----------
    learning_rate : float
    batch_norm : bool
    holdout_top1 : float or None
        None where the head diverged.
    train_loss : float or None
        Mean over the last epoch.
    diverged : int or None
        In which epoch.
    """

    learning_rate: float
    batch_norm: bool
    holdout_top1: float | None
    train_loss: float | None
    diverged: int | None


class Views(Sequence[Features]):
    """Augmented views of a train split; each is read when it is asked for, and not kept."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, number: Any) -> Any:
        return read_features(self._cells[number])


def fit_gradient_heads(
    study: Study,
    dataset: str,
    model: str,
    name: str,
    train: Features,
    labels: Labels,
    n_classes: int,
    groups: Groups | None,
    wanted: Collection[int],
) -> list[FittedHead]:
    """The variants that a study's ``sgd`` or ``mlp`` stands for, fitted on one train split.

    ``sgd_cached`` and, where the study extracts n augmented views, ``sgd_views_n``; or ``mlp``.

    Parameters
    ----------
    study : Study
    dataset, model : str
        Whose train split it is.
    name : {"sgd", "mlp"}
    train : ndarray of shape (n_train, n_features)
        As cached.
    labels : ndarray of shape (n_train,)
    n_classes : int
    groups : ndarray of shape (n_train,) of str, or None
        Of which none is on both sides of the hold-out.
    wanted : collection of int
        Numbers of views, see `gradient_views`: what is fitted on others is not needed.
    """
    use_our_share_of_threads()
    settings = study.linear
    recipe = Recipe(
        epochs=settings.sgd.epochs, hidden=HIDDEN if name == "mlp" else None, seed=settings.seed
    )
    splits = needed_splits(study, study.models[model])[len(SPLITS) :]
    runs: dict[int, Sequence[Array]] = {
        n: Views([Cell.open(cell_address(dataset, model, s)) for s in splits]) if n else [train]
        for n in gradient_views(name, len(splits))
        if n in wanted
    }
    held_out = held_out_parts(labels, "holdout", settings.seed, groups)
    heads = []
    for n_views, views in runs.items():
        heads += fit_sgd(
            gradient_variants(name, settings.sgd.batch_norm, n_views),
            views,
            train,
            labels,
            n_classes,
            rates=settings.sgd.learning_rates,
            recipe=recipe,
            held_out=held_out.masks[0],
            device=this_machine().devices[0],
        )
    return heads


def fit_sgd(
    variants: Sequence[Variant],
    views: Sequence[Array],
    train: Array,
    labels: Labels,
    n_classes: int,
    *,
    rates: Sequence[float],
    recipe: Recipe,
    held_out: Mask,
    device: torch.device | str,
) -> list[FittedHead]:
    """The preset and the tuned heads.

    Parameters
    ----------
    variants : sequence of Variant
        See `pipeline.study.linear.gradient_variants`.
    views : sequence of array of shape (n_train, n_features)
        What the heads are trained on.
    train : array of shape (n_train, n_features)
        The evaluation crop of the same images, on which the hold-out is judged.
    labels : ndarray of shape (n_train,)
    n_classes : int
    rates : sequence of float
        Base learning rates to choose from.
    recipe : Recipe
    held_out : ndarray of shape (n_train,), bool
        Images to choose by.
    device : torch.device or str

    Returns
    -------
    list of FittedHead
        In the order of `variants`, less those whose head diverged; every one's details list
        all trials and the variants that diverged.
    """
    begin = time.perf_counter()
    kinds = sorted({_has_batch_norm(variant) for variant in variants})
    tried = [Head(rate, bn) for bn in kinds for rate in sorted(rates)]
    trials = try_heads(views, train, labels, n_classes, tried, recipe, held_out, device)
    tuning = time.perf_counter() - begin
    best = {bn: best_trial(trials, bn) for bn in kinds}
    chosen = [best[_has_batch_norm(variant)] if variant.tuned else None for variant in variants]
    wanted = [
        Head(PRESET_RATE if trial is None else trial.learning_rate, _has_batch_norm(variant))
        for variant, trial in zip(variants, chosen, strict=True)
    ]
    heads = list(dict.fromkeys(wanted))  # a tuned head may be the preset
    fitted = fit_heads(heads, views, labels, n_classes, recipe, device=device)
    fitting = (time.perf_counter() - begin - tuning) / len(heads)
    shared = {
        **asdict(recipe),
        "trials": [asdict(t) for t in trials],
        "diverged_variants": [
            variant.name
            for variant, head in zip(variants, wanted, strict=True)
            if not _finite(fitted, heads.index(head))
        ],
    }
    found = []
    for variant, head, trial in zip(variants, wanted, chosen, strict=True):
        place = heads.index(head)
        if not _finite(fitted, place):
            continue
        selection = {} if trial is None else _selection(trial, rates)
        found.append(
            FittedHead(
                variant,
                normalizer=_as_cached,
                score=partial(fitted.log_probabilities, head=place),
                n_classes=n_classes,
                log_probabilities=True,
                seconds=fitting + (0.0 if trial is None else tuning / len(kinds)),
                backend="torch",
                seed=recipe.seed,
                details={
                    **asdict(head),
                    "train_loss": float(fitted.losses[place]),
                    **selection,
                    **shared,
                },
            )
        )
    return found


def _has_batch_norm(variant: Variant) -> bool:
    return variant.normalization == "bn"


def try_heads(
    views: Sequence[Array],
    train: Array,
    labels: Labels,
    n_classes: int,
    heads: Sequence[Head],
    recipe: Recipe,
    held_out: Mask,
    device: torch.device | str,
) -> list[Trial]:
    """Heads fitted on the inner part of train and judged on the hold-out."""
    inner = np.flatnonzero(~held_out)
    fitted = fit_heads(heads, views, labels, n_classes, recipe, rows=inner, device=device)
    accuracies = fitted.accuracies(train[held_out], labels[held_out])
    return [
        Trial(
            head.learning_rate,
            head.batch_norm,
            float(accuracy) if epoch is None else None,
            float(loss) if np.isfinite(loss) else None,
            epoch,
        )
        for head, accuracy, loss, epoch in zip(
            heads, accuracies, fitted.losses, fitted.diverged, strict=True
        )
    ]


def best_trial(trials: Sequence[Trial], batch_norm: bool) -> Trial:
    """The finite trial with the best hold-out accuracy; of equals, the smallest learning rate.

    Raises
    ------
    ProbelineError
        When every head diverged.
    """
    finite = [t for t in trials if t.batch_norm == batch_norm and t.holdout_top1 is not None]
    if not finite:
        raise ProbelineError(
            "SGD heads",
            "every learning rate diverged",
            expected="a head with finite weights",
            found="rates " + ", ".join(f"{t.learning_rate:g}" for t in trials),
            remedy="add smaller learning rates, or look for features of extreme size: "
            "`probeline cache verify --deep`",
        )
    return min(finite, key=lambda t: (-(t.holdout_top1 or 0.0), t.learning_rate))


def _selection(trial: Trial, rates: Sequence[float]) -> dict[str, Any]:
    at_edge = len(rates) > 1 and trial.learning_rate in (min(rates), max(rates))
    return {"holdout_top1": trial.holdout_top1, "rate_at_grid_edge": at_edge}


def _as_cached(features: Features) -> Features:
    return features


def _finite(fitted: FittedHeads, place: int) -> bool:
    return fitted.diverged[place] is None
