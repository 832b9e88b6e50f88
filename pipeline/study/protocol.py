"""What a protocol is: its name and words, its settings, its variants, its cells, its key, its run.

`protocol_list` has all protocols; whoever runs, keys, reads or shows records asks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a study's schema is made of the protocols' sections
    from pipeline.datasets.index import Index
    from pipeline.study.schema import Study
    from pipeline.study.variant import Variant

Say = Callable[[str], None]
"""Prints a line of a stage."""


def _has_train_images(study: Study, dataset: str, model: str) -> bool:
    return not study.datasets[dataset].test_only


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to tell how good a model's features are.

    Attributes
    ----------
    name : str
        As in scores.csv; its stage in dvc.yaml and its folder of records are called so.
    label : str
        The reader's words.
    sections : tuple of str
        Of params.yaml, that its numbers depend on.
    sentence : callable
        What it does, by the settings in force.
    variants : callable
        All that the study can make, the headline first.
    run : callable
        Scores what the study misses; gives the numbers of records found and made.
    backends : tuple of str
        What can compute it (`pipeline.machine.backends`); the first is taken on a CPU.
    finish : callable
        What its stage does at the end, even if the study does not ask for the protocol.
    is_wanted : callable
        Whether the study asks for it at all.
    is_asked : callable
        Whether it asks for a record on this data set and model; else that is *not run*, and no gap.
    not_run : callable
        What is left out, and why, in lines for the user.
    settings : callable
        Of its sections, those that count only in part on one data set: that part.
    rules : callable
        What its numbers depend on beside the settings.
    counts : callable, optional
        Of a record's key, what one variant depends on among its settings, sources and views, so
        that it is computed once whatever becomes of the others; None where the cell does not have
        that variant. Without it, every variant depends on all. See `pipeline.study.variant_keys`.
    sources : callable, optional
        Data sets that it is trained on, other than the one tested on; None: that one.
    views : callable
        How many augmented views of train it reads.
    key : callable, optional
        Of a record that is not made from embeddings; None: `pipeline.study.records.record_key`.
    drawn : bool
        Whether it draws few images of train.
    classifies : bool
        Whether it predicts the classes of test images; else it gives `TRANSFERABILITY` alone.
    reaches_all : bool
        Whether it scores every data set with train images.
    names : mapping of str to str
        The reader's words for variants that are called by a name.
    """

    name: str
    label: str
    sections: tuple[str, ...]
    sentence: Callable[[Study], str]
    variants: Callable[[Study], Iterable[Variant]]
    run: Callable[[Study, Say], tuple[int, int]]
    backends: tuple[str, ...] = ("numpy",)
    finish: Callable[[Study], None] = lambda study: None
    is_wanted: Callable[[Study], bool] = lambda study: True
    is_asked: Callable[[Study, str, str], bool] = _has_train_images
    not_run: Callable[[Study], list[str]] = lambda study: []
    settings: Callable[[Study, str], dict[str, Any]] = lambda study, dataset: {}
    rules: Callable[[], dict[str, Any]] = dict
    counts: Callable[[Mapping[str, Any], Variant], dict[str, Any] | None] | None = None
    sources: Callable[[Study, str], list[str]] | None = None
    views: Callable[[Study], int] = lambda study: 0
    key: Callable[[Study, Index, str], dict[str, Any]] | None = None
    drawn: bool = False
    classifies: bool = True
    reaches_all: bool = True
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """The label at the beginning of a line: ``Linear probe``, but ``kNN``."""
        return self.label.capitalize() if self.label.islower() else self.label
