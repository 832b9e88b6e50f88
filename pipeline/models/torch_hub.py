"""Entries of torch hub: a function in somebody's repository that builds a network.

Its code is foreign and runs here, which a study has to allow (`trust: true`). The code, and the
weights that it loads, have to stay those that weights.lock.json records; changed code never runs.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cache.errors import ProbelineError
from cache.files import explain_disk_errors, sha256_file
from cache.fingerprint import fingerprint
from cache.lock import Lock
from cache.removal import discard
from pipeline.fetching.archives import unpack
from pipeline.fetching.content import Content
from pipeline.fetching.downloads import download
from pipeline.machine.environment import wait_seconds
from pipeline.models.lockfile import locked, record
from pipeline.project.paths import WEIGHTS

PREFIX = "torchhub:"
GITHUB = "https://github.com"

_NAME = re.compile(r"torchhub:([\w.-]+/[\w.-]+):(\w+)@([\w./-]+)")
_HEADS = ("fc", "head", "heads", "classifier", "last_linear")
"""What networks call the linear layer that gives class scores."""


class HubNetwork(nn.Module):
    """A network that is only known to turn images into vectors, in timm's clothes.

    A linear classifier at its end is taken off; its output is the feature `pooled`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for name in _HEADS:
            if isinstance(getattr(network, name, None), nn.Linear):
                setattr(network, name, nn.Identity())
        self.network = network
        self.pretrained_cfg: dict[str, Any] = {}

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Tensor of shape (n_images, n_features)."""
        features = self.network(images)
        if not isinstance(features, torch.Tensor) or features.ndim != 2:
            shape = tuple(features.shape) if isinstance(features, torch.Tensor) else ""
            raise ValueError(
                f"gives {type(features).__name__} {shape}, not a vector for each image"
            )
        return features

    def forward_head(self, features: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        """The features as they are."""
        return features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The features."""
        return self.forward_features(images)


def hub_constructor(architecture: str, place: str) -> Callable[..., nn.Module]:
    """What builds the network; only now the repository's code runs, if it is the recorded one.

    Parameters
    ----------
    architecture : str
        ``torchhub:OWNER/REPOSITORY:ENTRY@REF``; a commit as REF can't change under you.
    place : str
        For errors.

    Raises
    ------
    ProbelineError
        When the code can't be had, is not what was recorded, or has no such entry.
    """
    named = _NAME.fullmatch(architecture)
    assert named is not None  # the schema demands it
    repository, entry, ref = named.groups()
    code = f"{PREFIX}{repository}@{ref}"
    folder = WEIGHTS / "torchhub" / re.sub(r"[^\w.-]", "_", f"{repository}_{ref}")
    with explain_disk_errors(folder):
        _provide_code(repository, ref, folder, place)
        _remove_compiled(folder)
        digest = _digest(folder)
    known = locked(code).get("sha256", digest)
    if known != digest:
        raise ProbelineError(
            place,
            "the code is not the one that weights.lock.json records; it was not run",
            expected=f"files with digest {known[:12]}",
            found=f"{digest[:12]}, of {repository} at {ref}",
            remedy=f"name a commit instead of {ref}; or, after a look at what changed, remove "
            f"{code} from weights.lock.json",
        )
    record(code, {"source": f"{GITHUB}/{repository}", "sha256": digest})

    def build(*, pretrained: bool, num_classes: int, **arguments: Any) -> nn.Module:
        with _importing(folder):
            function = _entry(folder, entry, place)
            takes = inspect.signature(function).parameters
            if "pretrained" in takes:
                arguments = {"pretrained": pretrained, **arguments}
            elif not pretrained and "weights" not in arguments:
                raise ValueError(f"{entry} has no argument `pretrained` that could be false")
            return HubNetwork(function(**arguments))

    return build


def check_weights(architecture: str, digest: str, place: str) -> None:
    """Compare the weights that an entry loaded with those that are recorded.

    Raises
    ------
    ProbelineError
        When they are others.
    """
    known = locked(architecture).get("weights", digest)
    if known != digest:
        raise ProbelineError(
            place,
            "the entry loaded other weights than weights.lock.json records",
            expected=f"digest {known[:12]}",
            found=digest[:12],
            remedy=f"if that is meant, remove {architecture} from weights.lock.json",
        )
    record(architecture, {"weights": digest})


def _provide_code(repository: str, ref: str, folder: Path, place: str) -> None:
    lock = folder.with_name(f".{folder.name}.lock.partial")
    with Lock(lock, str(folder), wait=wait_seconds()):
        if not folder.is_dir():
            _fetch_code(repository, ref, folder, place)


def _fetch_code(repository: str, ref: str, folder: Path, place: str) -> None:
    archive = folder.with_name(f"{folder.name}.zip")
    unpacked = folder.with_name(f".{folder.name}.partial")
    download([f"{GITHUB}/{repository}/archive/{ref}.zip"], archive, Content(), place=place)
    discard(unpacked)  # by a run that was killed
    try:
        unpack(archive, unpacked)
        (top,) = unpacked.iterdir()  # GitHub puts everything into one folder
        top.rename(folder)
    finally:
        discard(unpacked)
        archive.unlink()


def _remove_compiled(folder: Path) -> None:
    """Take away what Python left there, or somebody else: then all that is there is recorded."""
    while path := next(folder.rglob("__pycache__"), None):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _digest(folder: Path) -> str:
    """Of all files, whatever they are called, and of where links to folders lead."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            parts.append([path.relative_to(folder).as_posix(), sha256_file(path)])
        elif path.is_symlink():
            parts.append([path.relative_to(folder).as_posix(), f"-> {path.readlink()}"])
    return fingerprint(parts)


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    """Let code import its neighbours; forget them afterwards, for the next repository's sake.

    Many repositories have a module `utils` or `models`.
    """
    before, path, writes = set(sys.modules), list(sys.path), sys.dont_write_bytecode
    prefix = sys.pycache_prefix
    sys.path.insert(0, str(folder.absolute()))
    sys.dont_write_bytecode = True
    try:
        with tempfile.TemporaryDirectory() as nowhere:
            # The digest is of the sources alone: no compiled file beside them goes before them.
            sys.pycache_prefix = nowhere
            yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode, sys.pycache_prefix = writes, prefix
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and Path(origin).is_relative_to(folder.absolute()):
                del sys.modules[name]


def _entry(folder: Path, entry: str, place: str) -> Callable[..., nn.Module]:
    file = folder / "hubconf.py"
    spec = importlib.util.spec_from_file_location("hubconf", file) if file.is_file() else None
    module = None
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except ImportError as error:
            raise ProbelineError(
                place,
                "the repository's code needs a package that is not installed",
                found=str(error),
                remedy="install it in this environment",
            ) from None
    function = getattr(module, entry, None)
    if not callable(function):
        names = (
            [n for n, v in vars(module).items() if callable(v) and n[0] != "_"] if module else []
        )
        raise ProbelineError(
            place,
            "the repository has no such entry",
            expected=f"one of {', '.join(names)}" if names else "a hubconf.py",
            found=entry,
            remedy="correct ENTRY in torchhub:OWNER/REPOSITORY:ENTRY@REF",
        )
    return function  # type: ignore[no-any-return]
