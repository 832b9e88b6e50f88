"""Beside a cell's key: what computed it and what that cost. No dates: DVC hashes this."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cache.cell import CellAddress
from cache.errors import CellCorruptError, ProbelineError
from cache.files import explain_disk_errors, write_durably
from cache.fingerprint import differences
from cache.lock import exclusively
from cache.seals import damaged, read_sealed_json, sealed_json
from cache.storage import Storage
from pipeline.models.card import Card
from pipeline.models.cards import checkpoint_digest, loading_part
from pipeline.models.settings import Model
from pipeline.project.paths import cell_address, provenance_path

_PACKAGES = ("torch", "timm", "pillow", "numpy", "zarr")
_REMEDY = (
    "`dvc checkout` brings it back, if it was ever committed; else delete it: what the embeddings "
    "cost is unknown then, and all else stays"
)
_MOST = 1e18
"""Images, weights or seconds, and no infinity."""

_OF_THE_COMPUTATION = ("device", "processor", "versions", "python")


def record_provenance(
    dataset: str,
    model: str,
    entry: Model,
    card: Card,
    *,
    split: str,
    images: int,
    seconds: float,
    storage: Storage,
    device: str,
    precision: str,
    copied: Mapping[str, int] | None = None,
) -> None:
    """Record one split; what is recorded of the model's other splits, and its audit, stays.

    Called when all of a cell's rows are there, before it is put in place: a cell that is whole has
    its record. What is recorded is first kept beside the unfinished cell, so that a run that goes
    on after a kill records the same, and does not count its own cost as that of rows it copied.

    Parameters
    ----------
    dataset, model : str
    entry : Model
        What the study asked for; `made_from` compares it later.
    card : Card
    split : str
    images : int
    seconds : float
        Spent in forward passes, by earlier interrupted runs too. To these, what the copied rows
        cost where they were computed is added: the sum is what the cell's rows cost.
    storage : Storage
        How its rows are stored, and why.
    device, precision : str
        Of the computation.
    copied : mapping of str to int, optional
        Rows that other cells held already, by cell (data set, model and split).
    """
    kept = kept_path(cell_address(dataset, model, split))
    facts = _kept(kept)
    if facts is None or split not in facts["splits"]:
        facts = _facts(model, entry, card, device, precision)
        facts |= _still_recorded(dataset, model, facts)
        copied = dict(copied or {})
        if copied and sum(copied.values()) == images:
            facts |= _computation(facts, dataset, model, copied)
        cost = seconds + sum(_cost(name, rows) for name, rows in copied.items())
        part = {"images": images, "seconds": round(cost, 3), "remarks": list(storage.remarks)}
        if storage.generation:
            part["storage"] = {
                "type": storage.dtype,
                "generation": storage.generation,
                "decided": storage.decided,
            }
        facts["splits"][split] = part | ({"copied": copied} if copied else {})
        write_durably(kept, sealed_json(facts))
    with _alone(dataset, model):  # another process may record another split meanwhile
        recorded = read_provenance(dataset, model)
        if all(recorded.get(name) == facts.get(name) for name in ("weights", "precision")):
            own = {split: facts["splits"][split]}
            splits = {**facts["splits"], **recorded["splits"], **own}
            facts["splits"] = dict(sorted(splits.items()))  # whoever comes first
        _write(dataset, model, facts)


@contextlib.contextmanager
def _alone(dataset: str, model: str) -> Iterator[None]:
    """Between reading a record and writing it anew."""
    folder = provenance_path(dataset, model).parent
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with exclusively(folder):
        yield


def kept_path(address: CellAddress) -> Path:
    """What will be recorded of a cell, beside it while it is built or mended."""
    return address.partial / "provenance.json"


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        facts = read_sealed_json(path)
    except (FileNotFoundError, CellCorruptError):
        return None
    return facts if _is_record(facts) else None


def _still_recorded(dataset: str, model: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What earlier splits said and what was audited, as far as these facts hold for it, too."""
    earlier = read_provenance(dataset, model)
    kept = {}
    if all(earlier.get(name) == facts[name] for name in ("weights", "precision")):
        kept["splits"] = dict(earlier["splits"])
    if earlier.get("audit", {}).get("precision") == facts["precision"]:
        kept["audit"] = earlier["audit"]
    return kept


def _computation(
    facts: Mapping[str, Any], dataset: str, model: str, copied: Mapping[str, int]
) -> dict[str, Any]:
    """What computed the rows, where all of them were copied.

    With it what only loading the model would say: for copying, nobody loads it.
    """
    for cell in (f"{dataset}/{model}", *copied):
        made = read_provenance(*cell.split("/")[:2])
        same = all(made.get(name) == facts[name] for name in ("weights", "precision"))
        if same and all(name in made for name in _OF_THE_COMPUTATION):
            kept = {name: made[name] for name in _OF_THE_COMPUTATION}
            for name in ("parameters", "gmacs"):
                kept[name] = facts[name] or made.get(name)
            if facts["checkpoint"] is None and made.get("entry") == facts["entry"]:
                kept["checkpoint"] = made.get("checkpoint")
            return kept
    return {}


def _cost(name: str, rows: int) -> float:
    """Seconds of forward passes that copied rows once took, as far as that is recorded."""
    dataset, model, split = name.split("/")
    part = read_provenance(dataset, model).get("splits", {}).get(split, {})
    images = part.get("images") or 0
    return float(part["seconds"]) * rows / images if images and "seconds" in part else 0.0


def recorded_storage(dataset: str, model: str, split: str) -> Storage:
    """How a cell's rows are stored, for a clone that has its record alone; see `numbers_of`."""
    part = read_provenance(dataset, model).get("splits", {}).get(split, {}).get("storage", {})
    return Storage(part.get("type", "float16"), part.get("generation", 0))


def record_audit(
    dataset: str,
    model: str,
    entry: Model,
    card: Card,
    audit: Mapping[str, Any],
    *,
    device: str,
) -> None:
    """Record an audit of reduced precision, before the cells that it is about are whole.

    Parameters
    ----------
    dataset, model : str
    entry : Model
    card : Card
    audit : mapping
        Holds ``cell`` (the fingerprint of the train cell to come) and ``precision``.
    device : str
        Of the computation.
    """
    # Cells that are there still are what the record says of them.
    with _alone(dataset, model):
        facts = read_provenance(dataset, model)
        facts = facts or _facts(model, entry, card, device, audit["precision"])
        _write(dataset, model, {**facts, "audit": dict(audit)})


def recorded_audit(dataset: str, model: str) -> dict[str, Any]:
    """What `record_audit` recorded last; empty where it did not."""
    return dict(read_provenance(dataset, model).get("audit", {}))


def copied_rows(dataset: str, model: str) -> tuple[int, int]:
    """Of a model's rows on a data set, those that other cells held already; and all of them."""
    splits = read_provenance(dataset, model).get("splits", {}).values()
    copied = sum(sum(split.get("copied", {}).values()) for split in splits)
    return copied, sum(split["images"] for split in splits)


def describe_audit(audit: Mapping[str, Any]) -> str:
    """A recorded audit in one line."""
    return (
        f"in {audit['precision']}, rows of {audit['images']} images differ from float32 by "
        f"{audit['median']:.2%} of their norm (median; {audit['maximum']:.2%} at most) and "
        f"{audit['changed']:.1%} of their kNN predictions change"
    )


def recorded_card(dataset: str, model: str, entry: Model) -> Card | None:
    """What cells' keys need of a model, if the record agrees with what the study asks for.

    For a clone that has records and results but not the embeddings themselves.
    """
    facts = read_provenance(dataset, model)
    if not facts or made_from(dataset, model, entry, facts["weights"], strictly=False):
        return None
    return Card(facts["weights"], facts["transform"], 0, 0)


def origin(model: str, entry: Model) -> dict[str, Any]:
    """What a study asks for in a model, and the digest of its checkpoint (None: not here)."""
    try:
        checkpoint = checkpoint_digest(model, entry)
    except ProbelineError:
        checkpoint = None
    return {"entry": loading_part(entry), "checkpoint": checkpoint}


def made_from(dataset: str, model: str, entry: Model, weights: str, *, strictly: bool) -> list[str]:
    """How the record of a cell differs from what the study asks for; empty where it does not.

    Parameters
    ----------
    dataset, model : str
    entry : Model
    weights : str
        Digest in the cell's key: a record of other weights is of another cell.
    strictly : bool
        Also ask for the same versions of torch and timm, on which the weights of `random` and
        `pretrained` depend.

    Returns
    -------
    list of str
        A line for each difference.
    """
    try:
        recorded = read_sealed_json(provenance_path(dataset, model))
        if recorded["weights"] != weights:
            return ["its origin is not recorded"]
        asked = origin(model, entry)
        found = {name: recorded[name] for name in asked}
        if asked["checkpoint"] is None:  # not on this machine; its features are
            asked["checkpoint"] = found["checkpoint"]
        if found["checkpoint"] is None and entry.weights == "pretrained":
            asked["checkpoint"] = None  # recorded before timm's own weights had their digest
        if strictly and entry.weights_file is None:
            for package in ("torch", "timm"):
                found[package] = recorded["versions"][package]
                asked[package] = version(package)
    except CellCorruptError:
        return ["the record of its origin is damaged"]
    except (FileNotFoundError, KeyError, TypeError):
        return ["its origin is not recorded"]
    return differences(found, asked)


def _facts(model: str, entry: Model, card: Card, device: str, precision: str) -> dict[str, Any]:
    """What holds for all splits of a model."""
    return {
        **origin(model, entry),
        "parameters": card.parameters,
        "gmacs": card.gmacs,
        "dimension": card.columns,
        "weights": card.weights,
        "transform": dict(card.transform),
        "device": device,
        "processor": platform.processor() or platform.machine(),
        "versions": {package: version(package) for package in _PACKAGES},
        "python": platform.python_version(),
        "precision": precision,
        "splits": {},
    }


def read_provenance(dataset: str, model: str) -> dict[str, Any]:
    """All that is recorded of a model's cells; empty where nothing is.

    Raises
    ------
    CellCorruptError
        When the record is not what was written: nobody else knows what it said.
    """
    try:
        facts = read_sealed_json(provenance_path(dataset, model), _REMEDY)
    except FileNotFoundError:
        return {}
    if not facts:
        return {}
    if not _is_record(facts):
        raise damaged(provenance_path(dataset, model), "values that no record holds", _REMEDY)
    return facts


def _is_record(facts: Mapping[str, Any]) -> bool:
    """Whether all that is calculated with is what it must be: a clone's are a stranger's."""
    splits = facts.get("splits")
    if not isinstance(splits, dict) or not isinstance(facts.get("transform"), dict):
        return False
    parts = [part for part in splits.values() if isinstance(part, dict)]
    numbers = [facts.get(name) or 0 for name in ("parameters", "dimension", "gmacs")]
    for part in parts:
        copied = part.get("copied", {})
        if not isinstance(copied, dict) or any(name.count("/") != 2 for name in copied):
            return False
        storage = part.get("storage", {})
        if not isinstance(storage, dict):
            return False
        numbers += [part.get("images"), part.get("seconds"), *copied.values()]
        numbers.append(storage.get("generation", 0))
    return (
        len(parts) == len(splits)
        and all(_is_number(number) for number in numbers)
        and isinstance(facts.get("weights"), str)
        and isinstance(facts.get("audit", {}), dict)
        and all(isinstance(part.get("remarks"), list) for part in parts)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


def _write(dataset: str, model: str, facts: Mapping[str, Any]) -> None:
    write_durably(provenance_path(dataset, model), sealed_json(facts))
