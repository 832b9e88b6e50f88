"""docs/zoo.md: every model of the zoo in one table, made from zoo.yaml and timm's records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.models.licence import licence_of
from pipeline.models.settings import Model
from pipeline.models.zoo import verified_model, zoo_model, zoo_names

_HEAD = """# The models of the zoo

Made by `probeline models zoo --markdown`; do not edit. How a model sees an image: `common` (224 px
of the short side resized to 256, bilinear, for all alike), `timm` (as timm records), `authors` (as
its authors evaluate it, in the column beside). A study says otherwise with `preprocessing`; where
nothing is said, the word in bold is taken. Verified is what somebody with the real file sent back
from `probeline models verify NAME`; until then, a layout is tested against files written after the
authors' savers (tests/published_checkpoints.yaml). "Read in" is where transform and feature were
found; what could not be confirmed there is said beside it.

| Model | Weights | Licence | Trained on | Feature | Pixels, its authors' | Read in | Verified by |
|---|---|---|---|---|---|---|---|
"""


def zoo_page() -> str:
    """The page, as Markdown."""
    return _HEAD + "".join(f"{_row(name)}\n" for name in zoo_names())


def _row(name: str) -> str:
    known, entry = zoo_model(name), Model.model_validate({"zoo": name})
    facts = known.facts
    licence, source = licence_of(entry) or "see there", entry.weights
    if entry.weights == "pretrained":
        source = f"timm `{entry.architecture}`"
    elif entry.is_remote:
        source = f"[{entry.weights.split('/')[2]}]({entry.weights})"
    elif entry.seed is not None:
        licence, source = "–", "drawn"
    pixels = f"**{entry.preprocessing}**"
    if "authors_transform" in facts:
        pixels += f"; {facts['authors_transform'].replace('_', ' ')}"
    feature = f"`{entry.feature}`"
    if "authors_feature" in facts:
        feature += f"; authors: {facts['authors_feature']}"
    cells = [
        f"`{name}`",
        source,
        licence,
        ", ".join(entry.trained_on or []) or "nothing",
        feature,
        pixels,
        _read_in(facts),
        str(verified_model(name).get("by", "nobody yet")),
    ]
    return f"| {' | '.join(cells)} |"


def _read_in(facts: Mapping[str, Any]) -> str:
    found = str(facts.get("authors_source", "–"))
    missing = facts.get("authors_unconfirmed")
    return f"{found}; not confirmed: {missing}" if missing else found
