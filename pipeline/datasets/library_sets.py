"""Data sets of torchvision and of Hugging Face, turned once into a tar file of images."""

from __future__ import annotations

import difflib
import inspect
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from cache.errors import ProbelineError
from cache.fingerprint import fingerprint
from pipeline.datasets.doors import open_root
from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.datasets.manifests import samples_of_manifest
from pipeline.datasets.picture_tar import INDEX, LEFT, png, write_collection
from pipeline.datasets.roots import Kept, Root
from pipeline.datasets.samples import Found
from pipeline.datasets.settings import Dataset, Split
from pipeline.datasets.tables import as_text
from pipeline.machine.environment import expand_path
from pipeline.machine.progress import Progress
from pipeline.project.foreign_files import explain_reading, words_of
from pipeline.project.paths import RAW, SPLITS
from pipeline.project.words import number_of

Parts = Mapping[Split | None, Sequence[Any]]
"""The library's own objects for each split; None where it has no splits."""


_Make = Callable[[str, Dataset, str, dict[str, int]], Iterable[tuple[str | None, str, str, bytes]]]
"""From the data set's name, its entry, the library's name and what is left: split, class, image."""

_AS_CONVERTED = Dataset.model_validate(
    {
        "source": "manifest",
        "path": "converted",
        "role": "in_domain",
        "manifest": INDEX,
        "splits": {split: [split] for split in SPLITS},
    }
)
"""How the tar files are read that are made here."""

_UNPICKLED = "LSUN"
"""Read by torchvision from a pickle that lies in the data set's own folder, unchecked: not here."""


def open_torchvision(name: str, dataset: Dataset) -> Root:
    """The tar file of a data set ``torchvision:NAME``; see `_library_root`."""
    return _library_root(name, dataset, "torchvision", _from_torchvision)


def open_hugging_face(name: str, dataset: Dataset) -> Root:
    """The tar file of a data set ``hf:NAME``; see `_library_root`."""
    return _library_root(name, dataset, "hf", _from_hugging_face)


def samples_of_library(name: str, dataset: Dataset, root: Kept) -> Found:
    """As the tar file itself lists them, and the images of the splits that were left."""
    found = samples_of_manifest(name, _AS_CONVERTED, root)
    left = [json.loads(root.read(entry)) for entry in root.entries() if entry.path == LEFT]
    return replace(found, lists={INDEX, LEFT}, other_splits=dict(*left))


def _library_root(name: str, dataset: Dataset, library: str, make: _Make) -> Root:
    """The tar file of a library's data set, made if absent.

    Raises
    ------
    ProbelineError
        When the library has no such data set, finds no files, or gives no image and class for each
        sample.
    """
    of = dataset.source_name
    if dataset.columns.group is not None:
        raise ProbelineError(
            f"params.yaml: datasets.{name}.columns.group",
            f"groups of a data set of {library} are not read",
            found=dataset.columns.group,
            remedy="leave `group` out; or write a manifest, which can have such a column",
        )
    own = [dataset.path, dataset.splits, dataset.test_only, dataset.columns.model_dump()]
    words = "".join(c if c.isalnum() else "_" for c in of)
    target = RAW / f"{library}_{words}_{fingerprint([dataset.source, *own])[:12]}.tar"
    if not target.exists():
        left: dict[str, int] = {}
        write_collection(target, make(name, dataset, of, left), left)
    return open_root(target, f"params.yaml: datasets.{name}.path")


def _from_torchvision(
    name: str, dataset: Dataset, of: str, left: dict[str, int]
) -> Iterator[tuple[str | None, str, str, bytes]]:
    import torchvision.datasets as library

    kinds = [
        kind
        for kind in library.__all__
        if inspect.isclass(getattr(library, kind)) and not kind.startswith(_UNPICKLED)
    ]
    if of not in kinds:
        near = difflib.get_close_matches(of, kinds, n=3)
        raise ProbelineError(
            f"params.yaml: datasets.{name}.source",
            "torchvision has no such data set",
            found=of,
            remedy=f"did you mean {' or '.join(near)}?" if near else "see torchvision.datasets",
        )
    assert dataset.path is not None  # the schema demands it
    root = expand_path(dataset.path, f"params.yaml: datasets.{name}.path")
    try:
        parts = _torchvision_parts(name, dataset, getattr(library, of), root)
    except ProbelineError:
        raise
    except Exception as error:  # noqa: BLE001 - a library's own parsers raise whatever they like
        raise ProbelineError(
            f"data set {name}",
            f"torchvision's {of} can't be read",
            found=words_of(error),
            remedy=f"name as `path` the folder that torchvision calls root; download it there "
            f"with torchvision.datasets.{of}(root, download=True), where it can",
        ) from None
    total = sum(len(samples) for of_split in parts.values() for samples in of_split)
    with Progress(f"convert {name}", total, "images") as progress:
        for split, of_split in parts.items():
            for samples in of_split:
                names = getattr(samples, "classes", None) or getattr(samples, "categories", None)
                for sample in _each(name, map(samples.__getitem__, range(len(samples)))):
                    image, label = _pair(name, of, sample)
                    yield split, str(names[label] if names else label), *_stored(image)
                    progress.advance()


def _torchvision_parts(name: str, dataset: Dataset, kind: Callable[..., Any], root: Path) -> Parts:
    """By its own arguments: ``train=True`` and False, ``split="train"`` and so on, or neither."""
    takes = inspect.signature(kind).parameters
    if "train" in takes:
        return {split: [kind(root=root, train=split == "train")] for split in _wanted(dataset)}
    if "split" not in takes:
        return {None: [kind(root=root)]}

    def there(word: str) -> bool:
        try:
            kind(root=root, split=word)
        except ValueError:  # of a word that it does not know
            return False
        return True

    words = _chosen(name, dataset, there)
    return {s: [kind(root=root, split=word) for word in of_split] for s, of_split in words.items()}


def _chosen(name: str, dataset: Dataset, there: Callable[[str], bool]) -> dict[Split, list[str]]:
    """The library's names of the splits: those that the study says, or the only ones there are."""
    if "splits" in dataset.model_fields_set:
        return {split: dataset.splits[split] for split in _wanted(dataset)}
    found = {split: [w for w in dataset.splits[split] if there(w)] for split in _wanted(dataset)}
    for split, words in found.items():
        if len(words) != 1:
            raise ProbelineError(
                f"params.yaml: datasets.{name}.splits",
                f"{len(words)} of its splits could be {split}",
                expected="one",
                found=", ".join(words) or "none of these names",
                remedy="say which, e.g. `splits: {train: [train], val: [test]}`",
            )
    return found


def _wanted(dataset: Dataset) -> tuple[Split, ...]:
    return ("val",) if dataset.test_only else SPLITS


def _pair(name: str, of: str, sample: Any) -> tuple[Image.Image, int]:
    """A sample's image and label."""
    image, label = sample[0], sample[1]
    if hasattr(label, "item") and getattr(label, "ndim", 1) == 0:
        label = label.item()
    if not isinstance(image, Image.Image) or not isinstance(label, int | np.integer):
        raise ProbelineError(
            f"data set {name}",
            f"torchvision's {of} does not give an image and a class",
            expected="a picture, and a whole number",
            found=f"{type(image).__name__}, {type(label).__name__}",
            remedy="choose a data set for classification",
        )
    if label < 0:
        raise ProbelineError(
            f"data set {name}",
            f"torchvision's {of} has images without a class",
            found=f"the label {label}",
            remedy="name a split that has labels with `splits`",
        )
    return image, int(label)


def _each(name: str, samples: Iterable[Any]) -> Iterator[Any]:
    """A library's samples; what it raises while it reads one becomes an error of ours."""
    number = 0
    try:
        for sample in samples:
            yield sample
            number += 1
    except Exception as error:  # noqa: BLE001 - decoders and parsers raise whatever they like
        raise ProbelineError(
            f"data set {name}",
            f"its library can't read sample {number}",
            found=" ".join(f"{type(error).__name__}: {error}".split())[:300],
            remedy="repair or download its files again",
        ) from None


def _stored(image: Image.Image) -> tuple[str, bytes]:
    """A picture as a file that holds all of its brightness."""
    if image.mode.startswith("I") or image.mode == "F":  # more than 8 bits
        file = io.BytesIO()
        image.save(file, "TIFF")
        return ".tif", file.getvalue()
    plain = image.mode in ("RGB", "L", "P", "RGBA", "1")
    return ".png", png(image if plain else image.convert("RGB"))


def _from_hugging_face(
    name: str, dataset: Dataset, of: str, left: dict[str, int]
) -> Iterator[tuple[str | None, str, str, bytes]]:
    try:
        import datasets as library
    except ImportError:
        raise ProbelineError(
            f"params.yaml: datasets.{name}.source",
            "needs the package `datasets`",
            found=dataset.source,
            remedy="install it: pip install -e '.[hf]'",
        ) from None
    try:
        loaded = _load(name, dataset, of, library)
    except ProbelineError:
        raise
    except Exception as error:  # noqa: BLE001 - a library's own parsers raise whatever they like
        raise ProbelineError(
            f"data set {name}",
            "can't be had from Hugging Face",
            found=words_of(error),
            remedy="correct OWNER/NAME, connect to the network, or name a local copy as `path`",
        ) from None
    parts: Parts = {None: [loaded]}
    if isinstance(loaded, Mapping):
        words = _chosen(name, dataset, loaded.__contains__)
        parts = {s: [_part(name, loaded, w) for w in of_split] for s, of_split in words.items()}
        taken = {word for of_split in words.values() for word in of_split}
        left |= {word: len(loaded[word]) for word in loaded if word not in taken}
    total = sum(len(samples) for of_split in parts.values() for samples in of_split)
    with Progress(f"convert {name}", total, "images") as progress:
        for split, of_split in parts.items():
            for samples in of_split:
                image, label = _columns(name, dataset, samples.features, library)
                raw = samples.select_columns([image, label]).cast_column(
                    image, library.Image(decode=False)
                )
                names = getattr(samples.features[label], "names", None)
                where = f"data set {name}: {split or 'all rows'}"
                labels = _labels(raw[label], names, f"{where}, column {label}")
                for number, (row, of_row) in enumerate(zip(raw, labels, strict=True)):
                    yield split, of_row, *_file(row[image], f"{where}, row {number + 1}")
                    progress.advance()


def _load(name: str, dataset: Dataset, of: str, library: Any) -> Any:
    if dataset.path is None:
        return library.load_dataset(of)
    folder = expand_path(dataset.path, f"params.yaml: datasets.{name}.path")
    if not folder.is_dir():  # the library would ask the hub for a data set of that name
        raise FileNotFoundError(f"there is no folder {folder.absolute()}")
    if any((folder / file).exists() for file in ("dataset_dict.json", "state.json")):
        return library.load_from_disk(str(folder))
    return library.load_dataset(str(folder))


def _part(name: str, loaded: Mapping[str, Any], word: str) -> Any:
    if word not in loaded:
        raise ProbelineError(
            f"params.yaml: datasets.{name}.splits",
            "there is no such split",
            expected=f"one of {', '.join(loaded)}",
            found=word,
            remedy="correct `splits`",
        )
    return loaded[word]


def _columns(
    name: str, dataset: Dataset, features: Mapping[str, Any], library: Any
) -> tuple[str, str]:
    """The columns with image and class: as the study names them, or the only ones of that kind."""
    own = dataset.columns.model_fields_set
    found = []
    for what, said, kind in (
        ("path", dataset.columns.path, library.Image),
        ("label", dataset.columns.label, library.ClassLabel),
    ):
        legal = [said] if what in own else [c for c, of in features.items() if isinstance(of, kind)]
        if not legal and said in features:  # plain numbers or words named `label`
            legal = [said]
        if len(legal) != 1 or legal[0] not in features:
            raise ProbelineError(
                f"params.yaml: datasets.{name}.columns.{what}",
                "does not name one column of the data set",
                expected=f"one of {', '.join(features)}",
                found=", ".join(legal) or "nothing",
                remedy=f"name the column with the {'image' if what == 'path' else 'class'}",
            )
        found.append(legal[0])
    return found[0], found[1]


def _labels(values: Iterable[Any], names: Sequence[str] | None, place: str) -> list[str]:
    """Class names of all rows; the library writes -1, or nothing, where a row has none."""
    labels = []
    for number, value in enumerate(values):
        if names is not None and value is not None:
            value = names[value] if 0 <= value < len(names) else None
        labels.append(as_text(value, f"{place}, row {number + 1}"))
    if missing := [number + 1 for number, label in enumerate(labels) if label is None]:
        raise ProbelineError(
            place,
            f"{number_of(len(missing), 'row has', 'rows have')} no class",
            found=f"row {', '.join(map(str, missing[:3]))}" + " …" * (len(missing) > 3),
            remedy="name a split that has labels with `splits`, or another column with `columns`",
        )
    return [label for label in labels if label is not None]


def _file(image: Mapping[str, Any] | None, where: str) -> tuple[str, bytes]:
    """An image file's ending and content, as it was uploaded."""
    if image is None or (image["bytes"] is None and not image["path"]):
        raise ProbelineError(where, "has no image", remedy="take this row out")
    path = image["path"] or ""
    suffix = PurePosixPath(path).suffix.lower()
    with explain_reading(f"{where}: {path}", "can't be read", "put the image back"):
        content = image["bytes"] if image["bytes"] is not None else Path(path).read_bytes()
    return (suffix if suffix in SUFFIXES else ".img"), content
