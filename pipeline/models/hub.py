"""timm models of the Hugging Face hub: the very revision that weights.lock.json records.

Fetched by huggingface_hub, which resumes, keeps files for all projects of a machine, and knows the
tokens of repositories that ask for a licence. Here revision and digests are recorded and checked.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
)

from cache.errors import ProbelineError
from cache.files import sha256_file
from pipeline.models.lockfile import locked, record

PREFIX = "hf-hub:"

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors",
            "open_clip_pytorch_model.bin")  # fmt: skip
"""Names of weights, best first; the first that a repository has is taken, as timm does."""


def hub_folder(architecture: str, place: str, *, with_weights: bool) -> Path:
    """A folder with a model's config.json and weights, as timm's ``local-dir:`` takes it.

    Parameters
    ----------
    architecture : str
        ``hf-hub:OWNER/NAME``, or with a branch, tag or commit ``hf-hub:OWNER/NAME@REVISION``.
    place : str
        For errors.
    with_weights : bool
        Whether the weights are needed, too.

    Raises
    ------
    ProbelineError
        When the repository, or what is wanted of it, can't be had, or is not what was recorded.
    """
    repository, _, revision = architecture.removeprefix(PREFIX).partition("@")
    known = locked(architecture)
    wanted = str(known.get("revision") or revision) or None
    try:
        config = Path(hf_hub_download(repository, "config.json", revision=wanted))
        commit = config.parent.name  # the hub's client keeps each commit's files in its own folder
        files = [config]
        if with_weights:
            files.append(_weights(repository, commit, place))
    except (HfHubHTTPError, EntryNotFoundError, OSError, ValueError) as error:
        raise _unreachable(place, repository, error) from None
    if "architecture" not in json.loads(config.read_bytes()):
        raise ProbelineError(
            place,
            "is no timm model",
            expected="a config.json that names timm's architecture",
            found=f"{repository}, for another library",
            remedy="choose a repository whose page names timm; of others, give `architecture` "
            "and the address of the weights",
        )
    digests = {file.name: sha256_file(file) for file in files}
    _check(place, repository, known.get("files", {}), digests)
    facts = {"revision": commit, "files": {**known.get("files", {}), **digests}}
    record(architecture, {"source": f"https://huggingface.co/{repository}", **facts})
    return config.parent


def _weights(repository: str, commit: str, place: str) -> Path:
    for name in _WEIGHTS:
        try:
            return Path(hf_hub_download(repository, name, revision=commit))
        except LocalEntryNotFoundError:  # nobody can be asked whether the file is there
            raise
        except EntryNotFoundError:
            continue
    raise ProbelineError(
        place,
        "the repository has no weights",
        expected=f"one of {', '.join(_WEIGHTS)}",
        found=f"none of them in {repository}",
        remedy="correct the name",
    )


def _check(place: str, repository: str, known: dict[str, str], found: dict[str, str]) -> None:
    other = [name for name, digest in found.items() if known.get(name, digest) != digest]
    if other:
        raise ProbelineError(
            place,
            "the hub's file is not the one that weights.lock.json records",
            expected=f"{other[0]} with SHA-256 {known[other[0]]}",
            found=f"SHA-256 {found[other[0]]}, of {repository}",
            remedy="remove the file from the hub's cache and run this again; if it differs "
            "again, do not use it",
        )


def _unreachable(place: str, repository: str, error: Exception) -> ProbelineError:
    gated = isinstance(error, GatedRepoError)
    first = re.sub(r"\s+", " ", str(error)).strip()[:300]
    return ProbelineError(
        place,
        "the hub does not give this model",
        found=f"{repository}: {first or type(error).__name__}",
        remedy="accept its terms on its page, and log in with `hf auth login`"
        if gated
        else "correct OWNER/NAME@REVISION, or connect to the network",
    )
