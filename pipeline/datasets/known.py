"""Known data sets: what each is, read from known_datasets.yaml."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

if TYPE_CHECKING:
    from pipeline.datasets.settings import Dataset

_FILE = Path(__file__).parent / "known_datasets.yaml"
PACKED = "cifar100"
"""The layout of two files of raw pixels, which are made a tar file of images once."""

_ENTRY = ("role", "shift", "cluster", "expected", "missing_classes", "pad", "test_only")


@dataclass(frozen=True)
class KnownFile:
    """A file that a data set is made of.

    Attributes
    ----------
    file : str
        Its name.
    address : str
        Where it can be fetched; "" where only a person can, after registration or so.
    md5 : str
        As its publisher gives it; "" where nobody does.
    gigabytes : float
        About; billions of bytes.
    gives : mapping of str to str
        What is wanted of the archive, and its name in the data set's folder; "." is that folder
        itself. A file that is no archive gives itself.
    """

    file: str
    address: str
    md5: str
    gigabytes: float
    gives: Mapping[str, str]


@dataclass(frozen=True)
class KnownDataset:
    """A data set that a study names as ``known:NAME``.

    Attributes
    ----------
    name, layout : str
    arguments : mapping
        Of the layout.
    entry : mapping
        What params.yaml need not say: role, shift, cluster, expected counts, classes that a split
        lacks, padding.
    home, licence, get : str
        Where it comes from, on what terms, and which files are wanted.
    into : str
        Its folder below that of all images, as studies/paper.yaml names it; a few share one.
    files : tuple of KnownFile
    by_hand : str
        What a person has to do with the files; "" where they only need to be unpacked.
    """

    name: str
    layout: str
    arguments: Mapping[str, Any]
    entry: Mapping[str, Any]
    home: str
    licence: str
    get: str
    into: str
    files: tuple[KnownFile, ...]
    by_hand: str

    @property
    def pieces(self) -> list[str]:
        """What lies in its folder when it is there; "." for the folder itself."""
        return [name for file in self.files for name in file.gives.values()]


def known_names() -> list[str]:
    """All names, in the file's order."""
    return list(_all())


def verified_dataset(name: str) -> Mapping[str, Any]:
    """What somebody found in a real copy of a data set; empty where nobody has sent it."""
    found: Mapping[str, Any] = _file_content()["verified"].get(name, {})
    return found


def corpora() -> dict[str, str]:
    """What models are pre-trained on besides data sets: names, and words for them."""
    return {name: said["words"] for name, said in _file_content()["corpora"].items()}


@functools.cache
def spellings() -> dict[str, str]:
    """Known data sets and corpora by all that people call them, without capitals and signs."""
    names = {name: name for name in (*known_names(), *corpora())}
    others = {other: name for name, said in _file_content()["also"].items() for other in said}
    return {compact(other): name for other, name in (names | others).items()}


def compact(name: str) -> str:
    """A name without what people spell differently: capitals, spaces, dots, - and _."""
    return re.sub(r"[\s._-]", "", name).casefold()


def with_contents(names: Iterable[str]) -> set[str]:
    """The names, and the known data sets that the corpora among them contain."""
    kept = set(names)
    inside = (said["contains"] for name, said in _file_content()["corpora"].items() if name in kept)
    return kept.union(*inside)


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
        said["into"],
        tuple(_file(file) for file in said["files"]),
        said.get("by_hand", ""),
    )


def is_read_in_place(dataset: Dataset) -> bool:
    """Whether the images are files that lie where `path` says."""
    assert dataset.known_as is not None
    return known_dataset(dataset.known_as).layout != PACKED


def _file(said: Mapping[str, Any]) -> KnownFile:
    name = said["file"]
    gives = said.get("gives", {name: name})
    return KnownFile(name, said.get("from", ""), said.get("md5", ""), said["gigabytes"], gives)


def _all() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = _file_content()["datasets"]
    return found


@functools.cache
def _file_content() -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(_FILE)
    return content
