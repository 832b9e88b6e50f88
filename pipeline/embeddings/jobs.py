"""What is extracted: a model on a split, alone or together with other processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cache.lock import Mutex
from cache.storage import Storage
from pipeline.embeddings.forward import Forward
from pipeline.embeddings.loading import Pixels
from pipeline.machine.shards import Shard
from pipeline.models.networks import LoadedModel


@dataclass(frozen=True)
class Sharing:
    """How several processes extract a data set together.

    Attributes
    ----------
    shard : Shard
        Which of them this one is.
    mutex : Mutex
        Of the data set, see `cache.shared_writer`.
    patient : bool
        Whether to wait for chunks that others compute, to take over those of who is killed.
    """

    shard: Shard
    mutex: Mutex
    patient: bool


@dataclass(frozen=True)
class Job:
    """One model to run on one split.

    Attributes
    ----------
    name : str
        The model's, for messages and paths.
    model : LoadedModel
    forward : Forward
        The network on its device; jobs that take other features of the same network share it.
    key : dict
        The cell's key.
    view : int
        Number of the augmented view; 0 is the evaluation crop.
    """

    name: str
    model: LoadedModel
    forward: Forward
    key: dict[str, Any]
    view: int = 0

    @property
    def pixels(self) -> Pixels:
        """What is done to a decoded image for this job."""
        return self.model.transform.pixels(self.view)


@dataclass(frozen=True)
class Written:
    """A cell that is about to be whole.

    Attributes
    ----------
    seconds : float
        Spent in this model's forward passes, by earlier interrupted runs too.
    storage : Storage
        How its rows are stored, and why.
    copied : mapping of str to int
        Rows that other cells held already, by cell; all others were computed.
    """

    seconds: float
    storage: Storage
    copied: Mapping[str, int] = field(default_factory=dict)


Record = Callable[[str, str, "Written"], None]
"""Told of a split, a model's name and its cell, before that cell is put in place."""
