"""The training of one model: epochs that can be killed and continued, to the same weights."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cache.errors import ProbelineError
from cache.fingerprint import fingerprint
from pipeline.machine.training_state import load_state, save_state
from pipeline.pretraining.chance import chance_loss
from pipeline.pretraining.encoder import Encoder, Method, Setting
from pipeline.pretraining.images import TrainingImages
from pipeline.pretraining.methods import METHODS
from pipeline.pretraining.parts import Parts, placed
from pipeline.pretraining.views import Augmentation
from pipeline.study.pretraining import Pretrain

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls as a cosine, to zero."""

WEIGHT_DECAY = 0.05

_PICTURES = 2048
"""Images of which the best picture for all is made."""

LARGEST_GRADIENT = 3.0
"""Norm to which a step's gradient is cut."""


class DivergedError(ProbelineError, ArithmeticError):
    """A loss that is no finite number."""


class Training:
    """One model's training.

    Parameters
    ----------
    entry : Pretrain
    encoder : Encoder
        With the weights that the seed drew.
    images : TrainingImages
    device : torch.device
    place : str
        For errors.

    Attributes
    ----------
    method : Method
    epochs : list of dict
        Of those done: mean ``loss`` and ``seconds``.
    untrained_loss : float or None
        Mean over the last epoch's batches of the network as it was drawn; None where a training is
        continued that an earlier version began.

    Raises
    ------
    ProbelineError
        When method, architecture and batch size do not fit together.
    """

    def __init__(
        self,
        entry: Pretrain,
        encoder: Encoder,
        images: TrainingImages,
        device: torch.device,
        place: str,
    ) -> None:
        self._entry, self._place, self._device = entry, place, device
        self._pixels, self._labels = placed(images.pixels, device), images.labels.to(device)
        self._steps = len(images.labels) // entry.batch_size
        self._last = 0 if entry.method == "random" else entry.epochs
        encoder.backbone.requires_grad_(True)
        with self._drawing("initial"):
            setting = Setting(entry, images.classes, Augmentation(flip=entry.flip), place)
            self.method = METHODS[entry.method](encoder, setting).to(device).train()
        check_batch(entry, self.method, place)
        self._parts = Parts(self.method, entry.batch_size, device, place)
        self._optimizer = torch.optim.AdamW(parameter_groups(self.method), betas=(0.9, 0.99))
        self.epochs: list[dict[str, float]] = []
        self.untrained_loss: float | None = None

    def run(self, kept: Path, key: str, advance: Callable[[int], None]) -> None:
        """Do what is left of the epochs.

        Parameters
        ----------
        kept : Path
            Where the state lies after each epoch. One that is there under the same key is
            continued.
        key : str
        advance : callable
            Called with a number of epochs done: at once those before, then each.

        Raises
        ------
        DivergedError
            When a loss is NaN or infinite; the state before that epoch stays.
        """
        if not self._continue(kept, key) and self._last:
            self.untrained_loss = self._untrained()
        advance(len(self.epochs))
        while len(self.epochs) < self._last:
            start = time.perf_counter()
            loss = self._epoch(len(self.epochs), kept)
            self.epochs.append({"loss": loss, "seconds": round(time.perf_counter() - start, 3)})
            save_state(kept, self._state(key))
            advance(1)

    def _epoch(self, number: int, kept: Path) -> float:
        """One pass over the images in random order, in full batches; the mean loss."""
        return self._pass(number, lambda step: self._step(number * self._steps + step), kept)

    def _untrained(self) -> float:
        """The loss of an epoch in which nothing is learned; its views are those of the last one.

        Queues and centres are first filled, as far as the epochs do.
        """
        before = {name: tensor.detach().clone() for name, tensor in _tensors(self.method)}
        epochs = range(max(0, self._last - 1 - self.method.remembers), self._last)
        losses = [self._pass(number, None, None) for number in epochs]
        with torch.no_grad():
            for name, tensor in _tensors(self.method):
                tensor.copy_(before[name])
        return losses[-1]

    def _pass(
        self, number: int, take_step: Callable[[int], None] | None, kept: Path | None
    ) -> float:
        total = 0.0
        with self._drawing(number):
            order = torch.randperm(len(self._labels), device=self._device)
            batches = order[: self._steps * self._entry.batch_size].view(self._steps, -1)
            for step, rows in enumerate(batches):
                total += self._parts.loss(
                    self._images(rows), self._labels[rows], learn=take_step is not None
                )
                if kept is not None and not math.isfinite(total):
                    raise self._diverged(total, number, step, kept)
                if take_step is not None:
                    take_step(step)
        return total / self._steps

    def _images(self, rows: torch.Tensor) -> torch.Tensor:
        """On the device, in [0, 1]."""
        pixels = self._pixels[rows.to(self._pixels.device)]
        return pixels.to(self._device).float() / 255

    def _step(self, done: int) -> None:
        every = self._last * self._steps
        for group in self._optimizer.param_groups:
            group["lr"] = self._entry.learning_rate * schedule((done + 1) / every)
        nn.utils.clip_grad_norm_(self.method.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        self.method.after_step((done + 1) / every)

    def _state(self, key: str) -> dict[str, Any]:
        return {
            "key": key,
            "epochs": self.epochs,
            "untrained_loss": self.untrained_loss,
            # lightly's queue is a buffer that state_dict() leaves out.
            "tensors": {name: tensor.detach() for name, tensor in _tensors(self.method)},
            "optimizer": self._optimizer.state_dict(),
        }

    def _continue(self, kept: Path, key: str) -> bool:
        """Take up the state at `kept`; one of other settings is passed over."""
        state = load_state(kept, self._device)
        if state is None or state.get("key") != key:
            return False
        with torch.no_grad():
            for name, tensor in _tensors(self.method):
                tensor.copy_(state["tensors"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self.epochs = state["epochs"]
        self.untrained_loss = state.get("untrained_loss")
        return True

    def chance_loss(self) -> float | None:
        """The mean loss of outputs that say nothing about the image; None of the control."""
        if not self._last:
            return None
        counts = torch.bincount(self._labels).tolist()
        known = chance_loss(self._entry, counts)
        if known is not None:
            return known
        with self._drawing("chance"), torch.no_grad():
            return self.method.chance(self._images(torch.arange(min(_PICTURES, len(self._labels)))))

    def _diverged(self, loss: float, epoch: int, step: int, kept: Path) -> DivergedError:
        reached = f"; the state after epoch {epoch} is kept in {kept}" if epoch else ""
        return DivergedError(
            self._place,
            "the loss is not a finite number",
            expected="a loss that falls",
            found=f"{loss} in epoch {epoch + 1} of {self._last}, step {step + 1} of {self._steps}"
            + reached,
            remedy=f"lower `learning_rate` (now {self._entry.learning_rate:g}), or raise "
            "`batch_size`",
        )

    @contextlib.contextmanager
    def _drawing(self, what: int | str) -> Iterator[None]:
        """Random numbers of the seed and the epoch alone, so that a run can be continued."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(fingerprint([self._entry.seed, what])[:15], 16))
            yield


def schedule(progress: float) -> float:
    """The learning rate's factor: a linear rise, then a cosine to zero; `progress` in (0, 1]."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def parameter_groups(method: Method) -> list[dict[str, Any]]:
    """Parameters with and without weight decay; biases and norms have none."""
    trained = [p for p in method.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def check_batch(entry: Pretrain, method: Method, place: str) -> None:
    """Refuse a batch of one where statistics of it would be taken, as every comparison does.

    Raises
    ------
    ProbelineError
        When the backbone or a head has a BatchNorm.
    """
    norms = nn.modules.batchnorm._BatchNorm
    has_norm = any(isinstance(module, norms) for module in method.modules())
    if entry.batch_size == 1 and has_norm and entry.method != "random":
        raise ProbelineError(
            f"{place}.batch_size",
            "a BatchNorm has no statistics of one image",
            expected="at least 2; 64 and more train well",
            found=str(entry.batch_size),
            remedy="raise `batch_size`",
        )


def _tensors(method: Method) -> Iterator[tuple[str, torch.Tensor]]:
    yield from method.named_parameters()
    yield from method.named_buffers()
