"""Words of params.yaml that have better ones now: an old one is an error that names the new one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ruamel.yaml.comments import CommentedMap, CommentedSeq

Place = tuple[int | str, ...]

RENAMED_KEYS: Mapping[tuple[str, ...], str] = {
    ("neighbors", "keep"): "n_neighbors",
    ("fewshot", "draws"): "episodes",
    ("fewshot", "draws_above_five"): "episodes_above_five",
    ("fewshot", "class_counts"): "ways",
    ("models", "*", "kind"): "objective",
    ("predictors",): "transferability",
}
"""Keys by where they stand, with their new names; ``*`` stands for any name or number."""

RENAMED_VALUES: Mapping[tuple[str, ...], Mapping[str, str]] = {
    ("knn", "presets", "*"): {"study": "paper"},
    # The same training; what the paper did is called `paper` now.
    ("finetune", "runs", "*", "recipe"): {
        f"study{of}": f"sgd{of}" for of in ("", "_byol2", "_swav", "_byol1", "_barlowtwins")
    },
}
"""Values by where they stand, with their new names. Keys of records still have the old ones."""

UPGRADE = "run `probeline upgrade`, which rewrites the study and keeps its comments"


def new_key(place: Sequence[int | str]) -> str | None:
    """What a key is called now; None if it never had another name."""
    return next((new for old, new in RENAMED_KEYS.items() if _fits(place, old)), None)


def new_value(place: Sequence[int | str], value: object) -> str | None:
    """What a value is called now; None if it never had another name."""
    for where, names in RENAMED_VALUES.items():
        if _fits(place, where) and isinstance(value, str):
            return names.get(value)
    return None


def upgraded(text: str, document: CommentedMap) -> tuple[str, list[str]]:
    """A study's text with today's words; all else stays as it is, to the byte.

    Parameters
    ----------
    text : str
    document : CommentedMap
        The same text, parsed.

    Returns
    -------
    str, list of str
        The text, and a line for each change.
    """
    lines = text.split("\n")
    said = []
    edits = sorted(set(_edits(document, ())), reverse=True)  # from the end: places stay true
    for line, column, old, new in edits:
        before, after = lines[line][:column], lines[line][column:]
        lines[line] = before + re.sub(rf"^([\"']?){re.escape(old)}\b", rf"\g<1>{new}", after)
        said.append(f"line {line + 1}: `{old}` is `{new}` now")
    return "\n".join(lines), said[::-1]


def _edits(node: object, place: Place) -> Iterator[tuple[int, int, str, str]]:
    """Line, column, old and new word; what aliases repeat is found at its one place."""
    if isinstance(node, CommentedMap):
        for key, value in node.items():
            if key not in (node.lc.data or {}):
                continue  # merged from an anchor, where it is found by itself
            here = (*place, key)
            if new := new_key(here):
                yield (*node.lc.key(key), str(key), new)
            if new := new_value(here, value):
                yield (*node.lc.value(key), str(value), new)
            yield from _edits(value, here)
    elif isinstance(node, CommentedSeq):
        for i, value in enumerate(node):
            if new := new_value((*place, i), value):
                yield (*node.lc.item(i), str(value), new)
            yield from _edits(value, (*place, i))


def _fits(place: Sequence[int | str], pattern: tuple[str, ...]) -> bool:
    return len(place) == len(pattern) and all(
        part in ("*", str(name)) for name, part in zip(place, pattern, strict=True)
    )
