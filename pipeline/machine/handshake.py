"""What a worker of a cluster must show before it gets jobs: this project, this code, no other.

A worker in another folder would do its jobs and leave the results there; one with other code or
other versions would make other numbers under the same keys.
"""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.machine.memory import memory_budget

PLACE = Path(".probeline", "cluster")
"""From the project's folder; git and DVC ignore it."""

PACKAGES = (
    "numpy", "scipy", "scikit-learn", "torch", "timm", "pandas", "pyarrow", "pillow", "zarr",
    "distributed",
)  # fmt: skip
"""Whose versions numbers or jobs may depend on."""

_FLOORS = ("cache", "pipeline", "stages")

_HELD = 0.8
"""Of the memory that Dask gives a worker, the share at which it stops to take jobs."""


@dataclass(frozen=True)
class Hello:
    """What the client says of itself.

    Attributes
    ----------
    folder : str
        The project's, absolute, for messages.
    token : str
        Name of a file that the client has just written into the project's folder; and the name of
        what workers that this client has accepted have, as a resource.
    code : str
        See `code_digest`.
    versions : mapping of str to str
    gpu : str
        What asks for a GPU, in words; empty where nothing does.
    """

    folder: str
    token: str
    code: str
    versions: Mapping[str, str]
    gpu: str = ""

    @property
    def path(self) -> Path:
        """Of the file, from the project's folder."""
        return PLACE / self.token

    def resources(self, memory: int, gpus: int) -> dict[str, int]:
        """Of an accepted worker; or what a job takes of them."""
        return {self.token: memory} | ({f"{self.token}-gpu": gpus} if self.gpu else {})


@dataclass(frozen=True)
class Answer:
    """What a worker says.

    Attributes
    ----------
    name : str
        Its own, and its host.
    faults : tuple of str
        Why it gets no jobs; empty if it does.
    reply : str
        Name of a file that it has written beside the client's.
    memory : int
        Bytes that its jobs may take together.
    """

    name: str
    faults: tuple[str, ...]
    reply: str = ""
    memory: int = 0


def hello() -> Hello:
    """The client's; its token is written."""
    said = Hello(str(Path.cwd()), uuid.uuid4().hex, code_digest(), versions(), _wish_for_gpu())
    PLACE.mkdir(parents=True, exist_ok=True)
    said.path.write_text(said.token)
    return said


@cache
def code_digest() -> str:
    """Of all modules, as they were when a process first asked: what it has imported stays."""
    found = hashlib.sha256()
    root = Path(__file__).parents[2]
    for floor in _FLOORS:
        for path in sorted((root / floor).rglob("*.py")):
            found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def versions() -> dict[str, str]:
    """Of Python and of `PACKAGES`, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def _wish_for_gpu() -> str:
    backend, device = (os.environ.get(f"PROBELINE_{n}", "").strip() for n in ("BACKEND", "DEVICE"))
    if backend == "cuml":
        return "PROBELINE_BACKEND=cuml"
    return f"PROBELINE_DEVICE={device}" if device.startswith("cuda") else ""


def gpus() -> int:
    """NVIDIA GPUs that this process may use, found without a library of theirs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    here = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    if visible is None:
        return here
    return min(here, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))


def is_here(said: Hello) -> bool:
    """Whether this process works in the client's project folder."""
    try:
        return said.path.read_text() == said.token
    except OSError:
        return False


async def greet(said: Hello, dask_worker: Any) -> Answer:
    """On a worker: what is wrong with it; if nothing is, it takes jobs from now on."""
    name = f"{dask_worker.name} on {platform.node()}"
    faults = []
    reply = uuid.uuid4().hex
    if not is_here(said):
        faults.append(f"works in {Path.cwd()}, where the project's folder {said.folder} is not")
    else:
        try:
            (PLACE / reply).write_text(reply)
        except OSError as error:
            faults.append(f"can't write into {Path.cwd()} ({error.strerror})")
    if code_digest() != said.code:
        faults.append("has other code of Probeline (restart it after a change)")
    own = versions()
    other = [name for name, at in said.versions.items() if own.get(name) != at]
    if other:
        pairs = ", ".join(f"{name} {own.get(name)} for {said.versions[name]}" for name in other)
        faults.append(f"has other versions: {pairs}")
    if said.gpu and not gpus():
        faults.append(f"has no GPU, which the client asks for ({said.gpu})")
    if faults:
        return Answer(name, tuple(faults))
    memory = memory_budget()
    limit = dask_worker.memory_manager.memory_limit
    if limit and not os.environ.get("PROBELINE_MEMORY"):
        memory = min(memory, int(_HELD * limit))
    await dask_worker.set_resources(**said.resources(memory, gpus()))
    return Answer(name, (), reply, memory)
