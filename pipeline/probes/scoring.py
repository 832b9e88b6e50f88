"""From class scores to per-image outcomes, and from outcomes to rows of scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cache.errors import NonFiniteError
from cache.records import repeated
from pipeline.heads.slabs import slabs
from pipeline.study import metrics
from pipeline.study.metric import Predictions


@dataclass(frozen=True)
class Outcome:
    """What one variant of a protocol says of every test image.

    Attributes
    ----------
    variant : str
        Name of the settings, e.g. ``k20_euclidean_distance_none``.
    predicted : ndarray of shape (n_test,), int32
        Predicted label.
    rank : ndarray of shape (n_test,), int32
        Place of the true class among the classes sorted by score; 1 is a hit. Top-k accuracy is
        the share of ranks up to k. A class without any vote or probability has the last place.
    log_probability : ndarray of shape (n_test,), float32
        Natural logarithm of the probability given to the true class; NaN where the variant gives
        scores that are no probabilities.
    confidence : ndarray of shape (n_test,), float64
        Probability given to the predicted class; NaN likewise. Stored as float32.
    seconds : float
        Spent on this variant.
    backend : str
        What computed it.
    seed : int or None
        Of whatever was drawn.
    details : dict
        What was selected, and whether it converged.
    places : int or None
        Classes that can have a score of their own: of k neighbours' votes k. None: all.
    """

    variant: str
    predicted: NDArray[np.int32]
    rank: NDArray[np.int32]
    log_probability: NDArray[np.float32]
    confidence: NDArray[np.float64]
    seconds: float
    backend: str
    seed: int | None
    details: dict[str, Any]
    places: int | None = None


def make_outcome(
    variant: str,
    probabilities: NDArray[np.floating] | Iterable[NDArray[np.floating]],
    labels: NDArray[np.integer],
    *,
    seconds: float,
    backend: str,
    seed: int | None = None,
    details: dict[str, Any] | None = None,
    are_probabilities: bool = True,
    places: int | None = None,
) -> Outcome:
    """Judge class probabilities, or scores of another kind (larger is likelier).

    Equal probabilities are ordered by class index, as `numpy.argmax` does: the same rule for the
    prediction and for the true class's rank. Of classes without any, none is before another: all
    have the last place, or the first classes of the alphabet would be hits of top-5 accuracy.

    Parameters
    ----------
    variant : str
    probabilities : ndarray of shape (n_test, n_classes), or iterable of such
        All rows, or slabs of them in order, each of which is let go once it is judged.
    labels : ndarray of shape (n_test,)
    seconds, backend, seed, details, places
        See `Outcome`.
    are_probabilities : bool
        Whether log loss and calibration mean something. Scores may be minus infinity, for classes
        that can't be predicted.
    """
    n = len(labels)
    outcome = Outcome(
        variant,
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.full(n, np.nan, np.float32),
        np.full(n, np.nan),
        seconds,
        backend,
        seed,
        details or {},
        places,
    )
    start = 0
    for values in _pieces(probabilities):
        _judge(outcome, slice(start, start + len(values)), values, labels, are_probabilities)
        start += len(values)
    assert start == n
    return outcome


def _pieces(
    probabilities: NDArray[np.floating] | Iterable[NDArray[np.floating]],
) -> Iterator[NDArray[np.floating]]:
    if isinstance(probabilities, np.ndarray):
        yield from (probabilities[rows] for rows in slabs(*probabilities.shape))
    else:
        yield from probabilities


def _judge(
    outcome: Outcome,
    rows: slice,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    are_probabilities: bool,
) -> None:
    """Fill in an outcome's rows."""
    finite = np.isfinite(probabilities)
    if not are_probabilities:
        finite |= np.isneginf(probabilities)
    if not finite.all():  # NaN compares as "not ahead": a hit for every row
        raise NonFiniteError(
            f"variant {outcome.variant}",
            "a class probability is not a finite number",
            remedy="look for features of extreme size: `probeline cache verify --deep`",
        )
    truth = labels[rows]
    of_truth = probabilities[np.arange(len(truth)), truth][:, np.newaxis]
    classes = np.arange(probabilities.shape[1])
    ahead = (probabilities > of_truth) | (
        (probabilities == of_truth) & (classes < truth[:, np.newaxis])
    )
    rank = 1 + ahead.sum(axis=1)
    nothing = of_truth[:, 0] == (0 if are_probabilities else -np.inf)
    rank[nothing & (rank > 1)] = probabilities.shape[1]
    outcome.rank[rows] = rank
    outcome.predicted[rows] = probabilities.argmax(axis=1)
    if are_probabilities:
        with np.errstate(divide="ignore"):  # a class without a vote: minus infinity, as it is
            outcome.log_probability[rows] = np.log(of_truth[:, 0])
        outcome.confidence[rows] = probabilities.max(axis=1)


def score_rows(
    outcome: Outcome,
    labels: NDArray[np.integer],
    n_classes: int,
    n_train: int,
    groups: NDArray[np.str_] | None = None,
    *,
    held_out: bool = False,
) -> list[dict[str, Any]]:
    """One row for each of `pipeline.study.metrics.METRICS` whose needs are met.

    Parameters
    ----------
    outcome : Outcome
    labels : ndarray of shape (n_test,)
    n_classes, n_train : int
    groups : ndarray of shape (n_test,), optional
    held_out : bool
        Whether each group was predicted by what the others taught.
    """
    predictions = Predictions(
        outcome.predicted,
        outcome.rank,
        outcome.log_probability,
        outcome.confidence,
        labels,
        labels,
        n_classes,
        groups,
        held_out,
        outcome.places,
    )
    rows = []
    for metric in metrics.METRICS:
        if not metric.needs <= predictions.offers:
            continue
        low, high = metric.interval(predictions) if metric.interval else (None, None)
        rows.append(
            {
                "variant": outcome.variant,
                "metric": metric.name,
                "value": metric.value(predictions),
                "ci_low": low,
                "ci_high": high,
                "n_train": n_train,
                "n_test": len(labels),
                "seed": outcome.seed,
                "seconds": round(outcome.seconds, 4),
                "backend": outcome.backend,
                "details": outcome.details,
            }
        )
    return rows


def stored_outcome(table: pa.Table, row: Mapping[str, Any]) -> Outcome:
    """The outcome that a table of one variant was made of.

    Parameters
    ----------
    table : pyarrow.Table
        See `outcome_table`.
    row : mapping
        One of the variant's; see `score_rows`.
    """
    columns = ("predicted", "rank", "log_probability", "confidence")
    told = (row[name] for name in ("seconds", "backend", "seed", "details"))
    return Outcome(row["variant"], *(table[name].to_numpy() for name in columns), *told)


def outcome_table(outcomes: Sequence[Outcome]) -> pa.Table:
    """All outcomes as one table: variant, sample, predicted, rank, log_probability, confidence."""
    if not outcomes:
        return pa.table({"variant": pa.array([], pa.string())})
    sizes = [len(o.predicted) for o in outcomes]
    return pa.table(
        {
            "variant": repeated([o.variant for o in outcomes], sizes),
            "sample": np.concatenate([np.arange(n, dtype=np.int32) for n in sizes]),
            "predicted": np.concatenate([o.predicted for o in outcomes]),
            "rank": np.concatenate([o.rank for o in outcomes]),
            "log_probability": np.concatenate([o.log_probability for o in outcomes]),
            "confidence": np.concatenate([o.confidence.astype(np.float32) for o in outcomes]),
        }
    )
