"""One network on one device: a batch of pixels in, features out, always the same way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from pipeline.embeddings.compiling import OPTIONS, should_compile
from pipeline.embeddings.uploads import Clock, download, upload
from pipeline.machine.device_memory import Pieces
from pipeline.machine.devices import Machine, float32_by, require_tf32
from pipeline.machine.environment import compile_choice
from pipeline.models.networks import LoadedModel
from pipeline.models.running import features_of_pixels, laid_out, of_channels
from pipeline.study.schema import Extraction


@dataclass(frozen=True)
class Started:
    """A forward pass that a device has been given, and may still be computing.

    Attributes
    ----------
    forward : Forward
        Whose pass it is.
    features : dict of str to Tensor of shape (n_images, n_features)
        On the device, by kind.
    clock : Clock
        Of the pass.
    """

    forward: Forward
    features: dict[str, torch.Tensor]
    clock: Clock


def finish(passes: Sequence[Started]) -> list[dict[str, NDArray[np.float32]]]:
    """The features of passes that one device was given, waited for once for all of them."""
    found = download([each.features for each in passes])
    for each in passes:
        each.forward.seconds += each.clock.seconds()
    return found


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
        Spent in forward passes that are finished.
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
        self._at_once = Pieces(max(1, machine.pixels // area), f"a model of {area:,} pixels")
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
        ProbelineError
            When the device can't hold even one image.
        """
        return finish([self.start(upload(pixels, self.device), kinds)])[0]

    def start(self, images: torch.Tensor, kinds: Collection[str]) -> Started:
        """Give the device a forward pass; parameters as of a call, on the device."""
        clock = Clock(self.device)
        with torch.inference_mode():
            parts = self._at_once.through(len(images), lambda rows: self._run(images[rows], kinds))
            features = parts[0]
            if len(parts) > 1:
                features = {kind: torch.cat([part[kind] for part in parts]) for kind in kinds}
        clock.stop()
        return Started(self, features, clock)

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
            with torch.inference_mode():
                self._run(upload(pixels[np.newaxis], self.device), ["pooled"])
        finally:
            for handle in hooks:
                handle.remove()
        return found[0] if found else "the pooling"

    def _run(self, batch: torch.Tensor, kinds: Collection[str]) -> dict[str, torch.Tensor]:
        with float32_by(tf32=self._precision == "tf32"):
            return self._run_compiled(batch, kinds) or self._features(batch, kinds)

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
        missing = self._at_once.size - len(batch)
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
