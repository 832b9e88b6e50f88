"""The training of one network: epochs that can be killed and continued, to the same weights.

Devices, processes and precision are Lightning Fabric's; the loop is here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch.nn import functional

from cache.errors import ProbelineError
from pipeline.finetuning.classifier import Classifier
from pipeline.finetuning.divergence import diverged
from pipeline.finetuning.history import Epoch, chosen
from pipeline.finetuning.images import Picture, batches_of, view_of
from pipeline.finetuning.job import Job
from pipeline.finetuning.judging import judge
from pipeline.finetuning.optimization import (
    average_of,
    drawing,
    mixup_of,
    optimizer_of,
    prepared,
)
from pipeline.finetuning.schedule import factor
from pipeline.finetuning.sharing import counted, parts_of, shared
from pipeline.finetuning.state import Tensors, put_tensors, read_state, tensors_of
from pipeline.machine.devices import allow_tf32
from pipeline.machine.environment import compile_choice
from pipeline.machine.training_state import save_state

Advance = Callable[[int, str], None]
"""Called with a number of epochs done, and what to say of the last."""

SECONDS = 2.0
"""Between two writings of the state: a killed process loses so much, and the epoch under way."""


class Training:
    """One training, in this process's part of it.

    Parameters
    ----------
    fabric : Fabric
        Launched.
    job : Job
    accumulation : int
        Parts in which a process takes its share of a batch, one after the other.

    Attributes
    ----------
    history : list of Epoch
        Of the epochs done.
    """

    def __init__(self, fabric: Fabric, job: Job, accumulation: int) -> None:
        self._fabric, self._job, self._accumulation = fabric, job, accumulation
        self._raw = prepared(job.classifier(), fabric)
        self._plain = optimizer_of(self._raw, job.recipe)
        network: Any = self._raw
        if compile_choice() == "always":
            network = torch.compile(network)
        self._model, self._optimizer = fabric.setup(network, self._plain)
        self._average = average_of(self._raw, job.recipe)
        self._mixup = mixup_of(job.recipe, job.classes)
        self.history: list[Epoch] = []
        self._best: Tensors = {}
        self._unwritten: dict[str, Any] | None = None
        self._written = -math.inf

    def run(self, advance: Advance) -> None:
        """Do what is left of the epochs, and write the state as they go.

        Parameters
        ----------
        advance : callable
            Called at once with the epochs of a former run, then after each.

        Raises
        ------
        DivergedError
            When a loss or a gradient is not finite; the state before that epoch stays.
        DiskFullError
            When the state can't be written; the last one stays.
        """
        self._continue()
        advance(len(self.history), "")
        epochs = self._job.recipe.epochs
        try:
            while len(self.history) < epochs:
                self._epoch(len(self.history))
                self._keep(at_once=len(self.history) == epochs)
                advance(1, self.history[-1].words)
        finally:  # an error leaves all epochs before it
            self._write()

    @property
    def _judged(self) -> Classifier:
        """The network whose scores count: the averaged one, where there is one."""
        module: Classifier = self._raw if self._average is None else self._average.module
        return module

    def _epoch(self, number: int) -> None:
        """One pass over the images in random order."""
        start = time.perf_counter()
        job, recipe = self._job, self._job.recipe
        scale = factor(number, recipe.epochs, recipe.warmup_epochs)
        for group in self._plain.param_groups:
            group["lr"] = group["base"] * scale
        self._model.train()
        total = 0.0
        with drawing(self._fabric.device, job.seed, number, self._rank):
            for step, (size, pixels, labels) in enumerate(self._batches(number)):
                total += size * self._step(size, pixels, labels, number, step)
                if self._average is not None:
                    self._average.update(self._raw, step=number * job.steps + step + 1)
        top1, loss = judge(self._judged, job.held_out, self._fabric, self._part_size)
        rate = recipe.scaled(recipe.learning_rate) * scale
        seconds = round(time.perf_counter() - start, 3)
        mean = total / sum(job.batches)
        self.history.append(Epoch(number + 1, rate, mean, top1, loss, seconds))
        if chosen(self.history) == number + 1 or not self._best:
            self._best = tensors_of(self._judged)

    def _batches(self, epoch: int) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.int64]]]:
        """Of every batch its size, and the part of this process: its views and their labels."""
        learned, view, sizes = self._job.learned, self._job.view(epoch), self._job.batches
        order = np.random.default_rng([self._job.seed, epoch]).permutation(len(learned))
        world, rank = self._fabric.world_size, self._rank
        batches = np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1])
        mine = [shared(batch, self._job.recipe, rank, world) for batch in batches]

        def one(position: int) -> Picture:
            return view_of(learned.pixels[position], view, int(learned.rows[position]))

        made = batches_of(mine, one, self._job.workers)
        return zip(sizes, made, (learned.labels[part] for part in mine), strict=True)

    def _step(
        self,
        size: int,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        epoch: int,
        step: int,
    ) -> float:
        """One step of the optimiser; the mean loss of the whole batch."""
        recipe, fabric = self._job.recipe, self._fabric
        images = self._raw.normalised(torch.from_numpy(pixels).to(fabric.device))
        targets = torch.from_numpy(labels).to(fabric.device)
        smoothing = recipe.label_smoothing
        if self._mixup is not None:  # its targets are smoothed already
            (images, targets), smoothing = self._mixup(images, targets), 0.0
        self._optimizer.zero_grad()
        total = torch.zeros((), device=fabric.device)
        own = counted(size, self._rank, fabric.world_size)
        share = recipe.batch_size // fabric.world_size
        several = parts_of(len(images), share, self._accumulation)
        parts = torch.arange(len(images)).tensor_split(several)
        for number, part in enumerate(parts):
            with fabric.no_backward_sync(self._model, enabled=number + 1 < len(parts)):
                mine = part[part < own]
                loss = functional.cross_entropy(
                    self._model(images[part])[: len(mine)],
                    targets[mine],
                    reduction="sum",
                    label_smoothing=smoothing,
                )
                # Gradients are averaged over processes: so each brings its share of the mean.
                loss = loss * (fabric.world_size / size)
                fabric.backward(loss)
            total += loss.detach()
        mean = float(fabric.all_reduce(total, reduce_op="mean"))
        norm = fabric.clip_gradients(
            self._model, self._optimizer, max_norm=recipe.clip, error_if_nonfinite=False
        )
        assert norm is not None
        if not math.isfinite(mean) or not math.isfinite(norm):
            raise diverged(self._job, mean, float(norm), epoch, step)
        self._optimizer.step()
        return mean

    @property
    def _rank(self) -> int:
        return int(self._fabric.global_rank)

    @property
    def _part_size(self) -> int:
        """Images that a process runs together."""
        share = self._job.recipe.batch_size // int(self._fabric.world_size)
        return max(1, share // self._accumulation)

    def _keep(self, *, at_once: bool) -> None:
        """Keep the state after an epoch, in the first process, and write it now and then.

        All processes learn of it when it can't be written.
        """
        failed = None
        if self._rank == 0:
            self._unwritten = {
                "history": [asdict(epoch) for epoch in self.history],
                "tensors": tensors_of(self._raw),
                "average": None if self._average is None else tensors_of(self._average.module),
                "optimizer": deepcopy(self._plain.state_dict()),
                "best": self._best,
            }
            if at_once or time.monotonic() >= self._written + SECONDS:
                try:
                    self._write()
                except ProbelineError as error:
                    failed = error
        failed = self._fabric.broadcast(failed)
        if failed is not None:
            raise failed

    def _write(self) -> None:
        """Write what is kept and not yet written."""
        state, self._unwritten = self._unwritten, None
        if state is not None:
            save_state(self._job.state, {**state, "key": dict(self._job.key)})
            self._written = time.monotonic()

    def _continue(self) -> None:
        """Take up the state of a former run, where there is one."""
        state = read_state(self._job.state, self._job.key)
        if state is None:
            return
        put_tensors(self._raw, state["tensors"])
        if self._average is not None:
            put_tensors(self._average.module, state["average"])
        self._plain.load_state_dict(state["optimizer"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self._best = state["best"]


def train(fabric: Fabric, job: Job, accumulation: int, advance: Advance) -> ProbelineError | None:
    """Train in a process that Fabric launched.

    Returns
    -------
    ProbelineError or None
        What the user should know went wrong: an error that another process raises arrives as text.
    """
    allow_tf32(allowed=False)
    try:
        Training(fabric, job, accumulation).run(advance)
    except ProbelineError as error:
        return error
    return None
