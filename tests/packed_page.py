"""What a report packs: the data of its tables and figures."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

_PACKED = re.compile(r'<script type="application/gzip" id="(\w+)">(.*?)</script>', re.DOTALL)


def texts_in(page: str) -> dict[str, str]:
    """All that is packed, by the script's id."""
    return {
        name: gzip.decompress(base64.b64decode(packed)).decode()
        for name, packed in _PACKED.findall(page)
    }


def data_in(page: str) -> dict[str, Any]:
    """What tables and figures are made of."""
    texts = texts_in(page)
    return {name: json.loads(texts[name]) for name in ("data", "figures")}
