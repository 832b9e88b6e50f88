"""Section `datasets` of params.yaml: where labelled images are, and how they are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.datasets import source_list
from pipeline.datasets.known import known_dataset
from pipeline.project.section import Section, Seed, one_of

Split = Literal["train", "val"]


def _both_splits(words: dict[Split, list[str]]) -> dict[Split, list[str]]:
    if words.keys() != {"train", "val"}:
        raise ValueError("both `train` and `val`, each with a list of words")
    if any(words.values()) and not all(words.values()):
        raise ValueError("at least one word for each split (or none for both: no splits)")
    if shared := set(words["train"]) & set(words["val"]):
        raise ValueError(f"words that name one split only (in both: {', '.join(sorted(shared))})")
    return words


def _a_source(text: str) -> str:
    if source_list.find_source(text) is None:
        legal = [source.words for source in source_list.SOURCES]
        raise ValueError(one_of(text, legal, "a data source"))
    return text


Pattern = Annotated[str, Field(min_length=1)]
"""Of a file or folder that is no part of a data set: ``*.txt``, ``drafts``, ``train/green``."""


class Columns(Section):
    """Which columns of a manifest hold what."""

    path: str = "path"
    label: str = "label"
    split: str | None = "split"
    group: str | None = None


class Expected(Section):
    """Counts that the index must find."""

    train: int | None = Field(default=None, ge=1)
    val: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=2)


class MissingClasses(Section):
    """Classes that are known to have no images in one of the splits.

    Of those without train images, val images count as errors of a head with all classes.
    """

    train: list[str] = []
    val: list[str] = []

    @model_validator(mode="after")
    def _are_somewhere(self) -> Self:
        if nowhere := sorted(set(self.train) & set(self.val)):
            raise ValueError(f"classes that lack one split only (in both: {', '.join(nowhere)})")
        return self


class Dataset(Section):
    """Labelled images with a train and a val split; one that is `test_only` has val alone."""

    source: Annotated[str, AfterValidator(_a_source)]
    role: Literal["in_domain", "out_of_domain"]
    path: str | None = None
    manifest: str | None = None
    columns: Columns = Columns()
    filter: dict[str, str | int | list[str | int]] = {}
    splits: Annotated[dict[Split, list[str]], AfterValidator(_both_splits)] = {
        "train": ["train", "training"],
        "val": ["val", "valid", "validation", "test"],
    }
    val_fraction: float = Field(0.2, gt=0, lt=1)
    seed: Seed = 0
    limit_per_class: int | None = Field(None, ge=1)
    expected: Expected = Expected()
    missing_classes: MissingClasses = MissingClasses()
    on_bad_image: Literal["error", "skip"] = "error"
    class_folder: Literal["first", "path"] | None = None
    leave_out: list[Pattern] = []
    white: float | None = Field(None, gt=0, allow_inf_nan=False)
    cluster: str | None = None
    shift: str | None = None
    alias: str | None = Field(None, min_length=1)
    pad: bool | Literal["crop"] = False
    test_only: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_the_known(cls, said: Any) -> Any:
        """What the entry says itself goes before what is known of the data set."""
        if not isinstance(said, dict) or not str(said.get("source", "")).startswith("known:"):
            return said
        try:
            known = known_dataset(str(said["source"]).removeprefix("known:")).entry
        except KeyError as error:
            raise ValueError(f"one of `probeline datasets known`; {error.args[0]}") from None
        return {**known, **said}

    @property
    def _said(self) -> set[str]:
        """Keys that the entry gives another value than their default."""
        return {
            key
            for key, field in type(self).model_fields.items()
            if key in self.model_fields_set and getattr(self, key) != field.default
        }

    @property
    def known_as(self) -> str | None:
        """The known data set that it is; None for all others."""
        return self.source_name if self.source.startswith("known:") else None

    @property
    def source_name(self) -> str:
        """What follows the colon in `source`; "" without one."""
        return self.source.partition(":")[2]

    @property
    def has_images(self) -> bool:
        """Whether there are images, and not embeddings alone."""
        return source_list.source_of(self).open is not None

    @model_validator(mode="after")
    def _sources_have_what_they_need(self) -> Self:
        source = source_list.source_of(self)
        for key in source.needs:
            if not getattr(self, key):
                raise ValueError(f"a data set with `source: {self.source}` needs `{key}`")
        unread = {*source_list.SOURCE_KEYS} - {*source.needs, *source.reads}
        if idle := [key for key in source_list.SOURCE_KEYS if key in unread & self._said]:
            others = source_list.that_read(idle[0])
            raise ValueError(
                f"no `{idle[0]}` with `source: {self.source}`, which does not read it"
                + (f" (`source: {others[0]}` does)" if others else "")
            )
        if self.test_only and not self.has_images:
            raise ValueError(f"no `test_only` with `source: {self.source}`, which has both splits")
        if self.test_only and self.missing_classes.train:
            raise ValueError("no `missing_classes.train` with `test_only`, where all classes are")
        if self.filter and not source.filters:
            raise ValueError(f"no `filter` with `source: {self.source}`, which has no such columns")
        if self.limit_per_class is not None and not self.has_images:
            raise ValueError(f"no `limit_per_class` with `source: {self.source}`: import less")
        return self
