"""Files of the Hugging Face hub: the very revision that weights.lock.json records.

Fetched by huggingface_hub, which resumes, keeps files for all projects of a machine, and knows the
tokens of repositories that ask for a licence. Here revision and digests are recorded and checked.
Files that a person put into ``data/weights/OWNER--NAME/`` go before the hub's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
)

from cache.errors import ProbelineError
from cache.files import sha256_file
from pipeline.fetching.content import UnavailableError
from pipeline.models.hub_connection import hub_connection
from pipeline.models.lockfile import locked, record
from pipeline.project.foreign_files import explain_reading
from pipeline.project.paths import WEIGHTS

PREFIX = "hf-hub:"

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors",
            "open_clip_pytorch_model.bin")  # fmt: skip
"""Names of weights, best first; the first that a repository has is taken, as timm does."""

_SAFE = {
    "pytorch_model.bin": ("model.safetensors",),
    "open_clip_pytorch_model.bin": ("open_clip_model.safetensors",),
}
"""What timm looks for before a file of that name, beside the same name as .safetensors."""


@dataclass(frozen=True)
class HubFiles:
    """What was fetched of a repository, as recorded.

    Attributes
    ----------
    config : Path or None
        Its config.json, if that was wanted.
    weights : Path or None
        Likewise.
    """

    config: Path | None
    weights: Path | None


def hub_files(architecture: str, place: str, *, with_weights: bool) -> HubFiles:
    """A repository's config.json and weights.

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
    wanted = _WEIGHTS if with_weights else ()
    return _fetch(architecture, architecture.removeprefix(PREFIX), wanted, place, with_config=True)


def hub_weights(name: str, repository: str, filename: str | None, place: str) -> Path:
    """The weights of a repository that timm names.

    Parameters
    ----------
    name : str
        In weights.lock.json.
    repository : str
        ``OWNER/NAME``, or with ``@REVISION``.
    filename : str or None
        Of the weights, where timm names it; a .safetensors file beside it goes before a pickle.
    place : str
        For errors.

    Raises
    ------
    ProbelineError
        As `hub_files`.
    """
    wanted = _WEIGHTS
    if filename is not None:
        safe = {f"{filename.removesuffix('.bin')}.safetensors"} if filename[-4:] == ".bin" else {}
        wanted = (*dict.fromkeys([*_SAFE.get(filename, ()), *safe, filename]),)
    weights = _fetch(name, repository, wanted, place, with_config=False).weights
    assert weights is not None
    return weights


def _fetch(
    name: str, source: str, weights: Sequence[str], place: str, *, with_config: bool
) -> HubFiles:
    """Fetch, compare with weights.lock.json, and record there: config.json, one of `weights`."""
    repository, _, revision = source.partition("@")
    known = locked(name)
    commit = str(known.get("revision") or revision) or None
    config = found = None
    try:
        with hub_connection():
            if with_config:
                config = _file(repository, "config.json", commit)
                commit = _commit_of(config, commit)
            if weights:
                found = _first(repository, weights, commit, place)
                commit = _commit_of(found, commit)
    except (HfHubHTTPError, EntryNotFoundError, OSError, ValueError) as error:
        wanted = [*["config.json"][: with_config and config is None], *weights[:1]]
        raise _unreachable(place, repository, commit, wanted, error) from None
    if config is not None:
        _require_timm(config, repository, place)
    digests = {file.name: sha256_file(file) for file in (config, found) if file is not None}
    _check(place, repository, known.get("files", {}), digests)
    facts = {
        "source": f"https://huggingface.co/{repository}",
        **({"revision": commit} if commit else {}),
        "files": {**known.get("files", {}), **digests},
    }
    record(name, facts)
    return HubFiles(config, found)


def _require_timm(config: Path, repository: str, place: str) -> None:
    what = f"{config} is no config.json"
    with explain_reading(place, what, "download it again; if it is the same, do not use it"):
        said = json.loads(config.read_bytes())
    if not isinstance(said, dict) or "architecture" not in said:
        raise ProbelineError(
            place,
            "is no timm model",
            expected="a config.json that names timm's architecture",
            found=f"{repository}, for another library",
            remedy="choose a repository whose page names timm; of others, give `architecture` "
            "and the address of the weights",
        )


def is_fetched(name: str, source: str, filename: str | None = None) -> bool:
    """Whether weights of a repository are on this machine; asks nobody.

    Parameters
    ----------
    name : str
        In weights.lock.json.
    source : str
        ``OWNER/NAME``, or with ``@REVISION``.
    filename : str, optional
        Of the weights, where it is known.
    """
    repository, _, revision = source.partition("@")
    commit = str(locked(name).get("revision") or revision) or None
    return any(
        (by_hand(repository) / file).is_file()
        or isinstance(try_to_load_from_cache(repository, file, revision=commit), str)
        for file in [*_WEIGHTS, *filter(None, [filename])]
    )


def by_hand(repository: str) -> Path:
    """Where a person puts a repository's files that this machine can't fetch."""
    return WEIGHTS / repository.replace("/", "--")


def _file(repository: str, name: str, revision: str | None) -> Path:
    given = by_hand(repository) / name
    return given if given.is_file() else Path(hf_hub_download(repository, name, revision=revision))


def _commit_of(file: Path, commit: str | None) -> str | None:
    """The hub's client has a folder for each commit; of files put by hand none is known."""
    return commit if file.is_relative_to(WEIGHTS) else file.parent.name


def _first(repository: str, names: Sequence[str], revision: str | None, place: str) -> Path:
    """The first of several files that a repository has."""
    for name in names:
        try:
            return _file(repository, name, revision)
        except LocalEntryNotFoundError:  # nobody can be asked whether the file is there
            raise
        except EntryNotFoundError:
            continue
    raise ProbelineError(
        place,
        "the repository has no weights",
        expected=f"one of {', '.join(names)}",
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


def _unreachable(
    place: str, repository: str, revision: str | None, wanted: Sequence[str], error: Exception
) -> ProbelineError:
    gated = isinstance(error, GatedRepoError)
    first = re.sub(r"\s+", " ", str(error)).strip()[:300]
    if isinstance(error, LocalEntryNotFoundError):
        first = "the hub can't be reached, and its cache on this machine lacks the file"
    address = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}"
    files = " and ".join(f"{address}/{name} at {by_hand(repository) / name}" for name in wanted)
    return UnavailableError(
        place,
        "the hub does not give this model",
        found=f"{repository}: {first or type(error).__name__}",
        remedy="accept its terms on its page, and log in with `hf auth login`"
        if gated
        else f"correct OWNER/NAME@REVISION, or connect to the network; or put {files}",
    )
