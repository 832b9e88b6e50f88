"""The reader's words for what a variant is made of."""

from __future__ import annotations

PROTOCOL_WORDS = {
    "knn": "kNN",
    "linear": "linear probe",
    "fewshot": "few-shot",
    "transfer": "transferred probe",
    "finetune": "fine-tuning",
    "predictors": "cheap predictor",
}

PREDICTOR_WORDS = {
    "rankme": "RankMe",
    "alpha_req": "α-ReQ",
    "h_score": "H-score",
    "logme": "LogME",
    "cdnv": "CDNV",
    "nc1": "NC1",
    "uniformity": "uniformity",
    "alignment": "alignment",
    "label_cka": "CKA with labels",
}

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


def protocol_word(protocol: str) -> str:
    """``linear`` as ``linear probe``; what is not known stays as it is."""
    return PROTOCOL_WORDS.get(protocol, protocol)


def number_of(count: int, noun: str) -> str:
    """``1 image``, ``5 images``."""
    return f"{count} {noun}{'s' * (count != 1)}"
