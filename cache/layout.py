"""What a cell that is being built will be; it lies beside its chunks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cache.errors import CellCorruptError
from cache.files import write_durably
from cache.manifest import FORMAT, READABLE
from cache.seals import read_sealed_json, sealed_json
from cache.storage import Storage

NAME = "layout.json"
"""In the folder where a cell is built."""

FOLDER = "cell"
"""Of the chunks there; each generation that begins while they are written has one of its own."""

_FOLDER = re.compile(r"cell(\.\d{1,6})?")


@dataclass(frozen=True)
class Layout:
    """What a cell will be.

    Attributes
    ----------
    key : mapping
        See `cache.manifest.Manifest`.
    rows, columns : int
    storage : Storage
    folder : str
        Of its chunks, see `FOLDER`.
    mended : bool
        Whether it was whole, and is being repaired.
    format : int
    """

    key: Mapping[str, Any]
    rows: int
    columns: int
    storage: Storage
    folder: str = FOLDER
    mended: bool = False
    format: int = FORMAT

    def turned(self, why: str) -> Layout:
        """The same in float32, from its first chunk on, in a folder of its own."""
        storage = self.storage.in_float32(why)
        return replace(self, storage=storage, folder=f"{FOLDER}.{storage.generation or 2}")

    def write(self, partial: Path) -> None:
        """Put it into the folder where the cell is built, durably."""
        storage = self.storage
        facts: dict[str, Any] = {
            "format": self.format,
            "key": self.key,
            "shape": [self.rows, self.columns],
            "dtype": storage.dtype,
            "generation": storage.generation,
            "decided": storage.decided,
            "remarks": list(storage.remarks),
            "folder": self.folder,
        }
        if self.mended:
            facts["mended"] = True
        write_durably(partial / NAME, sealed_json(facts))


def read_layout(partial: Path) -> Layout | None:
    """What a cell that is being built will be; None where no usable description lies."""
    try:
        facts = read_sealed_json(partial / NAME)
        rows, columns = facts["shape"]
        layout = Layout(
            facts["key"],
            rows,
            columns,
            Storage(
                facts["dtype"],
                facts.get("generation", 0),
                facts.get("decided", ""),
                tuple(facts["remarks"]),
            ),
            facts.get("folder", FOLDER),
            bool(facts.get("mended")),
            facts["format"],
        )
    except (OSError, CellCorruptError, ValueError, KeyError, TypeError):
        return None
    return layout if _is_usable(layout) else None


def _is_usable(layout: Layout) -> bool:
    """Whether it is what one of ours may be: a copied folder may hold a stranger's."""
    storage = layout.storage
    numbers = (layout.rows, layout.columns, storage.generation)
    words = (storage.decided, layout.folder, *storage.remarks)
    return (
        layout.format in READABLE
        and storage.dtype in ("float16", "float32")
        and all(type(number) is int and number >= 0 for number in numbers)
        and all(isinstance(text, str) for text in words)
        and _FOLDER.fullmatch(layout.folder) is not None
    )
