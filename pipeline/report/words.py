"""The words in which the report speaks of protocols, variants and score columns."""

from __future__ import annotations

import re

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

SET_WORDS = {
    "other_protocols": "scores by other protocols",
    "all": "scores by all protocols",
    "knn": "kNN",
    "linear": "linear probe",
    "fewshot": "few-shot",
    "transfer": "transferred probes",
    "finetune": "fine-tuning",
}

NORMALIZATION_WORDS = {
    "none": "plain",
    "zscore": "z-scored",
    "l2": "unit length",
    "centered_l2": "centred, unit length",
    "target_zscore": "z-scored by the target",
    "bn": "BatchNorm",
}

_HEADS = {
    "logistic": "logistic regression",
    "ridge": "ridge",
    "sgd": "linear head by SGD",
    "mlp": "MLP",
    "prototypes": "class means",
}


def protocol_word(protocol: str) -> str:
    """``linear`` as ``linear probe``; what is not known stays as it is."""
    return PROTOCOL_WORDS.get(protocol, protocol)


def variant_label(variant: str) -> str:
    """``knn/k20_cosine_distance_none`` as ``kNN: 20 neighbours, cosine, 1/distance, plain``."""
    protocol, _, settings = variant.partition("/")
    if protocol == "predictors":
        return PREDICTOR_WORDS.get(settings, settings)
    of = {"knn": _knn, "linear": _head, "fewshot": _fewshot, "transfer": _transfer}
    words = of[protocol](settings) if protocol in of else settings.replace("_", " ")
    return f"{protocol_word(protocol)}: {words}"


def column_label(column: str) -> str:
    """``linear/ridge_none@digits`` as ``linear probe on digits``; cheap predictors by name."""
    variant, _, dataset = column.partition("@")
    protocol = variant.partition("/")[0]
    word = variant_label(variant) if protocol == "predictors" else protocol_word(protocol)
    return f"{word} on {dataset}"


def task_word(task: str) -> str:
    """``2_classes`` as ``2 classes``."""
    return task.replace("_", " ")


def set_word(targets: str) -> str:
    """A set of targets, as in `pipeline.statistics.predictions`."""
    return SET_WORDS.get(targets, targets)


def _normalized(settings: str) -> tuple[str, str]:
    """Settings without the word on normalization, and that word."""
    for key in sorted(NORMALIZATION_WORDS, key=len, reverse=True):
        if settings == key:
            return "", NORMALIZATION_WORDS[key]
        if settings.endswith(f"_{key}"):
            return settings.removesuffix(f"_{key}"), NORMALIZATION_WORDS[key]
    return settings, ""


def _knn(settings: str) -> str:
    rest, normalization = _normalized(settings)
    tuned = rest.startswith("tuned")
    if match := re.fullmatch(r"k(\d+)_([a-z0-9]+)_(.+)", rest):
        k, metric, weighting = match.groups()
        weighting = {"distance": "1/distance", "uniform": "equal votes"}.get(
            weighting, re.sub(r"^softmax_?t?(.*)$", r"softmax \1", weighting).replace("_", " ")
        )
        found = f"{k} neighbour{'s' * (k != '1')}, {metric}, {weighting}"
    elif rest == "study":
        found = "the study’s preset (20 neighbours, 1/distance)"
    elif match := re.fullmatch(r"dino_k?(\d+)", rest):
        found = f"DINO’s preset, {match[1]} neighbours"
    elif tuned:
        found = "tuned by leave-one-out" + rest.removeprefix("tuned").replace("_", " ")
    else:
        found = rest.replace("_", " ")
    return ", ".join(filter(None, (found, normalization)))


def _head(settings: str) -> str:
    tuned = settings.endswith("_tuned")
    rest, normalization = _normalized(settings.removesuffix("_tuned"))
    head, _, further = rest.partition("_")
    parts = [_HEADS.get(head, head), further.replace("_", " "), normalization]
    return ", ".join(filter(None, [*parts, "tuned learning rate" if tuned else ""]))


def _fewshot(settings: str) -> str:
    if match := re.fullmatch(r"(.+)_(\d+_classes|coarse)", settings):
        task = "coarse classes" if match[2] == "coarse" else f"{task_word(match[2])} at a time"
        return f"{_fewshot(match[1])}, {task}"
    if match := re.fullmatch(r"(.+?)_(\d+)_shots?", settings):
        count = f"{match[2]} image{'s' * (match[2] != '1')} a class"
    elif match := re.fullmatch(r"(.+?)_([\d.]+)_(?:percent|pct)", settings):
        count = f"{match[2]}% of train"
    else:
        return settings.replace("_", " ")
    return f"{count}, {_HEADS.get(match[1], match[1].replace('_', ' '))}"


def _transfer(settings: str) -> str:
    if not settings.startswith("from_"):
        return settings.replace("_", " ")
    # A data set's name may hold "_": what follows the source begins with a head or with knn.
    rest = settings.removeprefix("from_")
    match = re.fullmatch(r"(.+?)_(knn|logistic|ridge|sgd|mlp)(?:_(.*))?", rest)
    if not match:
        return f"trained on {rest}"
    source, head, settings = match[1], match[2], match[3] or ""
    words = f"kNN, {_knn(settings)}" if head == "knn" else _head(f"{head}_{settings}".rstrip("_"))
    return f"trained on {source}, {words}"
