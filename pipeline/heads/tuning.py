"""What tuned heads choose from, and by which rules.

All of it is part of the records' keys (`study.records`), so nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Any

VERSION = 3
"""Raised when code changes what is chosen or fitted, and no number below tells."""

CS = tuple(10.0 ** (step / 4) for step in range(-24, 21))
"""C of logistic regression, 1e-6 to 1e5, where the study names none."""
PENALTIES = tuple(10.0 ** (step / 2) for step in range(-12, 13))
"""λ of ridge, 1e-6 to 1e6, for features whose root mean square is 1."""

FEWSHOT_CS = tuple(10.0**power for power in range(-4, 5))
"""Of logistic regression on a few shots."""
FEWSHOT_PENALTIES = tuple(10.0**power for power in range(-3, 8))
"""Of ridge on a few shots. Features have unit variance on average, so the squares of their singular
values lie between the number of images and that times the number of features."""

FIXED_C = 1.0
FIXED_PENALTY, LONE_SHARE = 1.0, 0.1
"""λ of ridge on a few shots of which more than this share are the only ones of their class: without
them nothing in train is like them, so that leaving them out asks for the largest λ, and the most
frequent class."""
FOLDS = 5
LARGE, LARGE_SHARE, SHARE = 20_000, 0.1, 0.2
"""Train images from which 10% are enough of a hold-out; below, 20%."""
SMALL, FEW, FEWEST = 2_000, 10, 5
"""Train images, and mean images per class, below which 5 folds take the place of a hold-out; mean
images per class below which C is not chosen but 1."""
EXTENSION, REACH = 4, 1e3
"""Values added at a time beyond an edge of the grid that did best, and how far, as a factor."""
BEYOND, GAIN = 10.0, 1.0
"""A path of C ends where this factor in C has brought no lower loss on the hold-out, and no more
accuracy than so many standard errors (of the paired difference)."""
NARROW = 1 << 24
"""Values of a feature matrix up to which it is fitted in float64."""
ROUGH = 1e-4
"""Relative tolerance of the objective of fits that only judge a C: their accuracies are those of
the optima but for single images."""
FINE = 1e-10
"""Relative tolerance of the objective of a final fit in float64: probabilities then hold to 1e-5,
by any backend on any machine."""
PLAIN = 1e-6
"""That of one in float32, whose probabilities hold to 1e-3."""

PRESET_RATE = 0.1
"""Base learning rate of the study's linear probe: 0.4 at its batch of 1,024."""
HIDDEN = 1000
"""Width of the two hidden layers of the study's MLP head."""


def head_rules() -> dict[str, Any]:
    """What heads on all of train depend on beside their settings."""
    return {**_choice(), "cs": CS, "penalties": PENALTIES, "sgd": [PRESET_RATE, HIDDEN]}


def fewshot_rules() -> dict[str, Any]:
    """The same of heads on a few shots."""
    lone = {"lone": [FIXED_PENALTY, LONE_SHARE]}
    return {**_choice(), **lone, "cs": FEWSHOT_CS, "penalties": FEWSHOT_PENALTIES}


def _choice() -> dict[str, Any]:
    return {
        "version": VERSION,
        "scheme": [FIXED_C, FOLDS, LARGE, LARGE_SHARE, SHARE, SMALL, FEW, FEWEST],
        "path": [EXTENSION, REACH, BEYOND, GAIN],
        "precision": [NARROW, ROUGH, FINE, PLAIN],
    }
