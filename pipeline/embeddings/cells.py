"""Which cells a study needs, and what each one's key is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cache.cell import Cell, CellAddress
from cache.errors import CellCorruptError, CellMissingError, CellStaleError, ProbelineError
from cache.fingerprint import differences, fingerprint
from cache.manifest import KEY_FORMAT
from cache.verify import altered
from pipeline.datasets.images import DECODER
from pipeline.datasets.index import Index
from pipeline.datasets.settings import Split
from pipeline.embeddings.provenance import made_from
from pipeline.models.card import Card
from pipeline.models.cards import find_card
from pipeline.models.settings import Model
from pipeline.models.transforms import VIEW_RULES
from pipeline.project.paths import SPLITS, cell_address
from pipeline.study.schema import Study

_OF_A_ROW = ("architecture", "arguments", "weights", "feature", "transform", "precision")
"""The parts of a key that a row depends on, beside its image."""

_OF_THE_DATA = ("decoder", "view", "pad", "grey")
"""The parts of a key's transform that are not the model's."""

State = Literal["cached", "missing", "stale", "damaged"]


def needed_splits(study: Study, entry: Model, *, test_only: bool = False) -> tuple[str, ...]:
    """Train, val, and one more for each augmented view of train: ``train_view_1`` and so on.

    Of a data set with test images only, val alone.
    """
    if test_only:
        return ("val",)
    if entry.weights == "imported":
        return SPLITS
    return (*SPLITS, *(f"train_view_{number + 1}" for number in range(study.extraction.views)))


def samples_of(split: str) -> tuple[Split, int]:
    """The split whose images a cell holds, and the number of its view (0: not augmented)."""
    name, _, number = split.partition("_view_")
    return ("val" if name == "val" else "train"), int(number or 0)


def cell_key(study: Study, index: Index, split: str, entry: Model, card: Card) -> dict[str, Any]:
    """Everything that can change the numbers of a cell; names can't."""
    samples, view = samples_of(split)
    seeded = {"seed": "digest"} if index.seeds == "digest" else {}
    augmented = {"view": {"number": view, **VIEW_RULES, **seeded}} if view else {}
    padded = {"pad": "crop" if index.pad == "crop" else "square"} if index.pad else {}
    pixels = {"decoder": DECODER, **index.grey_key}
    return {
        "format": KEY_FORMAT,
        "samples": index.samples_digest(samples),
        "split": samples,
        "architecture": entry.architecture,
        "arguments": entry.arguments,
        "weights": card.weights,
        "feature": entry.feature,
        "transform": {**pixels, **card.transform, **augmented, **padded},
        # Of imported embeddings nobody here knows it, and a setting does not change it.
        "precision": "imported" if entry.weights == "imported" else study.extraction.precision,
        "storage": study.extraction.storage,
    }


def rows_made_by(key: Mapping[str, Any]) -> str | None:
    """What a cell's rows depend on beside their images: cells that agree in it share rows.

    None where rows are nothing that another cell could take: imported ones are of a file, and views
    that were seeded by the number of their row are of a list.
    """
    if key.get("precision") == "imported" or any(name not in key for name in _OF_A_ROW):
        return None
    view = key["transform"].get("view")
    if view is not None and view.get("seed") != "digest":
        return None
    return fingerprint({name: key[name] for name in _OF_A_ROW})


def model_of_rows(key: Mapping[str, Any]) -> str | None:
    """As `rows_made_by`, whatever view of an image it is: whose rows are stored in one type."""
    if rows_made_by(key) is None:
        return None
    transform = {name: value for name, value in key["transform"].items() if name != "view"}
    return fingerprint({**{name: key[name] for name in _OF_A_ROW}, "transform": transform})


@dataclass(frozen=True)
class CellStatus:
    """A needed cell (both splits of one data set through one model) and how it stands.

    Attributes
    ----------
    dataset, model : str
    state : {"cached", "missing", "stale", "damaged"}
    detail : str
        Why, in a few words.
    """

    dataset: str
    model: str
    state: State
    detail: str = ""


def split_state(address: CellAddress, key: Mapping[str, Any]) -> tuple[State, str]:
    """How the cell at `address` stands to `key`."""
    try:
        found = Cell.open(address).manifest.key
    except CellMissingError:
        return "missing", "begun, not whole" if address.partial.exists() else ""
    except CellCorruptError as error:
        return "damaged", error.problem
    changed = differences(found, key)
    return ("stale", "; ".join(changed)) if changed else ("cached", "")


def cell_status(study: Study, index: Index, model: str, *, strictly: bool = False) -> CellStatus:
    """How one needed cell stands, without importing torch.

    Where the model's card is not known on this machine (a fresh clone with pulled embeddings, or
    an entry that was just changed), the weights and the transform that the cell itself records
    are believed if the record of its origin agrees with what the study asks for.

    Parameters
    ----------
    study : Study
    index : Index
    model : str
    strictly : bool
        Believe no record of other versions of torch or timm: the caller can load the model. And
        read what was written to after the cell was whole, before DVC takes it for the truth.
    """
    entry = study.models[model]
    card = _card_or_none(index.name, model, entry)
    for split in needed_splits(study, entry, test_only="train" not in index.split_names):
        address = cell_address(index.name, model, split)
        try:
            recorded = recorded_card(address)
        except (CellMissingError, CellCorruptError) as error:
            state: State = "damaged" if isinstance(error, CellCorruptError) else "missing"
            return CellStatus(index.name, model, state, f"{split}: {error.problem}")
        if card is None:
            changed = made_from(index.name, model, entry, recorded.weights, strictly=strictly)
            if changed:
                return CellStatus(index.name, model, "stale", f"{split}: {'; '.join(changed)}")
        key = cell_key(study, index, split, entry, card or recorded)
        state, detail = split_state(address, key)
        if state != "cached":
            return CellStatus(index.name, model, state, f"{split}: {detail}")
        if strictly and (faults := altered(address)):
            return CellStatus(index.name, model, "damaged", f"{split}: {faults[0]}")
    return CellStatus(index.name, model, "cached")


def known_card(study: Study, index: Index, model: str) -> Card | None:
    """What names a model's cells, where no weights need to be loaded for it.

    The model's own card, or what the cells that are there record of it, if the record of their
    origin agrees with what the study asks for.
    """
    entry = study.models[model]
    if (card := _card_or_none(index.name, model, entry)) is not None:
        return card
    split = needed_splits(study, entry, test_only="train" not in index.split_names)[0]
    try:
        recorded = recorded_card(cell_address(index.name, model, split))
    except (CellMissingError, CellCorruptError):
        return None
    differs = made_from(index.name, model, entry, recorded.weights, strictly=True)
    return None if differs else recorded


def open_cells(study: Study, index: Index, model: str) -> tuple[Cell, Cell]:
    """The train and val cell of one model on one data set, checked against the study.

    Raises
    ------
    CellMissingError, CellStaleError, CellCorruptError
        When either is not what the study asks for, or the data set has no train images.
    """
    cells = open_all_cells(study, index, model)
    if "train" not in cells:
        raise CellMissingError(
            f"data set {index.name}",
            "has test images only, nothing is trained on it",
            remedy="leave out `test_only`, if it has train images, and index it again",
        )
    return cells["train"], cells["val"]


def open_all_cells(study: Study, index: Index, model: str) -> dict[str, Cell]:
    """The cells of one model on the splits that a data set has, checked against the study.

    Raises
    ------
    CellMissingError, CellStaleError, CellCorruptError
        When one is not what the study asks for.
    """
    status = cell_status(study, index, model)
    place = f"model {model} on data set {index.name}"
    remedy = f"run `dvc repro` (or `python -m stages.extract {index.name}`)"
    if status.state == "stale":
        raise CellStaleError(
            place,
            "the cached embeddings answer another question",
            found=status.detail,
            remedy=remedy,
        )
    if status.state != "cached":
        raise CellMissingError(
            place, f"the embeddings are {status.state}", found=status.detail, remedy=remedy
        )
    return {s: Cell.open(cell_address(index.name, model, s)) for s in index.split_names}


def fingerprints_of(index: Index, cells: Mapping[str, Cell]) -> dict[str, str]:
    """What records of a model depend on: the numbers of its cells, and what lies beside them.

    Parameters
    ----------
    index : Index
    cells : mapping of str to Cell
        By split, see `open_all_cells`.
    """
    return {split: cell.manifest.numbers for split, cell in cells.items()} | index.beside_cells


def recorded_card(address: CellAddress) -> Card:
    """The card as a whole cell records it in its key."""
    manifest = Cell.open(address).manifest
    made = manifest.key.get("transform"), manifest.key.get("weights")
    if not isinstance(made[0], dict) or not isinstance(made[1], str):
        raise CellCorruptError(
            str(address),
            "its key is none of a study's cell",
            expected="a transform and the weights' digest",
            found=", ".join(manifest.key)[:200],
            remedy="delete the cell's folder; the next `dvc repro` computes it again",
        )
    transform = {k: v for k, v in made[0].items() if k not in _OF_THE_DATA}
    return Card(made[1], transform, manifest.columns, 0)


def _card_or_none(dataset: str, name: str, entry: Model) -> Card | None:
    try:
        if entry.weights == "imported":
            from pipeline.datasets.imported import imported_card  # which needs pandas

            return imported_card(dataset, name)
        return find_card(name, entry)
    except ProbelineError:  # the checkpoint file is not on this machine; its features are
        return None
