"""A taken classifier: images in, classes out, as the study computed them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import nn

from cache.errors import ProbelineError
from pipeline.datasets.image_faults import BadImageError
from pipeline.machine.devices import IMAGES_AT_ONCE, PIXELS_AT_ONCE, float32_by
from pipeline.models.arguments import ways_to_weights
from pipeline.models.constructors import constructor_of
from pipeline.models.running import digest_weights, features_of_pixels, laid_out, of_channels
from pipeline.taken.folder import (
    HEAD_FILE,
    MADE_FOR,
    TENSORS_FILE,
    WEIGHTS_FILE,
    made_for,
    read_verified,
)
from pipeline.taken.heads import TakenHead, head_from
from pipeline.taken.recipe import Picture, Pixel, Recipe, not_as_written
from pipeline.taken.risk import Step, threshold_for


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image.

    Attributes
    ----------
    image : str
        Its path, or ``image 3`` of one that has none.
    label : str
        The predicted class.
    probability : float
        Of that class; NaN of heads whose scores are no probabilities.
    answered : bool
        Whether it is sure enough for the risk that was asked for; always, where none was.
    """

    image: str
    label: str
    probability: float
    answered: bool = True


class Classifier:
    """A backbone and a head on its features.

    Attributes
    ----------
    facts : mapping
        What head.json says: where all of it comes from, and how good it was.
    classes : tuple of str
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        recipe: Recipe,
        backbone: nn.Module,
        head: TakenHead,
        steps: Sequence[Step],
        device: str = "cpu",
    ) -> None:
        self.facts, self.classes = facts, tuple(facts["classes"])
        self._recipe, self._head, self._steps = recipe, head, steps
        self._device = torch.device(device)
        self._backbone = laid_out(backbone.eval().requires_grad_(False).to(self._device))
        self._mean = of_channels(recipe.mean, self._device)
        self._std = of_channels(recipe.std, self._device)

    def predict(self, images: Iterable[Picture], *, risk: float | None = None) -> list[Prediction]:
        """Predict the class of every image, in order.

        Parameters
        ----------
        images : iterable of path or PIL.Image.Image
        risk : float, optional
            Share of answers that may be wrong: images on which the classifier is not sure enough
            for it come back with ``answered`` False.

        Raises
        ------
        ProbelineError
            When an image can't be read (names it), or the risk can't be kept.
        """
        found = []
        for each in self.each(images, risk=risk):
            if isinstance(each, ProbelineError):
                raise each
            found.append(each)
        return found

    def each(
        self, images: Iterable[Picture], *, risk: float | None = None
    ) -> Iterator[Prediction | ProbelineError]:
        """As `predict`, one after the other; in place of an image that can't be read, why."""
        least = -np.inf
        if risk is not None:
            least = threshold_for(self._steps, risk, str(self.facts["model"])).threshold
        return (
            told for batch in _batches(images, IMAGES_AT_ONCE) for told in self._judge(batch, least)
        )

    def pixels(self, pictures: Sequence[Picture]) -> Pixel:
        """What the network sees of images: ndarray of shape (n_images, size, size, 3)."""
        return np.stack([self._recipe.pixels(p, f"image {i}") for i, p in enumerate(pictures)])

    def features(self, pixels: Pixel) -> NDArray[np.float32]:
        """Features as the cache holds them, shape (n_images, n_features).

        Parameters
        ----------
        pixels : ndarray of shape (n_images, size, size, 3)
        """
        largest = max(1, PIXELS_AT_ONCE // self._recipe.geometry.size**2)
        parts = [self._run(pixels[i : i + largest]) for i in range(0, len(pixels), largest)]
        features = np.concatenate(parts)
        if self._recipe.stored_as == "float16":
            with np.errstate(over="ignore"):
                features = features.astype(np.float16).astype(np.float32)
        return features

    @torch.inference_mode()
    def _run(self, pixels: Pixel) -> NDArray[np.float32]:
        batch = torch.from_numpy(pixels).to(self._device)
        kind = self._recipe.feature
        with float32_by(tf32=self._recipe.precision == "tf32"):
            found = features_of_pixels(
                self._backbone, batch, self._mean, self._std, self._recipe.precision, [kind]
            )
        values: NDArray[np.float32] = found[kind].float().cpu().numpy()
        return values

    def _judge(
        self, batch: Sequence[tuple[str, Picture]], least: float
    ) -> list[Prediction | ProbelineError]:
        said: list[Prediction | ProbelineError] = []
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            seen = list(pool.map(self._look, batch))
        sound = [pixels for pixels in seen if not isinstance(pixels, ProbelineError)]
        if sound:
            features = self.features(np.stack(sound))
            finite = np.asarray(np.isfinite(features).all(axis=1))
            told = self._head(np.where(finite[:, np.newaxis], features, 0))
        row = 0
        for (name, _), pixels in zip(batch, seen, strict=True):
            if isinstance(pixels, ProbelineError):
                said.append(pixels)
                continue
            probability = float(told.confidence[row])
            if finite[row]:
                label = self.classes[int(told.predicted[row])]
                said.append(Prediction(name, label, probability, not probability < least))
            else:
                said.append(BadImageError(name, "the model's feature of it is no finite number"))
            row += 1
        return said

    def _look(self, named: tuple[str, Picture]) -> Pixel | ProbelineError:
        name, picture = named
        try:
            return self._recipe.pixels(picture, name)
        except ProbelineError as error:
            return error


def load(
    folder: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
) -> Classifier:
    """Read a folder that `probeline take` wrote; nothing in it is executed.

    Parameters
    ----------
    folder : path
    weights : path, optional
        The backbone's weights (a .safetensors file with timm's names), for a folder without them.
    device : str
        Where the network runs, as torch names it.

    Raises
    ------
    ProbelineError
        When a file is missing or altered, or the backbone, its weights or the transform are not
        those that the head was fitted on.
    """
    folder = Path(folder)
    facts = read_verified(folder)
    place = str(folder / HEAD_FILE)
    try:
        classes = facts["classes"]
        if not classes or not all(isinstance(name, str) for name in classes):
            raise TypeError("classes that are no names")
        steps = [
            Step(float(least), int(images), int(wrong), float(upper))
            for least, images, wrong, upper in facts["abstention"]
        ]
        wanted = str(facts["weights"]["digest"])
        str_facts = {name: facts[name] for name in ("model", "architecture", "feature")}
        if not all(isinstance(text, str) for text in str_facts.values()):
            raise TypeError("names that are no text")
        arguments = dict(facts["arguments"])
        kind = dict(facts["head"])
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise not_as_written(place, f"{type(error).__name__}: {str(error)[:200]}") from None
    recipe = Recipe.of(facts, place)
    head = head_from(kind, _arrays(folder, facts), len(classes), str(folder / TENSORS_FILE))
    backbone = _network(facts["architecture"], arguments, place)
    path = folder / WEIGHTS_FILE if weights is None else Path(weights)
    _load_weights(backbone, path, wanted, facts)
    try:
        return Classifier(facts, recipe, backbone, head, steps, device)
    except (RuntimeError, AssertionError) as error:
        raise ProbelineError(
            f"device {device}",
            "the network can't run there",
            expected="cpu, or a device that torch has here",
            found=str(error).split("\n")[0][:200],
            remedy="name another device",
        ) from None


def _arrays(folder: Path, facts: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """What head.safetensors holds, if it was fitted on what head.json says."""
    path = folder / TENSORS_FILE
    try:
        with safe_open(path, "numpy") as file:
            fitted_on = (file.metadata() or {}).get(MADE_FOR)
        arrays: dict[str, NDArray[Any]] = load_file(path)
    except Exception as error:  # noqa: BLE001 - whatever a foreign file makes of its reader
        raise not_as_written(str(path), f"{type(error).__name__}: {str(error)[:200]}") from None
    if fitted_on != made_for(facts):
        raise ProbelineError(
            str(path),
            "this head was fitted on another backbone, transform or list of classes",
            expected="the head of this head.json",
            found="one of another",
            remedy="take the classifier again; files of two folders do not go together",
        )
    return arrays


def _network(architecture: str, arguments: dict[str, Any], place: str) -> nn.Module:
    if ways := ways_to_weights(arguments):
        raise not_as_written(place, f"arguments.{ways[0]}, a way to other weights")
    build = constructor_of(architecture, place)
    try:
        return build(num_classes=0, **arguments)
    except Exception as error:  # noqa: BLE001 - constructors raise what they like
        raise ProbelineError(
            f"{place}: architecture",
            "the network could not be built",
            expected=f"{architecture}, as the version of timm that head.json names builds it",
            found=f"{type(error).__name__}: {str(error)[:300]}",
            remedy="install that version of timm",
        ) from None


def _load_weights(backbone: nn.Module, path: Path, digest: str, facts: Mapping[str, Any]) -> None:
    """Load a backbone's weights and compare them with those that the head was fitted on."""
    if not path.is_file():
        raise ProbelineError(
            str(path),
            "the backbone's weights are not here",
            expected=f"weights with digest {digest[:12]}…, of {facts['weights'].get('source', '')}",
            found="no such file",
            remedy="README.md of the folder says how to get them; name the file with --weights",
        )
    from safetensors.torch import load_file as load_tensors

    try:
        backbone.load_state_dict(load_tensors(path))
    except Exception as error:  # noqa: BLE001 - whatever a foreign file makes of its reader
        raise ProbelineError(
            str(path),
            "does not hold this backbone's weights",
            expected=f"safetensors with the names and shapes of {facts['architecture']}",
            found=f"{type(error).__name__}: {str(error)[:300]}",
            remedy="name the file that README.md of the folder tells of",
        ) from None
    if (found := digest_weights(backbone)) != digest:
        raise ProbelineError(
            str(path),
            "these are not the weights that the head was fitted on",
            expected=f"digest {digest}",
            found=f"digest {found}",
            remedy="name the file that README.md of the folder tells of",
        )


def _batches(images: Iterable[Picture], size: int) -> Iterator[list[tuple[str, Picture]]]:
    batch: list[tuple[str, Picture]] = []
    for number, picture in enumerate(images):
        if isinstance(picture, bytes | Image.Image):
            batch.append((f"image {number}", picture))
        else:
            batch.append((os.fspath(picture), picture))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
