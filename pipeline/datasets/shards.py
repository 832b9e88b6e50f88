"""WebDataset shards: tar files whose members belong together by name, read in place.

Members of one sample share their path up to the first dot of its last part (``0001.jpg``,
``0001.cls``). The format is that of https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from cache.errors import ProbelineError
from pipeline.datasets.images import SUFFIXES
from pipeline.datasets.roots import Entry, Tar, explain_reading, whole
from pipeline.datasets.samples import sample_table
from pipeline.datasets.settings import Dataset
from pipeline.project.paths import SPLITS

CLASS_NAMES = "classnames.txt"
"""A file beside the shards that names the numbered classes, a line each."""

_Sample = dict[str, Entry]
"""A sample's members by what follows the first dot: ``jpg``, ``cls``."""


class Shards:
    """Members of all tar files below a folder; a member's path begins with its shard's.

    Parameters
    ----------
    path : Path
        A folder with shards, or one shard.
    place : str
        For errors.
    """

    def __init__(self, path: Path, place: str) -> None:
        self.folder = path if path.is_dir() else path.parent
        found = path.rglob("*.tar") if path.is_dir() else [path] * path.is_file()
        self._shards = {p.relative_to(self.folder).as_posix(): p for p in sorted(found)}
        if not self._shards:
            raise ProbelineError(
                place,
                "there are no shards at this path",
                expected="a folder with .tar files, or one",
                found=str(path.absolute()),
                remedy="correct `path` in params.yaml, or the environment variable that it names",
            )

    def entries(self) -> list[Entry]:
        """All regular files of all shards, sorted by path."""
        found = [
            Entry(f"{shard}/{entry.path}", entry.offset, entry.size)
            for shard, path in self._shards.items()
            for entry in Tar(path).entries()
        ]
        return sorted(found, key=lambda entry: entry.path)

    def read(self, entry: Entry) -> bytes:
        """A member's content."""
        # Opened each time: data sets have more shards than a process may have open files.
        with explain_reading(entry), open(self._shards[shard_of(entry.path)], "rb") as file:
            return whole(os.pread(file.fileno(), entry.size, entry.offset), entry)


def shard_of(path: str) -> str:
    """The shard that a member's path names."""
    return path[: path.index(".tar/") + len(".tar")]


def samples_of_shards(name: str, dataset: Dataset, root: Shards) -> pd.DataFrame:
    """A row for each sample: its image, and the class that its .cls or .json member says.

    Parameters
    ----------
    name : str
    dataset : Dataset
        `columns.label` and `columns.group` are keys of .json members; `splits` has the words of
        shards' names that tell train from val (``train-0001.tar``, ``val/0001.tar``).
    root : Shards

    Raises
    ------
    ProbelineError
        When a sample has no image or no class, or some shards say their split and others do not.
    """
    samples: dict[str, _Sample] = {}
    for entry in root.entries():
        folder, _, file = entry.path.rpartition("/")
        key, _, extension = file.partition(".")
        samples.setdefault(f"{folder}/{key}", {})[extension.lower()] = entry
    images = {key: _image(sample) for key, sample in samples.items()}
    facts = {key: _facts(dataset, root, sample) for key, sample in samples.items()}
    _refuse(name, "no image", [key for key, image in images.items() if image is None])
    _refuse(name, "no class", [key for key, fact in facts.items() if not fact[0]])
    classes = _named(name, root.folder / CLASS_NAMES, [fact[0] for fact in facts.values()])
    split = _splits(name, dataset, sorted({shard_of(key) for key in samples}))
    return sample_table(
        [image for image in images.values() if image is not None],
        classes,
        [split[shard_of(key)] for key in samples],
        [group or None for _, group in facts.values()],
    )


def _image(sample: _Sample) -> Entry | None:
    found = [e for e in sample.values() if PurePosixPath(e.path).suffix.lower() in SUFFIXES]
    return found[0] if len(found) == 1 else None


def _facts(dataset: Dataset, root: Shards, sample: _Sample) -> tuple[str, str]:
    """Class and group of a sample; "" where it does not say."""
    said: dict[str, object] = {}
    if (entry := sample.get("json")) is not None:
        try:
            said = dict(json.loads(root.read(entry)))
        except (ValueError, TypeError) as error:
            raise ProbelineError(
                entry.path, "is not a JSON object", found=str(error), remedy="write the shard again"
            ) from None
    label = said.get(dataset.columns.label, "")
    if (entry := sample.get("cls")) is not None:
        label = root.read(entry).decode("utf-8", "replace")
    group = said.get(dataset.columns.group or "", "")
    return str(label).strip(), str(group).strip()


def _refuse(name: str, lack: str, keys: list[str]) -> None:
    if keys:
        raise ProbelineError(
            f"data set {name}",
            f"{len(keys):,} samples have {lack}",
            expected="one image (.jpg, .png, …), and .cls, or .json with the key that "
            "`columns.label` names",
            found=", ".join(keys[:3]) + (" …" if len(keys) > 3 else ""),
            remedy="write these shards again, or name the key in `columns`",
        )


def _named(name: str, file: Path, labels: list[str]) -> list[str]:
    """Numbers as the names that a file beside the shards gives them; else as they are."""
    if not file.is_file() or not all(label.isdecimal() for label in labels):
        return labels
    names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    most = max(map(int, labels))
    if most >= len(names):
        raise ProbelineError(
            f"data set {name}: {file.name}",
            "names fewer classes than there are",
            expected=f"at least {most + 1} lines",
            found=str(len(names)),
            remedy="complete it, or move it away to keep the numbers",
        )
    return [names[int(label)] for label in labels]


def _splits(name: str, dataset: Dataset, shards: list[str]) -> Mapping[str, str | None]:
    """The split that each shard's name tells; None for all where none does."""
    words = {word.lower(): split for split in SPLITS for word in dataset.splits[split]}
    told: dict[str, set[str]] = {
        shard: {words[w] for w in re.split(r"[^a-z0-9]+", shard.lower()) if w in words}
        for shard in shards
    }
    if not any(told.values()):
        return dict.fromkeys(shards)
    unclear = [shard for shard, splits in told.items() if len(splits) != 1]
    if unclear:
        raise ProbelineError(
            f"data set {name}",
            f"{len(unclear)} of {len(shards)} shards do not say which split they are",
            expected=f"one of {', '.join(words)} in each shard's name, or in none",
            found=", ".join(unclear[:3]),
            remedy=f"rename them, or say which words mean what with datasets.{name}.splits",
        )
    return {shard: next(iter(splits)) for shard, splits in told.items()}
