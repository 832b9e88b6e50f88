"""Few-shot classification: the study's draws, stored once a data set, and the probe on a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cache.records import is_current_record, write_record
from pipeline.datasets.index import Index, read_index
from pipeline.heads.shot_classifiers import Classifier, logistic_over, prototypes, ridge_over
from pipeline.heads.tuning import FEWSHOT_CS, FEWSHOT_PENALTIES
from pipeline.probes.episode_scores import episode_rows, episode_table
from pipeline.probes.episodes import run_episodes
from pipeline.probes.needs import fewshot_need
from pipeline.probes.problems import problems_of
from pipeline.probes.protocol import run_protocol
from pipeline.probes.reading import read_rows, rows_of
from pipeline.probes.shots import Draw, make_draws
from pipeline.probes.task import Scored, Task, shape_of
from pipeline.project.paths import records_folder
from pipeline.study.budget import budgets
from pipeline.study.fewshot import FEWSHOT, Fewshot
from pipeline.study.protocol import Say
from pipeline.study.schema import Study

DRAWS_FORMAT = 1


def score_all(study: Study, say: Say) -> tuple[int, int]:
    """Score what the study misses, by the stored draws of every data set."""
    for dataset, entry in study.datasets.items():
        if not entry.test_only:
            _prepare(study.fewshot, read_index(dataset), say)
    return run_protocol(
        study,
        FEWSHOT.name,
        partial(run_fewshot, study),
        lambda task: fewshot_need(study, shape_of(task)),
        say=say,
    )


def _prepare(settings: Fewshot, index: Index, say: Say) -> None:
    """Check a data set's problems and store its draws; say what it is too small for."""
    problems_of(settings, index.name, index.classes)
    for count in settings.ways:
        if count >= len(index.classes):
            say(f"{index.name}: not {count} classes at a time of {len(index.classes)}")
    for budget, labels in short_classes(store_draws(settings, index)).items():
        some = ", ".join(index.classes[label] for label in labels[:3])
        more = ", …" if len(labels) > 3 else ""
        say(
            f"{index.name}: {len(labels)} of {len(index.classes)} classes "
            f"{'has' if len(labels) == 1 else 'have'} too few train images for {budget} "
            f"({some}{more}); all of theirs are taken"
        )


def run_fewshot(study: Study, task: Task) -> Scored:
    """The task's heads on every draw of its train split, tested on all of val.

    A study's variants are budgets (shots, then shares) in the order of the settings, each with the
    heads in theirs; then the further problems, of the first budget. Of the train cell only drawn
    rows are held.
    """
    settings = study.fewshot
    labels, val_labels = task.train.labels(), task.val.labels()
    names = read_index(task.dataset).draw_names("train")
    wanted = task.wanted(study, FEWSHOT)
    asked = {variant.budget for variant in wanted}
    draws = [d for d in draws_of(settings, labels, len(task.classes), names) if d.budget in asked]
    drawn = np.unique(np.concatenate([draw.rows for draw in draws]))
    among_drawn = [replace(draw, rows=np.searchsorted(drawn, draw.rows)) for draw in draws]
    episodes = run_episodes(
        _classifiers(settings, task.backend),
        among_drawn,
        read_rows(task.train, drawn),
        labels[drawn],
        rows_of(task.val, streamed=task.streamed),
        val_labels,
        len(task.classes),
        None if task.train_groups is None else task.train_groups[drawn],
        problems_of(settings, task.dataset, task.classes),
        wanted,
    )
    rows = [
        row
        for each in episodes
        for row in episode_rows(
            each, val_labels, task.classes, task.groups, seed=settings.seed, backend=task.backend
        )
    ]
    return Scored(rows, episode_table(episodes))


def draws_of(
    settings: Fewshot,
    labels: NDArray[np.integer],
    n_classes: int,
    names: Sequence[str] | None = None,
) -> list[Draw]:
    """The draws of a train split, the same for every model; see `make_draws` for `names`."""
    return make_draws(
        labels,
        n_classes,
        budgets(settings.shots, settings.fractions),
        seed=settings.seed,
        few_draws=settings.episodes,
        draws=settings.episodes_above_five,
        names=names,
    )


def draws_path(dataset: str) -> Path:
    """Which images were drawn from a data set; no model's record can have this name."""
    return records_folder(FEWSHOT.name, dataset) / "images.drawn.parquet"


def store_draws(settings: Fewshot, index: Index) -> list[Draw]:
    """Store which images each draw of a data set holds: budget, draw, row and path of each.

    Rows are those of the train split. Nothing is written where the same draws lie there already.
    """
    names = index.draw_names("train")
    draws = draws_of(settings, index.labels("train"), len(index.classes), names)
    key = {
        "format": DRAWS_FORMAT,
        "train": index.samples_digest("train"),
        "settings": settings.to_key(exclude={"heads", "ways", "coarse"}),
    }
    if names is not None:
        key["seeds"] = index.seeds
    path = draws_path(index.name)
    if not is_current_record(path, key):
        write_record(path, key=key, scores=[], outcomes=_draw_table(draws, index))
    return draws


def short_classes(draws: list[Draw]) -> dict[str, tuple[int, ...]]:
    """Labels of the classes that have fewer images than a budget asks for, by budget's name."""
    return {draw.budget.name: draw.short for draw in draws if draw.short}


def _draw_table(draws: list[Draw], index: Index) -> pa.Table:
    sizes = [len(draw.rows) for draw in draws]
    rows = np.concatenate([draw.rows for draw in draws])
    names = pa.array([draw.budget.name for draw in draws])
    return pa.table(
        {
            "budget": names.take(pa.array(np.repeat(np.arange(len(draws)), sizes))),
            "draw": np.repeat([draw.number for draw in draws], sizes).astype(np.int32),
            "row": rows,
            "path": pa.array(index.split("train")["path"]).take(pa.array(rows)),
        }
    )


def _classifiers(settings: Fewshot, backend: str) -> dict[str, Classifier]:
    known = {
        "prototypes": prototypes,  # a mean and one product: no device gains by it
        "ridge": ridge_over(FEWSHOT_PENALTIES, backend),
        "logistic": logistic_over(FEWSHOT_CS, settings.seed, backend),
    }
    return {head: known[head] for head in settings.heads}
