"""Where a model's weights lie on this disk; fetched, where they have an address, the first time.

The digest and size of every fetched file stand in `weights.lock.json`, which belongs into git: all
colleagues get the very same weights, and a file that its author has replaced is noticed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.environment import expand_path
from pipeline.models.downloads import Content, download
from pipeline.paths import WEIGHTS_LOCK
from pipeline.study import Model


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
    if path.is_file() and (not entry.is_remote or path.name in _lock()):
        return path
    if not entry.is_remote:
        raise no_such_file(entry, path, place)
    if entry.source.by_hand and not path.is_file():
        raise ProbelineError(
            place,
            "only a browser can fetch these weights",
            expected=f"the file at {path}",
            found="no file there",
            remedy=f"open {entry.weights}, download the file and save it as {path}",
        )
    addresses = [entry.weights, *entry.source.mirrors]
    known = _lock().get(path.name, {})
    expected = Content(known.get("sha256", entry.source.sha256), known.get("size"))
    _remember(path.name, entry.weights, download(addresses, path, expected, place=place))
    return path


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
    """SHA-256 that the weights' file must have, if it was ever fetched in this project."""
    if not entry.is_remote or entry.weights_file is None:
        return None
    digest = _lock().get(Path(entry.weights_file).name, {}).get("sha256")
    return None if digest is None else str(digest)


def _lock() -> dict[str, dict[str, Any]]:
    try:
        lock: dict[str, dict[str, Any]] = json.loads(WEIGHTS_LOCK.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ProbelineError(
            str(WEIGHTS_LOCK),
            "is damaged",
            found=str(error),
            remedy="restore it from git, or delete it; the files are then recorded anew",
        ) from None
    return lock


def _remember(name: str, source: str, content: Content) -> None:
    lock = _lock()
    lock[name] = {"source": source, "sha256": content.sha256, "size": content.size}
    text = json.dumps(dict(sorted(lock.items())), indent=1) + "\n"
    write_durably(WEIGHTS_LOCK, text.encode())
