"""Known data sets: what each is, read from known_datasets.yaml."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_FILE = Path(__file__).parent / "known_datasets.yaml"
_ENTRY = ("role", "shift", "cluster", "expected", "pad")


@dataclass(frozen=True)
class KnownDataset:
    """A data set that a study names as ``known:NAME``.

    Attributes
    ----------
    name, layout : str
    arguments : mapping
        Of the layout.
    entry : mapping
        What params.yaml need not say: role, shift, cluster, expected counts, padding.
    home, licence, get : str
        Where it comes from, on what terms, and which files are wanted.
    """

    name: str
    layout: str
    arguments: Mapping[str, Any]
    entry: Mapping[str, Any]
    home: str
    licence: str
    get: str


def known_names() -> list[str]:
    """All names, in the file's order."""
    return list(_all())


def known_dataset(name: str) -> KnownDataset:
    """The data set of that name.

    Raises
    ------
    KeyError
        When there is none; its text names the nearest ones.
    """
    if name not in _all():
        near = difflib.get_close_matches(name, _all(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(_all())}"
        raise KeyError(f"no data set is known as {name}; {hint}")
    said = _all()[name]
    return KnownDataset(
        name,
        said["layout"],
        said.get("arguments", {}),
        {key: said[key] for key in _ENTRY if key in said},
        said["home"],
        said["licence"],
        said["get"],
    )


@functools.cache
def _all() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = YAML(typ="safe").load(_FILE)["datasets"]
    return found
