"""The machine: read from the environment, never from params.yaml, so that it can't change a key."""

from __future__ import annotations

import os
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache.chunking import MIN_CHUNK_ROWS
from cache.errors import ProbelineError

DEFAULTS = {"PROBELINE_SHARED": "../shared/data", "PROBELINE_IMAGES": "../images"}
"""Variables that paths in params.yaml may name, with the folder used when they are not set."""


def batch_size(default: int) -> int:
    """Images per forward pass: ``PROBELINE_BATCH_SIZE``, a power of two.

    A power of two up to the smallest chunk keeps batches inside chunks, so that a resumed run
    forms the same batches as an uninterrupted one.
    """
    size = _whole_number("PROBELINE_BATCH_SIZE", default, at_least=1)
    if size & (size - 1) or size > MIN_CHUNK_ROWS:
        raise ProbelineError(
            "environment variable PROBELINE_BATCH_SIZE",
            "is not a usable batch size",
            expected=f"a power of two from 1 to {MIN_CHUNK_ROWS}",
            found=str(size),
            remedy="set it to 32, 64, 128 …, or unset it",
        )
    return size


def worker_count(default: int) -> int:
    """Threads that decode images: ``PROBELINE_WORKERS``; 0 decodes between forward passes."""
    return _whole_number("PROBELINE_WORKERS", default, at_least=0)


def wait_seconds() -> int:
    """How long to wait for another process that writes the same cell: ``PROBELINE_WAIT_SECONDS``.

    0, the default, refuses at once and names that process.
    """
    return _whole_number("PROBELINE_WAIT_SECONDS", 0, at_least=0)


def cluster_seconds() -> int:
    """How long a cluster may be without a worker for the project: ``PROBELINE_CLUSTER_SECONDS``."""
    return _whole_number("PROBELINE_CLUSTER_SECONDS", 60, at_least=1)


def cpu_count() -> int:
    """Processors that this process may use; a container's quota and the affinity count."""
    from joblib import cpu_count as of_joblib  # takes some tenths of a second

    return int(of_joblib())


def requested_device() -> str:
    """``PROBELINE_DEVICE``: auto (default: every GPU, or the CPU), cpu, cuda, or cuda:NUMBER."""
    return os.environ.get("PROBELINE_DEVICE", "").strip() or "auto"


def compile_choice() -> str:
    """``PROBELINE_COMPILE``: auto (default: where it pays), always, or never."""
    choice = os.environ.get("PROBELINE_COMPILE", "").strip() or "auto"
    if choice not in ("auto", "always", "never"):
        raise ProbelineError(
            "environment variable PROBELINE_COMPILE",
            "is not one of its choices",
            expected="auto, always or never",
            found=repr(choice),
            remedy="unset it to compile networks where that saves time",
        )
    return choice


def expand_path(text: str, place: str) -> Path:
    """A path of params.yaml with ``$VARIABLES`` and ``~`` filled in.

    Raises
    ------
    ProbelineError
        See `expand_text`.
    """
    return Path(expand_text(text, place)).expanduser()


def expand_text(text: str, place: str) -> str:
    """A path or an address of params.yaml with ``$VARIABLES`` filled in.

    Raises
    ------
    ProbelineError
        When a variable is not set and has no default; names it.
    """
    try:
        return string.Template(text).substitute({**DEFAULTS, **os.environ})
    except KeyError as error:
        raise ProbelineError(
            place,
            f"the environment variable {error.args[0]} is not set",
            found=text,
            remedy=f"export {error.args[0]}=FOLDER and run this again",
        ) from None
    except ValueError as error:
        raise ProbelineError(
            place,
            "the path's $ is not followed by a variable's name",
            found=f"{text} ({error})",
            remedy="write $NAME, or $$ for a dollar sign",
        ) from None


@contextmanager
def variable_set(name: str, value: str | None) -> Iterator[None]:
    """Give an environment variable another value meanwhile, or none."""
    former = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if former is not None:
            os.environ[name] = former


def _whole_number(name: str, default: int, *, at_least: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < at_least:
        raise ProbelineError(
            f"environment variable {name}",
            "is not a usable number",
            expected=f"a whole number of at least {at_least}",
            found=repr(text),
            remedy=f"unset it to use {default}",
        )
    return int(text)
