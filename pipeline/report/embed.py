"""Data inside the report's page: as text that no browser takes for markup, and small."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup


def embed(data: Any) -> Markup:
    """JSON for the inside of a ``<script>`` element: no character in it can end the element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped right above


def squeezed(text: str) -> str:
    """A text as gzip in base64: a third as long, and only letters; the page's script unpacks it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def pack(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows by column, each text once: what the page holds, and its script unpacks.

    Parameters
    ----------
    rows : sequence of dict
        All with the same keys.

    Returns
    -------
    dict
        By column: a list of values; of a column with text the list of distinct values (``words``)
        and the place in it of each row's (``codes``).
    """
    packed: dict[str, Any] = {}
    for name in rows[0] if rows else ():
        column = [row[name] for row in rows]
        if not any(isinstance(value, str) for value in column):
            packed[name] = column
            continue
        place: dict[tuple[type, Any], int] = {}  # 1 and True are equal, and not the same
        codes = [place.setdefault((type(value), value), len(place)) for value in column]
        packed[name] = {"words": [value for _, value in place], "codes": codes}
    return packed
