"""Whether a model of the study can be used: loaded, run on images, its features looked at."""

from __future__ import annotations

import numpy as np
import torch

from cache.errors import NonFiniteError, ProbelineError
from pipeline.models.features import compute_features
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.models.transform_origin import in_one_line, transform_parts

IMAGES = 4
"""Of noise: different images must give different features."""


def check_model(name: str, entry: Model) -> str:
    """Load a model and run a few images of noise through it.

    Returns
    -------
    str
        Two lines that say what was found, and how images are prepared.

    Raises
    ------
    ProbelineError
        When the weights can't be had or do not fit, or the features are not usable.
    """
    model = load_model(name, entry)
    size = model.transform.geometry.size
    pixels = np.random.default_rng(0).random((IMAGES, 3, size, size), dtype=np.float32)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (model.transform.mean, model.transform.std)
    )
    with torch.inference_mode():
        images = (torch.from_numpy(pixels) - mean) / std
        found = compute_features(model.backbone, images, [model.feature])[model.feature].numpy()
    if not np.isfinite(found).all():
        raise NonFiniteError(
            f"model {name}", "gives features that are not finite", remedy="check the weights"
        )
    if np.allclose(found, found[:1]):
        raise ProbelineError(
            f"model {name}",
            "gives the same features for different images",
            expected="features that tell images apart",
            found=f"{model.columns:,} features ({model.feature}), equal for {IMAGES} images",
            remedy="check the weights: are they zeros, or another network's?",
        )
    return (
        f"{name}: {model.parameters:,} parameters, {model.columns:,} features "
        f"({model.feature}) of {size} x {size} px, weights {model.weights_digest[:12]}\n"
        f"  images: {in_one_line(transform_parts(entry, model.transform.to_dict()))}"
    )
