"""What is known of a cell's variants: from its record, and from records that it has replaced.

A record that answers other settings is not thrown away: what it holds of variants that are still
asked for is taken over, and only the others are computed (`pipeline.study.variant_keys` says which
are the same). The whole record stays among the former ones (`cache.former`), and comes back as it
was, byte for byte, when the settings do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cache.errors import CellCorruptError
from cache.records import Record, repeated
from pipeline.study.variant import Variant
from pipeline.study.variant_keys import VariantKeys

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Known:
    """Which of a cell's variants are known, and which are not.

    Attributes
    ----------
    found : mapping of str to Record
        The record that has it, by a variant's name.
    missing : tuple of Variant
    order : tuple of str
        Names of all that the cell has, in the study's order.
    """

    found: Mapping[str, Record]
    missing: tuple[Variant, ...]
    order: tuple[str, ...]


def known_variants(
    key: Mapping[str, Any], asked: Iterable[Variant], records: Iterable[Record]
) -> Known:
    """Look for variants in records of other settings.

    Parameters
    ----------
    key : mapping
        Of the record that is asked for.
    asked : iterable of Variant
        Of its protocol.
    records : iterable of Record
        Of the same protocol, data set and model, of whatever settings. The first that has a
        variant is taken, and none is read once all are found.
    """
    ours = VariantKeys(key)
    wanted = {v.name: (v, text) for v in asked if (text := ours.of(v)) is not None}
    found: dict[str, Record] = {}
    for record in records:
        theirs = VariantKeys(record.key)
        if theirs.shares(ours):
            for name, (variant, text) in wanted.items():
                if name not in found and name in record.asked and _is(theirs, variant, text):
                    found[name] = record
        if len(found) == len(wanted):
            break
    missing = tuple(variant for name, (variant, _) in wanted.items() if name not in found)
    return Known(found, missing, tuple(wanted))


def read_known(
    key: Mapping[str, Any], asked: Sequence[Variant], records: Iterable[Record]
) -> tuple[Known, dict[Path, pa.Table]]:
    """The same with the outcomes, by record; a damaged record counts as none."""
    usable = list(records)
    while True:
        known = known_variants(key, asked, usable)
        used = {record.path: record for record in known.found.values()}
        tables = {path: _outcomes(record) for path, record in used.items()}
        whole = {path: table for path, table in tables.items() if table is not None}
        if len(whole) == len(tables):
            return known, whole
        usable = [r for r in usable if r.path not in tables or r.path in whole]


def put_together(
    known: Known, tables: Mapping[Path, pa.Table], rows: Rows, outcomes: pa.Table | None
) -> tuple[Rows, pa.Table]:
    """A record's scores and outcomes.

    Parameters
    ----------
    known : Known
    tables : mapping of Path to Table
        Outcomes of what is known, see `read_known`.
    rows, outcomes
        Scores and outcomes of the variants that were missing.
    """
    scores: Rows = []
    parts = []
    for name in known.order:
        record = known.found.get(name)
        mine = rows if record is None else record.scores
        scores += [row for row in mine if row["variant"] == name]
        table = outcomes if record is None else tables[record.path]
        if table is not None and len(part := _of(table, name)):
            parts.append((name, part))
    return scores, _joined(parts)


def _is(keys: VariantKeys, variant: Variant, text: str) -> bool:
    try:
        return keys.of(variant) == text
    except (LookupError, TypeError, AttributeError):  # settings of another version
        return False


def _outcomes(record: Record) -> pa.Table | None:
    try:
        return record.outcomes()
    except (CellCorruptError, FileNotFoundError):  # damaged, or removed since: computed again
        return None


def _of(table: pa.Table, name: str) -> pa.Table:
    """One variant's rows, without its name."""
    import pyarrow.compute as pc  # 0.1 s that a stage with nothing to do need not pay

    if not len(table):
        return table
    return table.filter(pc.equal(table["variant"], name)).drop_columns(["variant"])


def _joined(parts: Sequence[tuple[str, pa.Table]]) -> pa.Table:
    """All variants below each other, as `pipeline.probes.scoring.outcome_table` has them."""
    if not parts:
        return pa.table({"variant": pa.array([], pa.string())})
    names, tables = zip(*parts, strict=True)
    rest = pa.concat_tables(map(_decoded, tables)).combine_chunks()
    for place, field in enumerate(tables[0].schema):
        if pa.types.is_dictionary(field.type):
            rest = rest.set_column(place, field.name, rest[place].dictionary_encode())
    return rest.add_column(0, "variant", repeated(names, [len(table) for table in tables]))


def _decoded(table: pa.Table) -> pa.Table:
    """With plain columns: two tables' dictionaries need not be alike."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table[place].cast(field.type.value_type)
            table = table.set_column(place, field.name, plain)
    return table
