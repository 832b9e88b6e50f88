"""WebDataset shards: tar files whose members belong together by name, read in place.

Members of one sample share their path up to the first dot of its last part (``0001.jpg``,
``0001.cls``). The format is that of https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePosixPath

from cache.errors import ProbelineError
from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.datasets.labels import clean_label
from pipeline.datasets.ledger import Ledger
from pipeline.datasets.parts import CLASS_NAMES, Parts, parts_of
from pipeline.datasets.roots import Entry, Kept, Listing, Root, explain_reading, whole
from pipeline.datasets.samples import Found, sample_table
from pipeline.datasets.settings import Dataset
from pipeline.datasets.split_words import refuse_two_words
from pipeline.datasets.tables import as_text, refuse_two_spellings
from pipeline.datasets.tars import Tar
from pipeline.project.foreign_files import explain_reading as explain_foreign
from pipeline.project.paths import SPLITS
from pipeline.project.words import number_of, yaml_list

_Sample = dict[str, Entry]
"""A sample's members by what follows the first dot: ``jpg``, ``cls``."""


class Shards(Root):
    """Members of all tar files below a folder; a member's path begins with its shard's.

    Parameters
    ----------
    parts : Parts
        The shards, and what lies beside them.
    leave_out : sequence of str
        Members that are no part of the data set; see `pipeline.datasets.unwanted.is_named`.
    """

    def __init__(self, parts: Parts, leave_out: Sequence[str] = ()) -> None:
        self.beside, self._shards = parts.beside, parts.blobs
        self._leave_out = tuple(leave_out)
        self._ledger = parts.ledger

    def listing(self) -> Listing:
        """All regular files of all shards, sorted by path."""
        found, folders, passed = [], [], Ledger()
        passed.add_all(self._ledger)
        for shard, path in self._shards.items():
            inside = Tar(path, self._leave_out).listing()
            found += [Entry(f"{shard}/{e.path}", e.offset, e.size) for e in inside.entries]
            folders += [f"{shard}/{folder}" for folder in inside.folders]
            passed.add_all(inside.ledger, shard)
        return Listing(sorted(found, key=lambda entry: entry.path), sorted(folders), passed)

    def read(self, entry: Entry) -> bytes:
        """A member's content."""
        with explain_reading(entry):
            blob = self._shards[shard_of(entry.path)]
            return whole(blob.read_at(entry.offset, entry.size), entry)

    def state(self) -> Hashable:
        """See `Root`."""
        return tuple(blob.state() for blob in self._shards.values())


def shard_of(path: str) -> str:
    """The shard that a member's path names."""
    return path[: path.lower().index(".tar/") + len(".tar")]


def open_shards(name: str, dataset: Dataset) -> Shards:
    """All shards that `path` names."""
    return Shards(parts_of(name, dataset, ".tar"), dataset.leave_out)


def samples_of_shards(name: str, dataset: Dataset, root: Kept) -> Found:
    """A row for each sample: its image, and the class that its .cls or .json member says.

    Parameters
    ----------
    name : str
    dataset : Dataset
        `columns.label` and `columns.group` are keys of .json members, `columns.path` is the member
        that is the image (``jpg``), where there are several; `splits` has the words of
        shards' names that tell train from val (``train-0001.tar``, ``val/0001.tar``).
    root : Kept
        Of `Shards`.

    Raises
    ------
    ProbelineError
        When a sample has no image or no class, or some shards say their split and others do not.
    """
    shards = root.root
    assert isinstance(shards, Shards)
    samples: dict[str, _Sample] = {}
    for entry in root.entries():
        folder, _, file = entry.path.rpartition("/")
        key, _, extension = file.partition(".")
        members = samples.setdefault(f"{folder}/{key}", {})
        if (known := members.setdefault(extension.lower(), entry)) != entry:
            raise ProbelineError(
                f"data set {name}",
                "a sample has two members of one name, apart from capitals",
                found=f"{known.path} and {entry.path}",
                remedy="write this shard again",
            )
    images = _images(name, dataset, samples)
    facts = {key: _facts(dataset, shards, sample) for key, sample in samples.items()}
    _refuse(name, "no class", [key for key, (label, _) in facts.items() if label is None])
    labels = _named(name, shards.beside(CLASS_NAMES), [label or "" for label, _ in facts.values()])
    refuse_two_spellings(labels, f"data set {name}")
    split = splits_of_files(name, dataset, sorted({shard_of(key) for key in samples}))
    table = sample_table(
        images,
        labels,
        [split[shard_of(key)] for key in samples],
        [group for _, group in facts.values()],
    )
    return Found(table)


def _images(name: str, dataset: Dataset, samples: Mapping[str, _Sample]) -> list[Entry]:
    """The image of each sample: the member that the study names, or the only one.

    Beside ``0001.jpg`` there may be masks and the like with further words, ``0001.seg.png``.
    """
    found = {key: _candidates(dataset, sample) for key, sample in samples.items()}
    several = [key for key, of_sample in found.items() if len(of_sample) > 1]
    if several:
        key = several[0]
        members = sorted(member for member, e in samples[key].items() if e in found[key])
        raise ProbelineError(
            f"data set {name}",
            f"{number_of(len(several), 'sample has', 'samples have')} more than one image",
            expected="one image for each sample",
            found=f"{key} with {', '.join(members)}",
            remedy=f"say which, e.g. `columns: {{path: {members[0]}}}` in datasets.{name}",
        )
    _refuse(name, "no image", [key for key, of_sample in found.items() if not of_sample])
    return [of_sample[0] for of_sample in found.values()]


def _candidates(dataset: Dataset, sample: _Sample) -> list[Entry]:
    if "path" in dataset.columns.model_fields_set:
        wanted = dataset.columns.path.lower().lstrip(".")
        return [entry for member, entry in sample.items() if member == wanted]
    images = {m: e for m, e in sample.items() if PurePosixPath(e.path).suffix.lower() in SUFFIXES}
    plain = [entry for member, entry in images.items() if "." not in member]
    return plain or list(images.values())


def _facts(dataset: Dataset, root: Shards, sample: _Sample) -> tuple[str | None, str | None]:
    """Class and group of a sample; None where it does not say."""
    said: dict[str, object] = {}
    if (entry := sample.get("json")) is not None:
        remedy = "write the shard again"
        with explain_foreign(entry.path, "is not a JSON object", remedy):
            said = dict(json.loads(root.read(entry)))
    where = entry.path if entry is not None else ""
    label = as_text(said.get(dataset.columns.label), f"{where}: {dataset.columns.label}")
    if (of_class := sample.get("cls")) is not None:
        where = of_class.path
        label = as_text(root.read(of_class), where)
        if label is not None and label.lstrip()[:1] in ("[", "{"):
            as_text(_parsed(label), where)  # refuses a list
    group = None
    if dataset.columns.group is not None:
        of_group = f"{where}: {dataset.columns.group}"
        group = as_text(said.get(dataset.columns.group), of_group)
    return (
        clean_label(label, where) if label is not None else None,
        clean_label(group, of_group) if group is not None else None,
    )


def _parsed(text: str) -> object:
    """The JSON value of a text; the text itself where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str, lack: str, keys: list[str]) -> None:
    if keys:
        raise ProbelineError(
            f"data set {name}",
            f"{number_of(len(keys), 'sample has', 'samples have')} {lack}",
            expected="one image (.jpg, .png, …), and .cls, or .json with the key that "
            "`columns.label` names",
            found=", ".join(keys[:3]) + (" …" if len(keys) > 3 else ""),
            remedy="write these shards again, or name the key in `columns`",
        )


def _named(name: str, text: bytes | None, labels: list[str]) -> list[str]:
    """Numbers as the names that a file beside the shards gives them; else as they are."""
    if text is None or not all(label.isdecimal() for label in labels):
        return labels
    place = f"data set {name}: {CLASS_NAMES}"
    with explain_foreign(place, "is not UTF-8 text", "save it as UTF-8, a class on each line"):
        lines = text.decode("utf-8-sig").rstrip().splitlines()
    names = [clean_label(line, f"{place}, line {n + 1}") for n, line in enumerate(lines)]
    if twice := [one for one, number in Counter(names).items() if number > 1]:
        raise ProbelineError(
            place,
            "gives two numbers the same name, which would make one class of two",
            found=twice[0],
            remedy="name them differently, or move the file away to keep the numbers",
        )
    most = max(map(int, labels))
    if most >= len(names):
        raise ProbelineError(
            place,
            "names fewer classes than there are",
            expected=f"at least {most + 1} lines",
            found=str(len(names)),
            remedy="complete it, or move it away to keep the numbers",
        )
    return [names[int(label)] for label in labels]


def splits_of_files(name: str, dataset: Dataset, shards: list[str]) -> Mapping[str, str | None]:
    """The split that each shard's name tells; None for all where none does.

    Raises
    ------
    ProbelineError
        When some tell it and others do not, or several words tell the same one.
    """
    words = {word.lower(): split for split in SPLITS for word in dataset.splits[split]}
    told = {
        shard: [w for w in re.split(r"[^a-z0-9]+", shard.lower()) if w in words] for shard in shards
    }
    if not any(told.values()):
        return dict.fromkeys(shards)
    unclear = [shard for shard, of in told.items() if len({words[w] for w in of}) != 1]
    if unclear:
        raise ProbelineError(
            f"data set {name}",
            f"{number_of(len(unclear), 'file does', 'files do')} not say which split "
            f"{'it is' if len(unclear) == 1 else 'they are'}, and others do",
            expected=f"one of {', '.join(words)} in the name of each of the {len(shards):,} files, "
            "or in none",
            found=", ".join(unclear[:3]) + (" …" if len(unclear) > 3 else ""),
            remedy="rename them, leave them out with `leave_out`, or say which words mean what: "
            f"`splits` in datasets.{name}",
        )
    found = {word: words[word] for of in told.values() for word in of}

    def left_out(kept: list[str], others: list[str]) -> str:
        return f"leave_out: {yaml_list(f'*{word}*' for word in others)}"

    refuse_two_words(name, dataset, found, "words in the files' names", left_out)
    return {shard: words[of[0]] for shard, of in told.items()}
