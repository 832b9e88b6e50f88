"""A batch in parts, where the device's memory does not hold it: the same loss and gradient.

That is so where images know nothing of each other: the loss is a mean over them, and no layer takes
statistics of a batch, or draws numbers of its own. Elsewhere a smaller batch is another recipe: it
is refused, with what to do.
"""

from __future__ import annotations

import sys

import torch
from torch import nn

from cache.errors import ProbelineError
from pipeline.machine.device_memory import Pieces, is_out_of_memory, release
from pipeline.pretraining.encoder import Method


class Parts:
    """The loss of whole batches, by as many images at once as the device holds.

    Parameters
    ----------
    method : Method
    batch_size : int
    device : torch.device
    place : str
        Of the entry, for errors.
    """

    def __init__(self, method: Method, batch_size: int, device: torch.device, place: str) -> None:
        self._method, self._device, self._place = method, device, place
        self._batch = batch_size
        self._at_once = Pieces(batch_size, f"{place}, a batch of {batch_size} images")

    def loss(self, images: torch.Tensor, labels: torch.Tensor, *, learn: bool) -> float:
        """The mean loss of a batch; to `learn`, with its gradient in the parameters.

        Raises
        ------
        ProbelineError
            When the device does not hold the batch, and parts of it would not give the same; or not
            one image.
        """
        drawn_as = _states(self._device)
        if self._at_once.size >= len(images):
            try:
                self._forget()
                loss = self._method.loss(images, labels)
                if learn:
                    loss.backward()  # type: ignore[no-untyped-call]
                return float(loss.item())
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._make_smaller(len(images), error)
            release()
        _restore(drawn_as, self._device)
        try:
            drawn = self._method.drawn(images, labels)
        except Exception as error:
            if is_out_of_memory(error):
                raise self._refusal("not even its views fit", error) from error
            raise
        while True:
            try:
                self._forget()
                return self._by_parts(drawn, learn=learn)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._make_smaller(self._at_once.size, error)
            release()

    def _by_parts(self, drawn: tuple[torch.Tensor, ...], *, learn: bool) -> float:
        count, total = len(drawn[0]), 0.0
        for start in range(0, count, self._at_once.size):
            part = [each[start : start + self._at_once.size] for each in drawn]
            loss = self._method.loss_of(*part) * (len(part[0]) / count)
            if learn:
                loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.item())
        return total

    def _forget(self) -> None:
        """What a former step, or one that did not fit, has left."""
        for parameter in self._method.parameters():
            parameter.grad = None

    def _make_smaller(self, tried: int, error: Exception) -> None:
        if why := why_not(self._method):
            raise self._refusal(why, error) from error
        self._at_once.halve(tried, error)
        print(
            f"{self._place}: out of memory with {tried} images at once; goes on with "
            f"{self._at_once.size}, accumulated: the same batch of {self._batch}",
            file=sys.stderr,
            flush=True,
        )

    def _refusal(self, why: str, error: Exception) -> ProbelineError:
        size = self._method.encoder.size
        return ProbelineError(
            f"{self._place}.batch_size",
            f"the device's memory does not hold a batch, nor may it be taken in parts: {why}",
            expected=f"room to train on {self._batch} images of {size} x {size} pixels at once",
            found=str(error).strip().split("\n")[0][:300],
            remedy="use a device with more memory, or the CPU (PROBELINE_DEVICE=cpu): the numbers "
            "stay those of the recipe; or lower `batch_size`, which is another recipe",
        )


def placed(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """All images on the device; on the host where they do not fit, to be copied batch by batch."""
    try:
        return pixels.to(device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    release()
    return pixels


def why_not(method: Method) -> str:
    """Why parts of a batch would not give the numbers of the whole; empty where they do."""
    if not method.separable:
        return "its loss compares the images of a batch with each other"
    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return "a BatchNorm takes statistics of all its images"
        share = getattr(module, "p", 0) or getattr(module, "drop_prob", 0)
        if isinstance(share, float) and share > 0:
            return f"{type(module).__name__} draws numbers for all its images"
    return ""


def _states(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _restore(states: list[torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
