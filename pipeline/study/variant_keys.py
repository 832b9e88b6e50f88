"""What one variant of a record depends on: its own key, a part of the record's.

A record's key names all settings of its protocol. Most of them choose variants and change none: a
vote of 5 neighbours is the same whether or not 7 are asked for, too. So a variant that was computed
under other settings is taken from there, where all that counts for it is equal. Keys are compared
as they stand in records; those of former code need no other form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cache.fingerprint import canonical_json
from pipeline.study.protocol_list import find_protocol
from pipeline.study.variant import Variant

PARTED = ("settings", "sources", "views")
"""Entries of a key of which a variant may depend on a part; all others count as they are."""


class VariantKeys:
    """The keys of a record's variants.

    Parameters
    ----------
    key : mapping
        The record's: see `pipeline.study.records.record_key`.
    """

    def __init__(self, key: Mapping[str, Any]) -> None:
        self._key = key
        self._protocol = find_protocol(str(key.get("protocol")))
        self._common = canonical_json({n: value for n, value in key.items() if n not in PARTED})

    def shares(self, other: VariantKeys) -> bool:
        """Whether two records may have a variant in common: embeddings, classes, rules, format."""
        return self._common == other._common

    def of(self, variant: Variant) -> str | None:
        """All that a variant depends on, as text; None where the cell does not have it.

        Raises
        ------
        LookupError, TypeError, AttributeError
            When the key is none of this code's, so that nothing can be said.
        """
        if self._protocol is None or self._protocol.counts is None:
            counts: dict[str, Any] | None = {n: self._key[n] for n in PARTED if n in self._key}
        else:
            counts = self._protocol.counts(self._key, variant)
        if counts is None:
            return None
        return f"{variant.name} {canonical_json(counts)} {self._common}"
