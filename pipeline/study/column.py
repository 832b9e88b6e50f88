"""A column of scores: one variant on one data set, over all models."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.study.protocol_list import classifies, protocol_label
from pipeline.study.variant import Variant

EACH_TARGET = "each target"
"""Stands for the data set of a predictor that is measured on the target's train split."""


@dataclass(frozen=True)
class Column:
    """A variant on a data set, or on `EACH_TARGET`."""

    variant: Variant
    dataset: str

    @property
    def protocol(self) -> str:
        """What the variant is of."""
        return self.variant.protocol

    @property
    def key(self) -> tuple[str, str]:
        """The variant's full name, and the data set."""
        return self.variant.full_name, self.dataset

    @property
    def name(self) -> str:
        """As in correlation.nc: ``protocol/variant@data set``."""
        return column_name(*self.key)

    @property
    def words(self) -> str:
        """The protocol, whose headline a column is; of transferability metrics their name."""
        return protocol_label(self.protocol) if classifies(self.protocol) else self.variant.label

    @property
    def label(self) -> str:
        """The reader's words: ``linear probe on digits``, ``RankMe on digits``."""
        return f"{self.words} on {self.dataset}"


def column_name(variant: str, dataset: str) -> str:
    """Of a variant by its full name; no protocol and no variant has an ``@`` in its name."""
    return f"{variant}@{dataset}"
