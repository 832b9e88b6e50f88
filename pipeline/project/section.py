"""What every mapping of params.yaml is: unknown keys and mistyped values are refused."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from cache.fingerprint import canonical_json


class Section(BaseModel):
    """A mapping of params.yaml: unknown keys and mistyped values are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def to_key(
        self, include: set[str] | None = None, exclude: set[str] | None = None
    ) -> dict[str, Any]:
        """The settings as keys of cells and records spell them, whatever params.yaml calls them.

        Records stay valid when a key of params.yaml gets a better name: its field says by
        ``serialization_alias``, a renamed value by `spelled`, what keys have always called it.
        """
        return self.model_dump(by_alias=True, include=include, exclude=exclude)


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("each value once (one is listed twice)")
    return values


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical_json(arguments)  # they are part of every cell's key
    except (TypeError, ValueError):
        raise ValueError("finite numbers, text, lists and mappings only (no dates)") from None
    return arguments


def spelled(**former: str) -> PlainSerializer:
    """Of a text whose values have better names now: what keys have always called them."""
    return PlainSerializer(lambda value: former.get(value, value))


Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""Of random numbers; tables hold it in 64 bits."""

Distinct = AfterValidator(_distinct)
"""A list without repetitions."""

Arguments = Annotated[dict[str, Any], AfterValidator(_plain)]
"""Keyword arguments of a constructor, as they are."""


def one_of(name: str, legal: Sequence[str], what: str) -> str:
    """What was expected instead of a name, with the nearest legal one."""
    near = difflib.get_close_matches(name, legal, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{what}: {', '.join(legal) or 'there is none'}{hint}"
