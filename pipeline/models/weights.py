"""Where a model's weights lie on this disk; fetched, where they have an address, the first time."""

from __future__ import annotations

from pathlib import Path

from cache.errors import ProbelineError
from cache.fingerprint import fingerprint
from cache.seals import MADE_ANEW, read_sealed_json, require_digest
from pipeline.fetching.content import Content, UnavailableError
from pipeline.fetching.downloads import download
from pipeline.machine.environment import expand_path
from pipeline.models.lockfile import locked, record
from pipeline.models.settings import Model, pretrained_name
from pipeline.project.paths import WEIGHTS_LOCK


def provide_weights(entry: Model, place: str) -> Path | None:
    """The checkpoint file of a model, downloaded where it has an address and is not there yet.

    Parameters
    ----------
    entry : Model
    place : str
        For errors.

    Returns
    -------
    Path or None
        None for weights that are no file (random, or timm's own).

    Raises
    ------
    ProbelineError
        When the file is absent, can't be fetched, or is not the one that was fetched before.
    """
    if entry.weights_file is None:
        return None
    path = expand_path(entry.weights_file, place)
    if path.is_file() and (not entry.is_remote or locked(path.name)):
        _require_recorded(entry, path)
        return path
    if not entry.is_remote:
        raise no_such_file(entry, path, place)
    if entry.source.by_hand and not path.is_file():
        raise UnavailableError(
            place,
            "only a browser can fetch these weights",
            expected=f"the file at {path}",
            found="no file there",
            remedy=f"open {entry.weights}, download the file and save it as {path}",
        )
    addresses = [entry.weights, *entry.source.mirrors]
    known = locked(path.name)
    expected = Content(known.get("sha256", entry.source.sha256), known.get("size"))
    found = download(addresses, path, expected, place=place)
    facts = {"source": entry.weights, "sha256": found.sha256, "size": found.size}
    record(path.name, facts)
    return path


def _require_recorded(entry: Model, path: Path) -> None:
    """Compare a fetched or pre-trained file with its record, the first time in a process."""
    if entry.is_remote:
        digest = locked(path.name).get("sha256")
        remedy = (
            "delete it, and it is fetched again; if it was replaced on purpose, remove "
            f"{path.name} from {WEIGHTS_LOCK}, too"
        )
    elif entry.made_by is not None:
        try:
            digest = read_sealed_json(path.with_suffix(".json"), MADE_ANEW).get("weights")
        except FileNotFoundError:  # the stage pretrain trains it again
            return
        remedy = "run the stage pretrain, which trains it again (`dvc repro -f pretrain`)"
    else:
        return
    if digest is not None:
        require_digest(path, str(digest), remedy=remedy)


def no_such_file(entry: Model, path: Path, place: str) -> ProbelineError:
    """What to say of a checkpoint that is not there and has no address."""
    if entry.made_by is not None:
        return ProbelineError(
            place,
            f"{entry.made_by} is not pre-trained yet",
            found=f"no {path}",
            remedy="run `dvc repro` (or `python -m stages.pretrain`)",
        )
    return ProbelineError(
        place,
        "there is no such checkpoint",
        found=str(path.absolute()),
        remedy="correct `weights`, or put the file there",
    )


def locked_digest(entry: Model) -> str | None:
    """SHA-256 that the weights' file must have, if it was ever fetched in this project.

    Of a hub's model, and of timm's own weights, the digest of all that is recorded of them.
    """
    if entry.is_of_hub or entry.weights == "pretrained":
        known = locked(
            entry.architecture if entry.is_of_hub else pretrained_name(entry.architecture)
        )
        return fingerprint(known) if known else None
    if not entry.is_remote or entry.weights_file is None:
        return None
    digest = locked(Path(entry.weights_file).name).get("sha256")
    return None if digest is None else str(digest)
