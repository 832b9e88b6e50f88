"""Words that name a split: one rule for folders, tables' columns, shards and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cache.errors import ProbelineError
from pipeline.datasets.settings import Dataset, Split
from pipeline.project.paths import SPLITS
from pipeline.project.words import yaml_list

FURTHER: Mapping[str, Split] = {
    "testing": "val", "dev": "val", "development": "val", "eval": "val", "evaluation": "val",
    "holdout": "val", "hold-out": "val", "held_out": "val", "tst": "val", "trn": "train",
}  # fmt: skip
"""Words beside those of `splits` by default, where a folder or a cell is nothing but the word."""


def split_words(dataset: Dataset) -> dict[str, Split]:
    """Each word in small letters with its split: those that the study says, or all that are known.

    Parameters
    ----------
    dataset : Dataset
    """
    words: dict[str, Split] = {} if says_splits(dataset) else dict(FURTHER)
    return words | {word.casefold(): split for split in SPLITS for word in dataset.splits[split]}


def says_splits(dataset: Dataset) -> bool:
    """Whether the study itself says which words name a split."""
    return "splits" in dataset.model_fields_set


def splits_text(of: Mapping[Split, Iterable[str]]) -> str:
    """The key `splits` with these words, as params.yaml may hold it; ``[…]`` where there is none.

    Parameters
    ----------
    of : mapping of str to iterable of str
        By split.
    """
    lists = {split: list(of.get(split, ())) for split in SPLITS}
    words = (f"{split}: {yaml_list(its) if its else '[…]'}" for split, its in lists.items())
    return f"splits: {{{', '.join(words)}}}"


def refuse_two_words(
    name: str,
    dataset: Dataset,
    found: Mapping[str, Split],
    what: str,
    left_out: Callable[[list[str], list[str]], str],
) -> None:
    """Refuse `val` beside `test`, unless the study says which of them are meant.

    Parameters
    ----------
    name : str
        Of the data set.
    dataset : Dataset
    found : mapping of str to str
        The words that are there, as they are spelled, with their split.
    what : str
        What they are: ``folders``.
    left_out : callable
        From words that are taken, and those that are not, to what leaves the latter out.

    Raises
    ------
    ProbelineError
        Naming them.
    """
    of = {split: [word for word, its in found.items() if its == split] for split in SPLITS}
    wanted: tuple[Split, ...] = ("val",) if dataset.test_only else SPLITS
    if says_splits(dataset) or not all(of[split] for split in wanted):  # these are no splits, then
        return
    for split, both in of.items():
        distinct = list(dict.fromkeys(word.casefold() for word in both))
        if len(distinct) < 2:
            continue
        one = [word for word in both if word.casefold() == distinct[-1]]
        taken = {s: one if s == split else _of_one_word(words) for s, words in of.items()}
        kept = [word for words in taken.values() for word in words]
        others = [word for word in found if word not in kept]
        raise ProbelineError(
            f"data set {name}",
            f"{len(distinct)} {what} could be the {split} split",
            expected="one, or a study that says which",
            found=", ".join(both),
            remedy=f"say so in datasets.{name}: all of them, `{splits_text(of)}`; or one, "
            f"`{splits_text(taken)}` and `{left_out(kept, others)}`",
        )


def _of_one_word(words: list[str]) -> list[str]:
    """The first of some words, in all its spellings."""
    return [word for word in words if word.casefold() == words[0].casefold()]
