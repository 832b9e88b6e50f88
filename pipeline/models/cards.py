"""Model cards: what must be known of a model to name its cells, without importing torch.

The key of a cell holds the digest of the weights actually loaded, and the transform that timm
resolves. Both need torch once. A card remembers the answer under everything that it depends on.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.errors import CellCorruptError, ProbelineError
from cache.files import sha256_file, write_durably, write_if_allowed
from cache.fingerprint import fingerprint
from cache.seals import read_sealed_json, sealed_json
from pipeline.machine.environment import expand_path
from pipeline.models.card import Card
from pipeline.models.settings import Model
from pipeline.models.weights import locked_digest, no_such_file
from pipeline.project.paths import CARDS

if TYPE_CHECKING:
    from pipeline.models.networks import LoadedModel


def find_card(name: str, entry: Model) -> Card | None:
    """The card of a model, if it was made on this machine for this very entry; no torch.

    Raises
    ------
    ProbelineError
        When the entry names a checkpoint file that is not there.
    """
    path = _path(name, entry)
    try:
        return Card.from_json(read_sealed_json(path))
    except (FileNotFoundError, CellCorruptError, TypeError):
        return None


def card_if_here(name: str, entry: Model) -> Card | None:
    """`find_card`; None, too, where the checkpoint is not on this machine."""
    try:
        return find_card(name, entry)
    except ProbelineError:
        return None


def make_card(name: str, entry: Model, model: LoadedModel) -> Card:
    """Remember a loaded model's card, under the digest of the file as it is now."""
    from pipeline.models.sizes import gmacs_of

    card = Card(
        weights=model.weights_digest,
        transform=model.transform.to_dict(),
        columns=model.columns,
        parameters=model.parameters,
        gmacs=gmacs_of(model, f"params.yaml: models.{name}"),
    )
    keep_card(name, entry, card)
    return card


def keep_card(name: str, entry: Model, card: Card) -> None:
    """Write a model's card to where `find_card` looks for it."""
    checkpoint_digest(name, entry, afresh=True)
    write_durably(_path(name, entry), sealed_json(asdict(card)))


def loading_part(entry: Model, *, without_feature: bool = False) -> dict[str, Any]:
    """The part of an entry that loading depends on; words for tables and statistics are not."""
    words = {"method", "family", "backbone", "supervision", "objective", "source", "trust"}
    words |= {"trained_on"}
    words |= {"preprocessing"}  # the name of a transform, whose settings are all here
    return entry.to_key(exclude=words | ({"feature"} if without_feature else set()))


def _path(name: str, entry: Model) -> Path:
    depends = {
        "entry": loading_part(entry),
        "file": checkpoint_digest(name, entry),
        "torch": _version("torch"),
        "timm": _version("timm"),
    }
    return CARDS / f"{fingerprint(depends)[:32]}.json"


def checkpoint_digest(name: str, entry: Model, *, afresh: bool = False) -> str | None:
    """SHA-256 of the checkpoint file, remembered by its size, times and inode; None without one.

    Of a hub's model, the digest of what is recorded of it.

    Of weights that have an address but were never fetched, it is None, too.

    Parameters
    ----------
    name : str
    entry : Model
    afresh : bool
        Read the file, whatever is remembered: a damaged disk changes none of these.

    Raises
    ------
    ProbelineError
        When the entry names a file that is not there.
    """
    if entry.weights_file is None:
        return locked_digest(entry)
    place = f"params.yaml: models.{name}.weights"
    path = expand_path(entry.weights_file, place)
    if not path.is_file():
        if entry.is_remote:
            return locked_digest(entry)  # fetched when the model runs, not to name its cells
        raise no_such_file(entry, path, place)
    facts = path.stat()
    # `rsync -t`, `cp -p` and archives give a file any time that they like: the inode's own time and
    # number are the system's.
    state = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
    known = CARDS / "files" / f"{fingerprint(str(path.absolute()))[:32]}.json"
    with contextlib.suppress(FileNotFoundError, CellCorruptError):
        remembered = read_sealed_json(known)
        if not afresh and remembered.get("state") == state:
            return str(remembered.get("sha256"))
    digest = sha256_file(path)
    write_if_allowed(known, sealed_json({"state": state, "sha256": digest}))
    return digest


@functools.cache
def _version(package: str) -> str:
    """Of an installed package; parsing its metadata takes milliseconds, once per cell seconds."""
    return version(package)
