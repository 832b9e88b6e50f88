"""What a user with a model's real file runs once: a line to send back, and a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from cache.errors import ProbelineError
from pipeline.models.features import compute_features
from pipeline.models.networks import load_model
from pipeline.models.settings import Model

NUMBERS = 8
TOLERANCE = 1e-3
"""Of the features, relative to their length: another processor rounds otherwise."""


@dataclass(frozen=True)
class Found:
    """What a model's real file is.

    Attributes
    ----------
    file : str
        SHA-256 of the file, or of what is recorded of timm's own; "" of random weights.
    weights : str
        SHA-256 of the weights as loaded.
    parameters : int
    features : tuple of float
        The first ones of a picture that everybody can draw.
    """

    file: str
    weights: str
    parameters: int
    features: tuple[float, ...]

    def line(self, name: str) -> str:
        """All of it in one line of YAML, as the catalogue keeps it."""
        numbers = ", ".join(f"{value:.6g}" for value in self.features)
        return (
            f"{name}: {{by: YOUR_NAME, file: {self.file or 'none'}, weights: {self.weights}, "
            f"parameters: {self.parameters}, features: [{numbers}]}}"
        )


def picture() -> Image.Image:
    """300 x 260 pixels of smooth waves, by integer arithmetic alone."""
    y, x = np.mgrid[0:260, 0:300].astype(np.int64)
    channels = [(x * x + 3 * y) // 64 % 256, (y * y + 5 * x) // 64 % 256, (x * y) // 64 % 256]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def look_at(name: str, entry: Model, file: str) -> Found:
    """Load a model, and take the features of `picture`.

    Raises
    ------
    ProbelineError
        When the weights can't be had, or do not fit.
    """
    model = load_model(name, entry)
    pixels = model.transform.geometry.apply(picture()).astype(np.float32) / 255
    normal = (pixels - model.transform.mean) / model.transform.std
    batch = torch.from_numpy(normal.astype(np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        features = compute_features(model.backbone, batch, [model.feature])[model.feature]
    first = tuple(float(value) for value in features[0, :NUMBERS])
    return Found(file, model.weights_digest, model.parameters, first)


def compare(name: str, found: Found, expected: Mapping[str, Any]) -> str:
    """In words, whether it is what the catalogue expects.

    Raises
    ------
    ProbelineError
        When it is not.
    """
    if not expected:
        return "nobody has sent this line yet: please do, as an issue or a pull request"
    if expected["file"] != (found.file or "none"):
        raise _other(name, "the file is another one", expected["file"], found.file)
    if expected["weights"] != found.weights:
        raise _other(name, "the weights are loaded otherwise", expected["weights"], found.weights)
    wanted, got = np.array(expected["features"]), np.array(found.features)
    if not np.linalg.norm(wanted - got) <= TOLERANCE * np.linalg.norm(wanted):
        raise _other(name, "the features differ", str(expected["features"]), str(list(got)))
    return f"as {expected['by']} found it: the same file, weights and features"


def _other(name: str, problem: str, expected: str, found: str) -> ProbelineError:
    return ProbelineError(
        f"model {name}",
        f"is not what was verified: {problem}",
        expected=expected,
        found=found or "none",
        remedy="download the file again; if it differs again, do not use it, and tell us",
    )
