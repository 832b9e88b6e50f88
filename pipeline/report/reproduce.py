"""The report's block that lets others do it again: code, data, weights, settings, commands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cache.files import sha256_file
from pipeline.datasets.index import read_index
from pipeline.models.licence import weights_source
from pipeline.project.commit import Commit, code_commit
from pipeline.report.inputs import Inputs
from pipeline.results.baseline import baseline_path
from pipeline.results.foreign_scores import stored_files
from pipeline.study.params import settings_text


@dataclass(frozen=True)
class Images:
    """Which images a data set is.

    Attributes
    ----------
    name, source : str
        The source as the study names it.
    classes, train, test : int
    train_digest, test_digest : str
        See `pipeline.datasets.index.Index.images_digest`; empty of imported embeddings.
    """

    name: str
    source: str
    classes: int
    train: int
    test: int
    train_digest: str
    test_digest: str


@dataclass(frozen=True)
class Weights:
    """Which weights a model has.

    Attributes
    ----------
    model, source : str
    digest : str
        SHA-256 of the weights as loaded; empty where nothing is recorded.
    """

    model: str
    source: str
    digest: str


@dataclass(frozen=True)
class Reproduce:
    """What the block says.

    Attributes
    ----------
    commit : Commit
    packages : tuple of str
        As recorded with the embeddings, a text for each combination.
    images : tuple of Images
    weights : tuple of Weights
    files : tuple of (str, str)
        Imported tables, and models of a baseline, with their SHA-256.
    settings : str
        The study, without comments.
    withheld : str
    """

    commit: Commit
    packages: tuple[str, ...]
    images: tuple[Images, ...]
    weights: tuple[Weights, ...]
    files: tuple[tuple[str, str], ...]
    settings: str
    withheld: str = ""


def section(inputs: Inputs) -> Reproduce:
    """Everything that the numbers depend on, as far as it is known."""
    study = inputs.study
    return Reproduce(
        commit=code_commit(),
        packages=_packages(inputs),
        images=tuple(_images(name, entry.source) for name, entry in study.datasets.items()),
        weights=tuple(_weights(inputs, name) for name in study.models),
        files=tuple(_files()),
        settings=settings_text(),
    )


def _packages(inputs: Inputs) -> tuple[str, ...]:
    said = (
        ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
        + f", Python {facts['python']}"
        for facts in inputs.provenance.values()
    )
    return tuple(dict.fromkeys(said))


def _images(name: str, source: str) -> Images:
    index = read_index(name)
    numbers = {split: len(index.digests(split)) for split in ("train", "val")}
    digests = {split: index.images_digest(split) if n else "" for split, n in numbers.items()}
    return Images(
        name, source, len(index.classes),
        numbers["train"], numbers["val"], digests["train"], digests["val"],
    )  # fmt: skip


def _weights(inputs: Inputs, model: str) -> Weights:
    entry = inputs.study.models[model]
    facts = [found for (_, name), found in inputs.provenance.items() if name == model]
    digests = dict.fromkeys(str(found["weights"]) for found in facts)
    checkpoint = facts[0].get("checkpoint") if facts else None
    source = "imported embeddings"
    if entry.weights != "imported":
        source = weights_source(model, entry, checkpoint)
    return Weights(model, source, "; ".join(digests))


def _files() -> Iterable[tuple[str, str]]:
    for path in stored_files():
        for kept in (path, baseline_path(path)):
            if kept.exists():
                yield kept.as_posix(), sha256_file(kept)
