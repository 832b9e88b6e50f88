"""One network on one device: a batch of pixels in, features out, always the same way."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.devices import Machine
from pipeline.models import LoadedModel
from pipeline.study import Extraction

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Forward:
    """Runs a model on batches; halves the batch when the device's memory does not hold it.

    Parameters
    ----------
    model : LoadedModel
        Moved to `device`.
    machine : Machine
    precision : {"float32", "bfloat16", "float16"}
        Of the computation.

    Attributes
    ----------
    seconds : float
        Spent in forward passes so far.
    """

    def __init__(
        self, model: LoadedModel, machine: Machine, precision: str = Extraction().precision
    ) -> None:
        device = machine.device
        self._device, self._precision = device, precision
        self._module = model.module.to(device)
        # Convolutions run up to twice as fast on channels-last memory; the patch embedding of a
        # transformer is a single one and gains nothing.
        if sum(isinstance(m, nn.Conv2d) for m in self._module.modules()) > 1:
            self._module = self._module.to(memory_format=torch.channels_last)
        mean, std = (
            torch.tensor(v, device=device).view(1, 3, 1, 1) * 255
            for v in (model.transform.mean, model.transform.std)
        )
        self._mean, self._std = mean, std
        self._largest = max(1, machine.pixels // model.transform.geometry.size**2)
        self.seconds = 0.0

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of shape (n_images, n_features) of pixels of shape (n_images, size, size, 3).

        Raises
        ------
        torch.OutOfMemoryError
            When the device can't hold even one image.
        """
        start = time.perf_counter()
        features: list[NDArray[np.float32]] = []
        done = 0
        while done < len(pixels):
            part = pixels[done : done + self._largest]
            try:
                features.append(self._run(part))
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                self._largest = len(part) // 2
                torch.cuda.empty_cache()
                continue
            done += len(part)
        self.seconds += time.perf_counter() - start
        return features[0] if len(features) == 1 else np.concatenate(features)

    @torch.inference_mode()
    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = torch.from_numpy(pixels).to(self._device, non_blocking=True)
        # (n, h, w, 3) seen as (n, 3, h, w) is channels-last memory already.
        images = (batch.permute(0, 3, 1, 2).float() - self._mean) / self._std
        if self._precision == "float32":
            features = self._module(images)
        else:
            with torch.autocast(self._device.type, dtype=_AUTOCAST[self._precision]):
                features = self._module(images)
        return features.float().cpu().numpy()  # type: ignore[no-any-return]
