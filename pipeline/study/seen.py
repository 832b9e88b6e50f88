"""What a model saw of a data set before it was evaluated there: one rule, whoever trained it.

A model that was trained on the images of a data set has an advantage there, and one that had the
labels of the classes that are tested has had them all, however few a probe is given. What a model
was trained on is said by `trained_on` (for the zoo, by the catalogue), and of models that the study
pre-trains by `pretrain`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from pipeline.datasets.known import compact, corpora, known_names, spellings, with_contents

if TYPE_CHECKING:
    from pipeline.datasets.settings import Dataset
    from pipeline.study.schema import Study

_ELSEWHERE = re.compile(r"other\([^()]*\w[^()]*\)")
"""What nobody here knows, named so that a slip of the pen is not taken for it."""


class Seen(StrEnum):
    """What a model saw of a data set; as scores.csv spells it."""

    IMAGES = "images"
    BOTH = "images and labels"
    LABELS = "labels"

    @property
    def is_of_the_data_set(self) -> bool:
        """Whether the model was trained on this very data set."""
        return self is not Seen.LABELS

    @property
    def is_of_labels(self) -> bool:
        """Whether the model had labels of classes that are tested here."""
        return self is not Seen.IMAGES

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS = {
    Seen.IMAGES: "trained on it, without its labels",
    Seen.BOTH: "trained on it, with its labels",
    Seen.LABELS: "trained on other images with labels of its classes",
}


def seen_cells(
    study: Study, classes_of: Callable[[str], Collection[str]]
) -> dict[tuple[str, str], Seen]:
    """Which models of a study saw which of its data sets; of all others nothing is known.

    A data set is one that `trained_on` names where its name in the study, the known data set that
    it is, or its `alias` is named, or a corpus that contains it. Labels are seen by models with
    `supervision: supervised`. Classes are the same where their names are: whoever had labels of a
    data set of the study has those of its shifts, too.

    Parameters
    ----------
    study : Study
    classes_of : callable
        From a data set of the study to the names of its classes; asked only where labels were seen.

    Returns
    -------
    dict of (str, str) to Seen
        By model and data set.
    """
    trained = {model: trained_here(study, model) for model in study.models}
    labelled = {model: learned for model in study.models if (learned := _labels(study, model))}
    classes: dict[str, set[str]] = {}
    if labelled:
        classes = {name: set(classes_of(name)) for name in study.datasets}
    found = {}
    for model, datasets in trained.items():
        learned = labelled.get(model, {})
        known = {c for name, some in learned.items() for c in some or classes[name]}
        for name in study.datasets:
            shared = bool(known & classes.get(name, set()))
            if name in datasets:
                found[model, name] = Seen.BOTH if shared else Seen.IMAGES
            elif shared:
                found[model, name] = Seen.LABELS
    return found


def trained_here(study: Study, model: str) -> set[str]:
    """Data sets of the study on whose images a model was trained."""
    entry = study.models[model]
    made = study.pretrain.get(entry.made_by or "")
    own = {made.dataset} if made is not None and made.method != "random" else set()
    said = with_contents(canonical(study.datasets, name) or name for name in entry.trained_on or ())
    return own | {name for name, d in study.datasets.items() if said & names_of(name, d)}


def _labels(study: Study, model: str) -> dict[str, list[str]]:
    """Data sets of the study with whose labels a model was trained: of which classes; []: all."""
    entry = study.models[model]
    made = study.pretrain.get(entry.made_by or "")
    found: dict[str, list[str]] = {}
    if entry.supervision == "supervised" and entry.trained_on:
        found = {name: [] for name in trained_here(study, model)}
    if made is not None and made.sees_labels:
        found[made.dataset] = made.classes
    elif made is not None:
        found.pop(made.dataset, None)
    return found


def names_of(name: str, dataset: Dataset) -> set[str]:
    """All names by which `trained_on` may mean a data set."""
    alias = dataset.alias and spellings().get(compact(dataset.alias), dataset.alias)
    return {name, *filter(None, (dataset.known_as, dataset.alias, alias))}


def canonical(datasets: Mapping[str, Dataset], name: str) -> str | None:
    """The name by which a word of `trained_on` is known; None where it names nothing.

    Names of the study come first and are taken to the letter; of known data sets and corpora,
    capitals, spaces, dots, ``-`` and ``_`` do not matter, and usual other names are understood.
    ``other(WORDS)`` is whatever nobody here knows.
    """
    if any(name in names_of(key, entry) for key, entry in datasets.items()):
        return name
    if _ELSEWHERE.fullmatch(name):
        return name
    return spellings().get(compact(name))


def legal_names(datasets: Mapping[str, Dataset]) -> list[str]:
    """What `trained_on` may name, for a message."""
    own = [name for key, entry in datasets.items() for name in sorted(names_of(key, entry))]
    return list(dict.fromkeys([*own, *known_names(), *corpora()]))
