"""A name for everything that can change a number: SHA-256 of canonical JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from cache.files import sha256_bytes


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal text.

    Raises
    ------
    ValueError
        On NaN and infinity, which have no JSON.
    TypeError
        On anything that JSON can't hold.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def parse_json(data: bytes) -> Any:
    """JSON without what has no fingerprint: NaN, infinity, halves of surrogate pairs.

    Raises
    ------
    ValueError
        When it is none, or nested beyond Python's stack.
    """
    value = load_json(data, parse_constant=_refuse, parse_float=_finite)
    if b"\\ud" in data.lower():
        canonical_json(value).encode()
    return value


def load_json(data: bytes | str, **options: Any) -> Any:
    """`json.loads`; whose ValueError is also what it raises of brackets beyond Python's stack."""
    try:
        return json.loads(data, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant}, which is no number")


def fingerprint(value: object) -> str:
    """SHA-256 of `value`'s canonical JSON, as 64 hexadecimal digits."""
    return sha256_bytes(canonical_json(value).encode())


def differences(
    found: Mapping[str, Any], expected: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    """The dotted keys at which two nested mappings differ, each with both values."""
    lines = []
    absent = object()
    for name in sorted(found.keys() | expected.keys()):
        old, new = found.get(name, absent), expected.get(name, absent)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{prefix}{name}.")
        elif old is absent or new is absent or canonical_json(old) != canonical_json(new):
            # As text, like the fingerprint: it tells 1 from 1.0 and true, but not (1,) from [1].
            texts = ["absent" if value is absent else _short(value) for value in (old, new)]
            lines.append(f"{prefix}{name}: {' -> '.join(texts)}")
    return lines


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    is_digest = len(text) == 66 and all(c in '"0123456789abcdef' for c in text)
    return f"{text[1:13]}…" if is_digest else text
