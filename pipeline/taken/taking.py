"""Taking a classifier home: the head fitted again, its backbone, and a program that runs them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from cache.cell import Cell
from cache.errors import ProbelineError
from cache.files import explain_disk_errors, sha256_bytes
from cache.fingerprint import fingerprint
from cache.lock import Lock
from cache.records import Record
from cache.removal import discard, leave
from pipeline.datasets.images import DECODER
from pipeline.datasets.samples import entries_of
from pipeline.datasets.sources import dataset_root
from pipeline.embeddings.cells import open_cells
from pipeline.models.licence import licence_of, weights_source
from pipeline.models.networks import LoadedModel, load_model, timm_call
from pipeline.probes.scoring import Outcome, stored_outcome
from pipeline.study.metrics import ends_of
from pipeline.study.schema import Study
from pipeline.study.variant import Variant
from pipeline.taken.abstention import steps_of
from pipeline.taken.beside import beside_of, require_free
from pipeline.taken.choosing import Chosen
from pipeline.taken.classifier import Classifier, load
from pipeline.taken.fitting import fit_again, require_the_same
from pipeline.taken.folder import (
    HEAD_FILE,
    MADE_FOR,
    MANIFEST_FILE,
    PROGRAM_FILE,
    README_FILE,
    TENSORS_FILE,
    WEIGHTS_FILE,
    made_for,
    manifest_of,
    refuse_existing,
)
from pipeline.taken.heads import TakenHead, head_facts
from pipeline.taken.readme import readme
from pipeline.taken.standalone import program

CHECKED = 64
"""Test images that go the whole way, from the file to the class, before a folder is kept."""

_FAR = 0.05
"""Relative distance of features beyond which images, weights or transform must be others."""

_PACKAGES = ("torch", "timm", "pillow", "numpy", "safetensors")
"""That predict.py needs; their versions are told."""


@dataclass(frozen=True)
class Taken:
    """What was taken.

    Attributes
    ----------
    folder : Path
    facts : mapping
        See head.json.
    bytes : int
        Of the folder.
    same : int
        Test images of which the head says what the record holds: all.
    checked, agreeing : int
        Test images that went the whole way from the file, and those of the same class.
    unchecked : str
        Why none did; "" where some did.
    """

    folder: Path
    facts: Mapping[str, Any]
    bytes: int
    same: int
    checked: int
    agreeing: int
    unchecked: str


def take(study: Study, chosen: Chosen, out: Path, *, with_weights: bool = True) -> Taken:
    """Write the folder.

    Parameters
    ----------
    study : Study
    chosen : Chosen
        See `pipeline.taken.choosing.choose`.
    out : Path
        Must not exist.
    with_weights : bool
        Whether the backbone's weights are copied into it.

    Raises
    ------
    ProbelineError
        When `out` exists, embeddings or weights are not those of the record, or what was fitted
        does not say what the record holds. Nothing is left behind then.
    """
    require_free(out)
    place = f"model {chosen.model} on data set {chosen.dataset}"
    train, val = open_cells(study, chosen.index, chosen.model)
    stored = _outcome(chosen.record, chosen.variant)
    head = fit_again(study, chosen.index, chosen.variant, train, stored)
    same = require_the_same(head, val, stored, place)
    loaded = load_model(chosen.model, study.models[chosen.model])
    _require_same_backbone(loaded, val, place)
    facts = _facts(study, chosen, loaded, val, head, stored)
    with _building(out) as building:
        _write(building, facts, head, loaded, with_weights=with_weights)
        size = sum(path.stat().st_size for path in building.iterdir())
        weights = None if with_weights else _spare_weights(building, loaded)
        classifier = load(building, weights=weights)
        if weights is not None:
            weights.unlink()
        checked, agreeing, unchecked = _check(study, chosen, classifier, val, stored)
        refuse_existing(out)
        building.rename(out)
    return Taken(out, facts, size, same, checked, agreeing, unchecked)


@contextlib.contextmanager
def _building(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`; always the same one, which takes over what a killed run left.

    Raises
    ------
    CellLockedError
        When another process is writing the same folder.
    """
    beside = beside_of(out)
    building = beside / "taken"
    built = False
    try:
        with Lock(beside / "lock", str(out)), explain_disk_errors(out):
            try:
                discard(building)
                building.mkdir()
                yield building
                built = True
            finally:
                discard(building)
    except OSError:
        if not built:
            raise  # else the folder is whole, and a warning names what is left beside it
    finally:
        leave(beside)


def _outcome(record: Record, variant: Variant) -> Outcome:
    columns = ("predicted", "rank", "log_probability", "confidence")
    table = record.outcomes_where("variant", variant.name, columns)
    row = next(row for row in record.scores if row["variant"] == variant.name)
    return stored_outcome(table, row)


def _require_same_backbone(loaded: LoadedModel, val: Cell, place: str) -> None:
    """Refuse weights or a transform other than those of the cached embeddings."""
    key = val.manifest.key
    transform = loaded.transform.to_dict()
    recorded = {name: key["transform"].get(name) for name in transform}
    for what, expected, found in (
        ("weights", key["weights"], loaded.weights_digest),
        ("transform", recorded, transform),
    ):
        if fingerprint(expected) != fingerprint(found):
            raise ProbelineError(
                place,
                f"the {what} on this machine are not those of the cached embeddings",
                expected=str(expected),
                found=str(found),
                remedy="run `dvc repro`: it computes the embeddings again",
            )


def _facts(
    study: Study,
    chosen: Chosen,
    loaded: LoadedModel,
    val: Cell,
    head: TakenHead,
    stored: Outcome,
) -> dict[str, Any]:
    """All that head.json says; nothing of this machine."""
    entry, index = study.models[chosen.model], chosen.index
    architecture, arguments = timm_call(entry, f"params.yaml: models.{chosen.model}")
    hits = stored.predicted == val.labels()
    own = [row for row in chosen.record.scores if row["variant"] == chosen.variant.name]
    return {
        "model": chosen.model,
        "dataset": chosen.dataset,
        "protocol": chosen.variant.protocol,
        "variant": chosen.variant.name,
        "label": chosen.variant.label,
        "architecture": architecture,
        "arguments": dict(arguments),
        "weights": {
            "digest": loaded.weights_digest,
            "source": weights_source(chosen.model, entry),
            "licence": licence_of(entry),
        },
        "feature": loaded.feature,
        "transform": {
            **loaded.transform.to_dict(),
            "pad": index.pad,
            "white": index.white,
            "decoder": DECODER,
        },
        "precision": val.manifest.key["precision"],
        "stored_as": val.manifest.dtype,
        "classes": list(index.classes),
        "head": head_facts(head),
        "selected": {k: v for k, v in stored.details.items() if k != "path"},
        "n_train": own[0]["n_train"],
        "n_test": own[0]["n_test"],
        "scores": [{"metric": row["metric"], "value": row["value"], **ends_of(row),
                    "n_test": row["n_test"]} for row in own],
        "abstention": [astuple(step) for step in steps_of(stored.confidence, hits)],
        "record": fingerprint(chosen.record.key),
        "embeddings": dict(chosen.record.key).get("train", ""),
        "versions": {name: version(name) for name in _PACKAGES},
    }  # fmt: skip


def _write(
    folder: Path,
    facts: Mapping[str, Any],
    head: TakenHead,
    loaded: LoadedModel,
    *,
    with_weights: bool,
) -> None:
    text = json.dumps(facts, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    (folder / HEAD_FILE).write_text(text, encoding="utf-8")
    arrays = {name: np.ascontiguousarray(values) for name, values in head.to_arrays().items()}
    # As a reader of head.json computes it: lists, and no tuples.
    made = {MADE_FOR: made_for(json.loads(text))}
    (folder / TENSORS_FILE).write_bytes(save(arrays, made))
    (folder / PROGRAM_FILE).write_text(program(), encoding="utf-8")
    if with_weights:
        _save_weights(folder / WEIGHTS_FILE, loaded)
    (folder / README_FILE).write_text(readme(facts, with_weights=with_weights), encoding="utf-8")
    (folder / MANIFEST_FILE).write_bytes(manifest_of(folder))


def _save_weights(path: Path, loaded: LoadedModel) -> None:
    from safetensors.torch import save as to_bytes

    state = loaded.backbone.state_dict()
    # Copies: safetensors refuses tensors that share memory. Its own `save_file` says of a full disk
    # what no OSError says.
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    path.write_bytes(to_bytes(copies))


def _spare_weights(folder: Path, loaded: LoadedModel) -> Path:
    """For the check of a folder that goes without them."""
    path = folder / f".{WEIGHTS_FILE}.checked"
    _save_weights(path, loaded)
    return path


def _check(
    study: Study, chosen: Chosen, classifier: Classifier, val: Cell, stored: Outcome
) -> tuple[int, int, str]:
    """Some test images from their files to their classes, as the taken folder does it."""
    try:
        root = dataset_root(chosen.dataset, study.datasets[chosen.dataset])
        entries = entries_of(chosen.index.split("val").iloc[:CHECKED])
        images = [root.read(entry) for entry in entries]
    except (ProbelineError, OSError) as error:
        reason = error.problem if isinstance(error, ProbelineError) else str(error)
        return 0, 0, f"the images of {chosen.dataset} can't be read here: {reason}"
    digests = chosen.index.digests("val")
    if others := sum(sha256_bytes(image) != digests[i] for i, image in enumerate(images)):
        ones = "is not the one that was" if others == 1 else "are not those that were"
        return 0, 0, f"{others} of {len(images)} {ones} indexed"
    features = classifier.features(classifier.pixels(images))
    cached = val.take(np.arange(len(images))).astype(np.float32)
    away = np.linalg.norm(features - cached, axis=1)
    far = away > _FAR * np.maximum(np.linalg.norm(cached, axis=1), 1e-12)
    if far.any():
        raise ProbelineError(
            f"model {chosen.model} on data set {chosen.dataset}",
            "gives other features of the test images than those that are cached",
            expected=f"those of {val.ids()[int(np.argmax(far))]}, within {_FAR:.0%}",
            found=f"others of {int(far.sum())} of {len(images)} images",
            remedy="look whether the images were changed (`probeline datasets check`), and whether "
            "this machine's torch and timm are those that README's versions name",
        )
    said = [p.label for p in classifier.predict(images)]
    expected = [classifier.classes[i] for i in stored.predicted[: len(images)]]
    return len(images), sum(a == b for a, b in zip(said, expected, strict=True)), ""
