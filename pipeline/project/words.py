"""Words that every room writes alike."""

from __future__ import annotations


def number_of(count: int, noun: str, many: str = "") -> str:
    """``1 image``, ``5 images``; ``2 classes`` where `many` says so."""
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"
