"""The reader's words for what a variant is made of."""

from __future__ import annotations

HEAD_WORDS = {
    "logistic": "logistic regression",
    "ridge": "ridge",
    "sgd": "linear head by SGD",
    "mlp": "MLP",
    "prototypes": "class means",
}

NORMALIZATION_WORDS = {
    "none": "plain",
    "zscore": "z-scored",
    "l2": "unit length",
    "centered_l2": "centred, unit length",
    "target_zscore": "z-scored by the target",
    "bn": "BatchNorm",
}

WEIGHTING_WORDS = {"distance": "1/distance", "uniform": "equal votes", "softmax": "softmax"}
