"""Which images a run learns from, and which of train are held out to choose the epoch by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.datasets.index import Index
from pipeline.heads.inner_splits import held_out_parts, scheme_for
from pipeline.probes.shots import make_draws
from pipeline.project.words import number_of
from pipeline.study.finetune import Run

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Given:
    """What a run is given of a train split.

    Attributes
    ----------
    learned, held_out : ndarray of int64
        Rows of the train split, ascending; `held_out` is empty where the last epoch is taken.
    share : float
        Of the train split that both together are.
    notes : tuple of str
        What a reader should know.
    """

    learned: Rows
    held_out: Rows
    share: float
    notes: tuple[str, ...]

    @property
    def images(self) -> int:
        """Of both."""
        return len(self.learned) + len(self.held_out)


def given_to(index: Index, run: Run, *, draw_seed: int, seed: int, place: str) -> Given:
    """The images of a run: the few-shot probes' own draw, or all of train.

    Parameters
    ----------
    index : Index
    run : Run
    draw_seed : int
        Of the study's few-shot draws.
    seed : int
        Of the hold-out.
    place : str
        Of the run, for errors.

    Raises
    ------
    ProbelineError
        When a class has no image.
    """
    labels = index.labels("train")
    rows = np.arange(len(labels))
    notes: list[str] = []
    missing = sorted(set(range(len(index.classes))) - set(labels.tolist()))
    if missing:
        raise ProbelineError(
            f"{place}, data set {index.name}",
            "a class has no train image to learn from",
            expected="at least one image of every class",
            found="none of " + ", ".join(index.classes[c] for c in missing[:5]),
            remedy="add images of it, or take it out of the data set",
        )
    if run.few:
        rows, notes = _drawn(index, labels, run, draw_seed)
    share = len(rows) / len(labels)
    if run.keeps == "last":
        said = "the last epoch is taken, as asked" if run.selection else "the last epoch is taken"
        return Given(rows, rows[:0], share, (*notes, said))
    if scheme_for(labels[rows]) == "fixed":
        notes.append("too few images for a hold-out: all are learned from, the last epoch is taken")
        return Given(rows, rows[:0], share, tuple(notes))
    groups = index.split("train")["group"].fillna("").to_numpy(str)
    part = held_out_parts(labels[rows], "holdout", seed, groups[rows])
    (mask,) = part.masks
    if (groups[rows] != "").any() and not part.by_group:
        notes.append("the hold-out splits groups: each class lies within one")
    return Given(rows[~mask], rows[mask], share, tuple(notes))


def _drawn(index: Index, labels: NDArray[np.int64], run: Run, seed: int) -> tuple[Rows, list[str]]:
    """One draw, equal to the stored one of its number, and what is special about it."""
    classes = len(index.classes)
    budget = run.budget(len(labels), classes)
    draws = make_draws(
        labels,
        classes,
        [budget],
        seed=seed,
        few_draws=run.draw + 1,
        draws=run.draw + 1,
        names=index.draw_names("train"),
    )
    draw, notes = draws[run.draw], []
    if draw.short:
        short = number_of(len(draw.short), "class has", "classes have")
        notes.append(f"{short} fewer images than asked; all were taken")
    if run.fraction is not None and run.as_published:
        if run.fraction * len(labels) < classes:
            notes.append("the fraction is less than one image of each class; each was given 1")
    elif run.fraction is not None:
        counts = np.bincount(labels, minlength=classes)
        raised = int((np.round(run.fraction * counts) < 1).sum())
        if raised:
            none = number_of(raised, "class", "classes")
            notes.append(f"the fraction leaves {none} without an image; each was given 1")
    return draw.rows, notes
