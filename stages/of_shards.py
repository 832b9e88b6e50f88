"""What stages that several processes may do together have in common: ``--shard i/N``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from cache.errors import ProbelineError
from pipeline.machine.shards import Shard

Decorated = Callable[..., Any]


def shard_option(of_what: str) -> Callable[[Decorated], Decorated]:
    """The option; `of_what`: whose are shared out, in the plural."""
    return click.option(
        "--shard",
        metavar="i/N",
        help="Work beside N - 1 other processes like this, which may be on other hosts that share "
        f"the project's folder: {of_what} that no other has begun.",
    )


@contextmanager
def as_shard(text: str | None) -> Iterator[Shard | None]:
    """Which of several this process is, known to those that it starts; None where it is alone.

    Raises
    ------
    ProbelineError
        When the text names no shard, or the workers of a cluster are to do the jobs.
    """
    if text is None:
        yield None
        return
    shard = Shard.parse(text)
    if os.environ.get("DASK_SCHEDULER_ADDRESS"):
        raise ProbelineError(
            "--shard",
            "goes together with no cluster, which shares out by itself",
            found="DASK_SCHEDULER_ADDRESS is set",
            remedy="unset it, or leave out --shard",
        )
    with shard.announced():
        yield shard
