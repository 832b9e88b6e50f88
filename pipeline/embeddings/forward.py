"""One network on one device: a batch of pixels in, features out, always the same way."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from pipeline.embeddings.compiling import OPTIONS, should_compile
from pipeline.machine.devices import Machine, float32_by, require_tf32
from pipeline.machine.environment import compile_choice
from pipeline.models.networks import LoadedModel
from pipeline.models.running import features_of_pixels, laid_out, of_channels
from pipeline.study.schema import Extraction


class Forward:
    """Runs a model on batches; halves the batch when the device's memory does not hold it.

    Parameters
    ----------
    model : LoadedModel
        Moved to the device.
    machine : Machine
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Of the computation.
    images : int
        Of the data set; enough of them make it pay to compile the network.
    device : torch.device, optional
        The machine's first one by default.

    Attributes
    ----------
    device : torch.device
    seconds : float
        Spent in forward passes so far.
    """

    def __init__(
        self,
        model: LoadedModel,
        machine: Machine,
        precision: str = Extraction().precision,
        *,
        images: int = 0,
        device: torch.device | None = None,
    ) -> None:
        device = device or machine.devices[0]
        self.device, self._precision = device, precision
        if precision == "tf32":
            require_tf32(device)
        self._backbone = laid_out(model.backbone.to(device))
        self._mean = of_channels(model.transform.mean, device)
        self._std = of_channels(model.transform.std, device)
        area = model.transform.geometry.size**2
        self._largest = max(1, machine.pixels // area)
        self._compiled: Callable[..., dict[str, torch.Tensor]] | None = None
        if should_compile(self._backbone, device, images * area):
            self._compiled = torch.compile(self._features, dynamic=False, options=OPTIONS)
        self.seconds = 0.0

    def __call__(
        self, pixels: NDArray[np.uint8], kinds: Collection[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Each kind of feature, of shape (n_images, n_features), from one forward pass.

        Parameters
        ----------
        pixels : ndarray of shape (n_images, size, size, 3)
        kinds : collection of str
            See `pipeline.models.features`.

        Raises
        ------
        torch.OutOfMemoryError
            When the device can't hold even one image.
        """
        start = time.perf_counter()
        parts: list[dict[str, NDArray[np.float32]]] = []
        done = 0
        while done < len(pixels):
            part = pixels[done : done + self._largest]
            try:
                parts.append(self._run(part, kinds))
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                self._largest = len(part) // 2
                torch.cuda.empty_cache()
                continue
            done += len(part)
        self.seconds += time.perf_counter() - start
        if len(parts) == 1:
            return parts[0]
        return {kind: np.concatenate([part[kind] for part in parts]) for kind in kinds}

    @torch.inference_mode()
    def first_layer_not_finite(self, pixels: NDArray[np.uint8]) -> str:
        """The innermost module that first puts out NaN or infinity for one image."""
        found: list[str] = []

        def look(name: str) -> Callable[[nn.Module, object, object], None]:
            def hook(_module: nn.Module, _inputs: object, output: object) -> None:
                if isinstance(output, torch.Tensor) and not torch.isfinite(output).all():
                    found.append(name)

            return hook

        hooks = [
            module.register_forward_hook(look(name))
            for name, module in self._backbone.named_modules()
            if name
        ]
        try:
            self._run(pixels[np.newaxis], ["pooled"])
        finally:
            for handle in hooks:
                handle.remove()
        return found[0] if found else "the pooling"

    @torch.inference_mode()
    def _run(
        self, pixels: NDArray[np.uint8], kinds: Collection[str]
    ) -> dict[str, NDArray[np.float32]]:
        batch = torch.from_numpy(pixels)
        if self.device.type == "cuda":  # from pinned memory, a copy neither waits nor is staged
            batch = batch.pin_memory()
        batch = batch.to(self.device, non_blocking=True)
        with float32_by(tf32=self._precision == "tf32"):
            features = self._run_compiled(batch, kinds) or self._features(batch, kinds)
        return {kind: values.float().cpu().numpy() for kind, values in features.items()}

    def _features(self, batch: torch.Tensor, kinds: Collection[str]) -> dict[str, torch.Tensor]:
        return features_of_pixels(
            self._backbone, batch, self._mean, self._std, self._precision, kinds
        )

    def _run_compiled(
        self, batch: torch.Tensor, kinds: Collection[str]
    ) -> dict[str, torch.Tensor] | None:
        """By the compiled network; None where there is none.

        A network is compiled for one size of batch: a smaller one is filled up with copies of its
        last image, whose features are dropped.
        """
        if self._compiled is None:
            return None
        missing = self._largest - len(batch)
        full = torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)]) if missing else batch
        try:
            features = self._compiled(full, tuple(kinds))
        except TorchDynamoException as error:
            if compile_choice() == "always":
                raise
            reason = str(error).strip().split("\n")[0]
            print(f"the network could not be compiled and runs without ({reason})", file=sys.stderr)
            self._compiled = None
            return None
        return {kind: values[: len(batch)] for kind, values in features.items()}
