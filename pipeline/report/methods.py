"""What each protocol of a study does, in plain words."""

from __future__ import annotations

from pipeline.classifiers.settings import Linear
from pipeline.finetuning.recipes import REFERENCE_BATCH
from pipeline.models.feature_kinds import FEATURES
from pipeline.probes.settings import Fewshot
from pipeline.records import protocols_of
from pipeline.report.finetuning import run_words
from pipeline.study import Study
from pipeline.variants.asked import knn_variants
from pipeline.variants.words import number_of

_FEATURES = {
    "none": "features as they are",
    "zscore": "features z-scored by train statistics",
    "l2": "features scaled to unit length",
    "centered_l2": "features centred by train statistics and scaled to unit length",
}
_INPUTS = {
    "none": "features centred and divided by one number",
    "zscore": "features z-scored",
    "l2": "features scaled to unit length, centred and divided by one number",
}
_VOTES = {"distance": "votes weighted by 1/distance", "uniform": "equal votes"}


def methods(study: Study) -> dict[str, str]:
    """For each protocol of the study: how it scores, and what its headline is."""
    words = {
        "knn": "A test image gets the vote of its nearest train images, found by exhaustive "
        f"search and kept for every way of voting. Headline: {_knn_headline(study)}.",
        "linear": _linear(study.linear),
        "fewshot": _fewshot(study.fewshot),
        "finetune": _finetune(study),
        "transfer": f"A probe trained on {_listed(study.transfer.sources)} is tested on the other "
        "data sets' images of the classes that both name, with statistics of its own train split.",
        "predictors": "Numbers computed from the train embeddings and their labels alone.",
    }
    return {protocol: words[protocol] for protocol in protocols_of(study)}


def _knn_headline(study: Study) -> str:
    headline = knn_variants(study)[0]
    distance = {"euclidean": "Euclidean distance", "cosine": "cosine distance"}[headline.distance]
    votes = _VOTES.get(headline.weighting, "")
    if headline.temperature is not None:
        distance, votes = (
            "cosine similarity s",
            f"votes weighted by exp(s/{headline.temperature:g})",
        )
    return (
        f"{number_of(headline.k or 0, 'neighbour')}, {distance}, {votes}, "
        f"{_FEATURES[headline.normalization]}"
    )


def _fewshot(fewshot: Fewshot) -> str:
    words = (
        "A head is trained on a few images of each class, drawn by a seed; all models see the same "
        "draws. Scores are means over draws, their intervals Student's t over draws."
    )
    simpler = [f"{count} classes at a time" for count in fewshot.class_counts]
    simpler += ["coarse classes"] if fewshot.coarse else []
    if not simpler:
        return words
    return (
        f"{words} With {fewshot.shots[0]} of each class the same images are also asked as simpler "
        f"problems: {', '.join(simpler)}."
    )


def _linear(linear: Linear) -> str:
    if linear.c is not None and len(linear.c) == 1:
        chosen = f"with C = {linear.c[0]:g}"
    else:
        count = 45 if linear.c is None else len(linear.c)
        chosen = f"its C chosen among {count} values on a hold-out of train, then fitted to all"
    heads = {
        "logistic": "Multinomial logistic regression (Newton-CG, at most "
        f"{linear.max_iterations} iterations), {chosen}",
        "ridge": "Ridge regression to ±1 targets, its penalty chosen by exact leave-one-out on "
        "train",
        "sgd": "A linear head trained by gradient descent as in the study, on cached features",
        "mlp": "A head of three layers trained by gradient descent as in the study, on cached "
        "features",
    }
    return (
        ". ".join(heads[head] for head in linear.heads)
        + f". Headline: {linear.heads[0]}, {_INPUTS[linear.normalization[0]]}, by train "
        "statistics. The test split is used once, to score."
    )


def _finetune(study: Study) -> str:
    runs = study.finetune.runs
    if not runs:
        return ""
    return (
        "The network itself is trained, from each model’s weights, with a new head. "
        + " ".join(f"{name}: {run_words(run)}." for name, run in runs.items())
        + f" Headline: {next(iter(runs))}. Learning rates are for {REFERENCE_BATCH} images a step "
        "and scaled to the batch. The test split is used once, to score."
    )


def embeddings(study: Study) -> str:
    """What is kept of each image, and how it is computed and stored."""
    models_of: dict[str, list[str]] = {}
    for name, model in study.models.items():
        imported = model.weights == "imported"
        kept = "imported" if imported else FEATURES[model.feature].words
        models_of.setdefault(kept, []).append(name)
    if len(models_of) > 1:
        each = [f"{kept} ({', '.join(names)})" for kept, names in models_of.items()]
    else:
        each = list(models_of)
    storage = study.extraction.storage
    return (
        "Each image passes once through the frozen model. Its embedding is "
        f"{'; or '.join(each)}. Embeddings are computed in {study.extraction.precision} and kept "
        f"as {storage}{' (float32 where its range needs that)' * (storage == 'float16')}."
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
