"""Words that every room writes alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable


def number_of(count: int, noun: str, many: str = "") -> str:
    """``1 image``, ``5 images``; ``2 classes`` where `many` says so."""
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"


def yaml_text(text: str) -> str:
    """A text as params.yaml may hold it, quoted where YAML would read something else."""
    plain = _PLAIN.fullmatch(text) and text.casefold() not in _NO_TEXT
    return text if plain else json.dumps(text, ensure_ascii=False)


def yaml_list(texts: Iterable[str]) -> str:
    """A list of texts as params.yaml may hold it: ``[cats, "dogs, old"]``."""
    return f"[{', '.join(map(yaml_text, texts))}]"


def leave_out_text(*paths: str) -> str:
    """``leave_out: […]`` that names these files or folders, and nothing else that looks alike."""
    plain = (re.sub(r"([*?[])", r"[\1]", path) for path in paths)
    return f"leave_out: {yaml_list(plain)}"


_PLAIN = re.compile(r"[^\W\d][\w./ -]*(?<! )")
_NO_TEXT = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
