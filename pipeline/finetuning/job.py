"""What one training is made from: plain values, so that it can go to a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.finetuning.classifier import Classifier, check_drop_path, drawn_from, is_transformer
from pipeline.finetuning.images import Decoded
from pipeline.finetuning.recipes import Recipe
from pipeline.models.networks import LoadedModel, load_model
from pipeline.models.settings import Model
from pipeline.models.transforms import Geometry, View
from pipeline.study.finetune import Run


@dataclass(frozen=True)
class Labelled:
    """Images with labels.

    Attributes
    ----------
    pixels : Decoded
    labels : ndarray of shape (n_images,), int64
    rows : ndarray of shape (n_images,), int64
        Of the train split.
    """

    pixels: Decoded
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Job:
    """One training. The val split is no part of it.

    Attributes
    ----------
    place : str
        Of the run and the cell, for errors.
    name : str
        Of the model.
    entry : Model
    run : Run
    recipe : Recipe
        As it holds for this model and these images.
    geometry : Geometry
        Of the model's evaluation.
    classes, seed : int
    learned : Labelled
        Decoded before the crop: views are cut from them.
    held_out : Labelled
        As the evaluation sees them; empty where the last epoch is taken.
    state : Path
        Of the file that an unfinished training is continued from.
    key : mapping
        Everything that can change the result.
    workers : int
        Threads that make views.
    join_single : bool
        See `Recipe.batches`.
    """

    place: str
    name: str
    entry: Model
    run: Run
    recipe: Recipe
    geometry: Geometry
    classes: int
    seed: int
    learned: Labelled
    held_out: Labelled
    state: Path
    key: Mapping[str, Any]
    workers: int
    join_single: bool = False

    def classifier(self) -> Classifier:
        """The network as it is before training.

        Raises
        ------
        ProbelineError
            When it can't be built as the run asks for it.
        """
        model = load_for(self.name, self.entry, self.recipe, self.place)
        return Classifier(model, self.classes, self.run, self.seed, self.place)

    def view(self, epoch: int) -> View:
        """The random views of an epoch, counted from 0; others than those of the extraction."""
        number = drawn_from(self.seed, "view", epoch)
        return View(
            self.geometry.size,
            self.geometry.interpolation,
            number,
            flip=self.run.flip,
            least=self.run.view_area,
        )

    @property
    def batches(self) -> list[int]:
        """Images of each step of an epoch."""
        return self.recipe.batches(len(self.learned), join_single=self.join_single)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return len(self.batches)


def load_for(name: str, entry: Model, recipe: Recipe, place: str) -> LoadedModel:
    """A model with its weights, and with drop path where the recipe has some.

    Raises
    ------
    ProbelineError
        When the architecture has no drop path, or not in every block.
    """
    if not recipe.drop_path:
        return load_model(name, entry)
    arguments = {**entry.arguments, "drop_path_rate": recipe.drop_path}
    model = load_model(name, entry.model_copy(update={"arguments": arguments}), place)
    if is_transformer(model.backbone):
        check_drop_path(model.backbone, recipe.drop_path, place)
    return model
