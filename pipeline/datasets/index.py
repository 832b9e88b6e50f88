"""A data set's index: one row per image, and all that later stages need of it.

Read through Arrow: a command that only looks at keys does not wait for pandas.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cache.errors import ProbelineError, printable
from cache.files import sha256_bytes, write_durably
from cache.fingerprint import fingerprint, load_json
from cache.seals import check_of
from pipeline.datasets.grey import GreyScale
from pipeline.datasets.ledger import PassedOver, describe
from pipeline.project.paths import SPLITS, index_path

if TYPE_CHECKING:
    import pandas as pd

_METADATA = b"probeline.index"
_CHECK = b"probeline.sha256"
"""Of what the pages' checksums do not cover; absent from indexes of older versions."""

_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("class", pa.string()),
        ("label", pa.int64()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("label_set", pa.list_(pa.int64())),
    ]
)


def _in_one_line(remark: str) -> str:
    """A remark as a terminal may show it: files' names may hold line breaks, and what it obeys."""
    return printable(remark).replace("\n", "\\n").replace("\t", "\\t")


@dataclass(frozen=True)
class Index:
    """A data set's images.

    Attributes
    ----------
    name : str
    classes : tuple of str
        Class names; a label is a position in it. Taken from the train split, where there is one.
    remarks : tuple of str
        What the checks found that is not an error, e.g. duplicates across splits.
    rows : pyarrow.Table
        Columns path, offset, bytes, sha256, class, label, split, group, label_set; sorted by
        path. `group` (site, camera, patient) and `label_set` (further labels) may be null.
    skipped : mapping of str to str
        Images left out because they can't be read (`on_bad_image: skip`), and what is wrong.
    pad : bool or "crop"
        Whether images are padded with black to a square before anything else, or cut to one.
    seeds : {"digest", "row"}
        What decides an image's augmented views and few-shot draws, beside a seed: its digest, or
        (as it was formerly) its row.
    splitting : mapping
        The rule and the settings that made splits and limits, see `pipeline.datasets.splits`; empty
        of an index from before they were stable.
    passed_over : tuple of PassedOver
        What listing left out; unknown, and empty, of indexes made before it was counted.
    grey : GreyScale or None
        What is white in grey images of more than 8 bits; None where there is none of these.
    """

    name: str
    classes: tuple[str, ...]
    remarks: tuple[str, ...]
    rows: pa.Table
    skipped: Mapping[str, str] = field(default_factory=dict)
    pad: bool | Literal["crop"] = False
    passed_over: tuple[PassedOver, ...] = ()
    grey: GreyScale | None = None
    seeds: str = "digest"
    splitting: Mapping[str, Any] = field(default_factory=dict)

    @property
    def white(self) -> float | None:
        """What `decode` is told."""
        return None if self.grey is None else self.grey.white

    @property
    def grey_key(self) -> dict[str, float]:
        """What keys hold of `white`: nothing where pixels are what they are without it."""
        if self.grey is None or not self.grey.changes_pixels:
            return {}
        return {"grey": self.grey.white}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong: remarks, and what was left out that may be images."""
        return (*self.left_out, *map(_in_one_line, self.remarks))

    @property
    def left_out(self) -> tuple[str, ...]:
        """A line on what listing passed over that may be images."""
        lost = describe([p for p in self.passed_over if p.serious])
        return (lost,) if lost else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing: what is white, and what else was left out."""
        rest = describe([p for p in self.passed_over if not p.serious])
        scale = "" if self.grey is None else str(self.grey)
        return tuple(filter(None, (scale, rest)))

    @property
    def said(self) -> tuple[str, ...]:
        """Warnings and notes."""
        return self.warnings + self.notes

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows of both splits."""
        table: pd.DataFrame = self.rows.to_pandas()
        return table

    @cached_property
    def split_names(self) -> tuple[str, ...]:
        """Train and val, or val alone where there are test images only."""
        there = set(self.rows["split"].to_pylist())
        return tuple(split for split in SPLITS if split in there)

    def split(self, split: str) -> pd.DataFrame:
        """The rows of one split, in order."""
        return self._splits[split]

    def labels(self, split: str) -> NDArray[np.int64]:
        """Ndarray of shape (n_samples,): label of each image of a split."""
        return np.asarray(self._columns(split, "label")[0], np.int64)

    def samples_digest(self, split: str) -> str:
        """SHA-256 of the split's ordered ids, contents and labels: the data part of a key."""
        return self._digests[split]

    def digests(self, split: str) -> list[str]:
        """SHA-256 of each image of a split, in order; "" of samples that have no image."""
        return [str(digest) for digest in self._columns(split, "sha256")[0]]

    def images_digest(self, split: str) -> str:
        """SHA-256 of the digests of a split's images, sorted, one a line: which images these are.

        Whatever they are called and in whatever order they lie; "" of samples without images.
        """
        digests = self.digests(split)
        return sha256_bytes("\n".join(sorted(digests)).encode()) if all(digests) else ""

    def groups(self, split: str) -> NDArray[np.str_]:
        """Group (site, camera, patient) of each image of a split, "" of those without one."""
        return np.array([group or "" for group in self._columns(split, "group")[0]], np.str_)

    def draw_names(self, split: str) -> list[str] | None:
        """What few-shot draws know each image of a split by; None: by its row, as formerly."""
        if self.seeds == "row":
            return None
        by = self.splitting.get("by", "path")
        return [str(name) for name in self._columns(split, by)[0]]

    @cached_property
    def names_digest(self) -> str:
        """SHA-256 of class names and groups, which no cell depends on but scores do."""
        groups = [[g or "" for g in self._columns(s, "group")[0]] for s in SPLITS]
        return fingerprint([list(self.classes), groups])

    @property
    def beside_cells(self) -> dict[str, str]:
        """What records depend on beside their cells; see `pipeline.records.Fingerprints`."""
        return {"names": self.names_digest, "seeds": self.seeds}

    @cached_property
    def _splits(self) -> dict[str, pd.DataFrame]:
        return {s: self.table[self.table["split"] == s].reset_index(drop=True) for s in SPLITS}

    @cached_property
    def _digests(self) -> dict[str, str]:
        columns = [self._columns(split, "path", "bytes", "sha256", "label") for split in SPLITS]
        rows = [[list(row) for row in zip(*lists, strict=True)] for lists in columns]
        return dict(zip(SPLITS, map(fingerprint, rows), strict=True))

    def _columns(self, split: str, *names: str) -> list[list[Any]]:
        """Columns of one split. Without Arrow's own filter, whose import takes a tenth second."""
        here = [s == split for s in self.rows["split"].to_pylist()]
        return [list(compress(self.rows[name].to_pylist(), here)) for name in names]


def differing_samples(one: Index, other: Index) -> list[str]:
    """Paths of samples that only one index has, or that they have with other bytes or labels."""

    def samples(index: Index) -> dict[str, tuple[Any, ...]]:
        columns = (index.rows[name].to_pylist() for name in ("path", "sha256", "class", "split"))
        return {path: tuple(rest) for path, *rest in zip(*columns, strict=True)}

    ours, theirs = samples(one), samples(other)
    return sorted(p for p in ours.keys() | theirs.keys() if ours.get(p) != theirs.get(p))


def index_rows(table: pd.DataFrame) -> pa.Table:
    """A table with the columns of `Index.rows`, as Arrow."""
    rows = pa.Table.from_pandas(table, schema=_SCHEMA, preserve_index=False)
    return rows.replace_schema_metadata(None)


def write_index(index: Index) -> None:
    """Store an index durably; the same data set gives the same bytes."""
    facts: dict[str, Any] = {
        "classes": index.classes,
        "remarks": index.remarks,
        "skipped": dict(index.skipped),
        "pad": index.pad,
        "seeds": index.seeds,
        "splitting": dict(index.splitting),
    }
    # Left out where there is nothing to say: such indexes keep the bytes that they had before.
    if index.passed_over:
        facts["passed_over"] = [asdict(passed) for passed in index.passed_over]
    if index.grey is not None:
        facts["grey"] = asdict(index.grey)
    said = json.dumps(facts).encode()
    check = _check(said, index.rows)
    buffer = io.BytesIO()
    pq.write_table(
        index.rows.replace_schema_metadata({_METADATA: said, _CHECK: check}),
        buffer,
        compression="zstd",
        write_page_checksum=True,
    )
    write_durably(index_path(index.name), buffer.getvalue())


def former_index(name: str) -> Index | None:
    """The index as it lies there; None where there is none, or a damaged one."""
    try:
        return read_index(name)
    except ProbelineError:
        return None


def read_index(name: str) -> Index:
    """Read a stored index.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    path = index_path(name)
    try:
        # Not read_table: that goes through pyarrow.dataset, which imports pandas.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        said = table.schema.metadata[_METADATA]
        expected = _check(said, table)
        if table.schema.metadata.get(_CHECK, expected) != expected:
            raise ValueError("bytes other than were written")
        facts: dict[str, Any] = load_json(said)
        _refuse_odd(facts, table)
        return Index(
            name,
            tuple(facts["classes"]),
            tuple(facts["remarks"]),
            table.replace_schema_metadata(None),
            facts["skipped"],
            facts.get("pad", False),
            tuple(PassedOver(**passed) for passed in facts.get("passed_over", ())),
            GreyScale(**facts["grey"]) if "grey" in facts else None,
            facts.get("seeds", "row"),
            facts.get("splitting", {}),
        )
    except FileNotFoundError:
        raise ProbelineError(
            str(path),
            f"data set {name} is not indexed yet",
            remedy=f"run `dvc repro` (or `python -m stages.index {name}`)",
        ) from None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProbelineError(
            str(path),
            "is not an index",
            found=str(error),
            remedy=f"delete it and run `dvc repro` (or `python -m stages.index {name}`)",
        ) from None


def _refuse_odd(facts: Mapping[str, Any], rows: pa.Table) -> None:
    """Refuse what is no index of ours, be its digest right: a clone's is a stranger's.

    Raises
    ------
    ValueError
    """
    if missing := [f.name for f in _SCHEMA if f.name not in rows.column_names]:
        raise ValueError(f"no column {missing[0]}")
    if odd := [f.name for f in _SCHEMA if rows.schema.field(f.name).type != f.type]:
        raise ValueError(f"column {odd[0]} of {rows.schema.field(odd[0]).type}")
    right = {
        "classes": _are_texts(facts["classes"]),
        "remarks": _are_texts(facts["remarks"]),
        "skipped": _are_texts(list(facts["skipped"].values())),
        "pad": facts.get("pad", False) in (False, True, "crop"),
        "seeds": facts.get("seeds", "row") in ("row", "digest"),
        "splitting": isinstance(facts.get("splitting", {}), dict),
        "label": all(
            label is not None and 0 <= label < len(facts["classes"])
            for label in set(rows["label"].to_pylist())
        ),
        "split": set(rows["split"].to_pylist()) <= {*SPLITS},
    }
    if wrong := [name for name, is_right in right.items() if not is_right]:
        raise ValueError(f"odd {wrong[0]}")


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _check(said: bytes, rows: pa.Table) -> bytes:
    """A digest of the facts, the columns and how many rows there are."""
    return check_of(said, ",".join(rows.column_names).encode(), str(rows.num_rows).encode())
