"""What a protocol's record on a cell depends on; light enough for `status`."""

from __future__ import annotations

from typing import Any

from cache.cell import Cell
from pipeline.study import Section

RECORD_FORMAT = 1
"""Part of every record's key: raised when the protocols' numbers or their storage change."""


def record_key(protocol: str, settings: Section, train: Cell, val: Cell) -> dict[str, Any]:
    """Everything that a protocol's record on one cell depends on."""
    return {
        "format": RECORD_FORMAT,
        "protocol": protocol,
        "settings": settings.model_dump(),
        "train": train.manifest.fingerprint,
        "val": val.manifest.fingerprint,
    }
