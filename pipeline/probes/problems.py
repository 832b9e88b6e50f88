"""What a few-shot head tells apart: all classes, a few of them at a time, or coarse ones.

Problems of one data set differ in their classes alone: labelled images, test images and draws are
the same, and so are the models' embeddings. What changes in a comparison of models from one to the
next is due to how complex the problem is.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.errors import ProbelineError
from pipeline.project.paths import PARAMS
from pipeline.study.fewshot import Fewshot

Labels = NDArray[np.int64]

_STREAM = (0, 1)
"""Numbers after seed and draw that no class's shuffle of images has (`pipeline.probes.shots`)."""


@dataclass(frozen=True)
class Part:
    """One fit: some classes, and the test images that are judged among them.

    Attributes
    ----------
    codes : ndarray of shape (n_classes,), int64
        What the head learns each of the data set's classes as, from 0; -1 for those left out.
    judged : ndarray of shape (n_classes,), bool
        The classes whose test images are judged.
    labels : ndarray of shape (n_codes,), int64
        What is stored for each code where it is predicted.
    """

    codes: Labels
    judged: NDArray[np.bool_]
    labels: Labels


@dataclass(frozen=True)
class Problem:
    """One way to ask what is on the test images.

    Attributes
    ----------
    n_classes : int
        Among how many each test image is judged.
    chance : float
        Accuracy of the best constant guess where the data set's own classes are equally frequent.
    truth : ndarray of shape (n_classes,), int64
        What is stored for each of the data set's classes where it is told rightly.
    parts : callable
        From the number of a draw to its fits; every class is judged in exactly one of them.
    ways : int or None
        `n_classes`, where each test image is judged among a few of the classes.
    names : tuple of str
        Of the stored labels, where they are not the data set's own: those of coarse classes.
    """

    n_classes: int
    chance: float
    truth: Labels
    parts: Callable[[int], Iterator[Part]]
    ways: int | None = None
    names: tuple[str, ...] = ()


def all_classes(n_classes: int) -> Problem:
    """The data set's own problem; chance is 1/C of its C classes."""
    labels = np.arange(n_classes)
    whole = Part(labels, np.ones(n_classes, bool), labels)
    return Problem(n_classes, 1 / n_classes, labels, _always(whole))


def a_few_classes(n_classes: int, size: int, seed: int) -> Problem:
    """Every test image among `size` classes, so that chance is exactly 1/`size`.

    Each draw shuffles the classes and cuts them into tasks. What is left over makes a last task,
    filled up with the first classes of the shuffle, whose own images are judged in the first. The
    shuffle depends on the seed and the draw's number alone: tasks are the same for all models, and
    those of 2 classes lie in those of 4, so that a change from one to the other is paired by
    classes, too.

    Parameters
    ----------
    n_classes : int
    size : int
        From 2 to below `n_classes`.
    seed : int
    """

    def parts(number: int) -> Iterator[Part]:
        order = np.random.default_rng([seed, number, *_STREAM]).permutation(n_classes)
        for start in range(0, n_classes, size):
            own = order[start : start + size]
            # In ascending order, in which equal scores are decided.
            classes = np.sort(np.concatenate([own, order[: size - len(own)]]))
            codes = np.full(n_classes, -1)
            codes[classes] = np.arange(size)
            judged = np.zeros(n_classes, bool)
            judged[own] = True
            yield Part(codes, judged, classes)

    return Problem(size, 1 / size, np.arange(n_classes), parts, ways=size)


def coarse_classes(coarse: Mapping[str, Sequence[str]], classes: Sequence[str]) -> Problem:
    """The data set's classes merged into coarser ones, whose places in `coarse` are stored.

    The best constant guess is the coarse class that most classes belong to.

    Parameters
    ----------
    coarse : mapping of str to sequence of str
        Names every class exactly once.
    classes : sequence of str
    """
    place = {name: code for code, names in enumerate(coarse.values()) for name in names}
    codes = np.array([place[name] for name in classes], np.int64)
    merged = Part(codes, np.ones(len(classes), bool), np.arange(len(coarse)))
    chance = float(np.bincount(codes).max()) / len(classes)
    return Problem(len(coarse), chance, codes, _always(merged), names=tuple(coarse))


def problems_of(settings: Fewshot, dataset: str, classes: Sequence[str]) -> list[Problem]:
    """What is asked of a data set beside all its classes, class counts first.

    A class count that is not below its number of classes is left out.

    Raises
    ------
    ProbelineError
        When its coarse classes do not name every class exactly once.
    """
    few = [size for size in settings.ways if size < len(classes)]
    found = [a_few_classes(len(classes), size, settings.seed) for size in few]
    if dataset in settings.coarse:
        _check(settings.coarse[dataset], dataset, classes)
        found.append(coarse_classes(settings.coarse[dataset], classes))
    return found


def _always(part: Part) -> Callable[[int], Iterator[Part]]:
    """The same single fit in every draw."""

    def parts(number: int) -> Iterator[Part]:
        yield part

    return parts


def _check(coarse: Mapping[str, Sequence[str]], dataset: str, classes: Sequence[str]) -> None:
    place = f"{PARAMS}: fewshot.coarse.{dataset}"
    each_once = f"every class of {dataset} exactly once"
    within: dict[str, str] = {}
    for name, members in coarse.items():
        for member in members:
            if member not in classes:
                near = difflib.get_close_matches(member, classes, n=1)
                raise ProbelineError(
                    f"{place}.{name}",
                    f"{dataset} has no such class",
                    expected=each_once,
                    found=member,
                    remedy=f"did you mean {near[0]}?" if near else f"see {dataset}'s index",
                )
            if member in within:
                raise ProbelineError(
                    f"{place}.{name}",
                    "a class is named twice",
                    expected=each_once,
                    found=f"{member}, also in {within[member]}",
                    remedy="delete it in one of the two",
                )
            within[member] = name
    if absent := [name for name in classes if name not in within]:
        raise ProbelineError(
            place,
            f"{len(absent)} of {len(classes)} classes have no coarse class",
            expected=each_once,
            found="not named: " + ", ".join(absent[:5]) + (", …" if len(absent) > 5 else ""),
            remedy=f"add them to one of {', '.join(coarse)}",
        )
