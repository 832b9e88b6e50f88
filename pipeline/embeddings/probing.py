"""How fast this machine runs a study's networks: a short probe, before any weights are there."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import psutil

from pipeline.embeddings.forward import Forward
from pipeline.machine.devices import this_machine
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.study.schema import Study

WARM_UP = 2
"""Images that go through a network before it is timed."""


@dataclass(frozen=True)
class Rate:
    """What a probe found of a model.

    Attributes
    ----------
    seconds : float
        Of the forward pass, per image, on the first device.
    columns : int
        Features per image.
    """

    seconds: float
    columns: int


def probe(
    study: Study, names: Collection[str], advance: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, Rate], int]:
    """Build models with random weights and time one batch of noise each.

    Weights change no speed. Models that differ in their weights alone are timed once; those of a
    hub, whose code builds them only with their weights, are left out.

    Parameters
    ----------
    study : Study
    names : collection of str
        Of models.
    advance : callable
        Called with the name of each model that is timed, before it is.

    Returns
    -------
    rates : dict of str to Rate
        By model.
    memory : int
        Most bytes that this process held while it ran a batch, one network at a time.
    """
    machine, process = this_machine(), psutil.Process()
    rates: dict[str, Rate] = {}
    timed: dict[str, Rate] = {}
    memory = 0
    for name in names:
        entry = study.models[name]
        if entry.weights == "imported" or entry.is_of_hub:
            continue
        bare = _bare(entry)
        key = json.dumps(bare.model_dump(), sort_keys=True)
        if key not in timed:
            advance(name)
            model = load_model(name, bare)
            size = model.transform.geometry.size
            shape = (machine.batch_size, size, size, 3)
            images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            forward = Forward(model, machine, study.extraction.precision)
            forward(images[:WARM_UP], [model.feature])
            before = forward.seconds
            forward(images, [model.feature])
            memory = max(memory, process.memory_info().rss)
            timed[key] = Rate((forward.seconds - before) / len(images), model.columns)
        rates[name] = timed[key]
    return rates, memory


def _bare(entry: Model) -> Model:
    """What of an entry decides its speed, with random weights."""
    decisive = ("architecture", "arguments", "feature", "input_size", "crop_mode", "crop")
    return Model.model_validate({**entry.model_dump(include=set(decisive)), "weights": "random(0)"})
