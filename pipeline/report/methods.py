"""What a study does, in plain words: the protocols' own, and those of embeddings."""

from __future__ import annotations

from pipeline.models.feature_kinds import FEATURES
from pipeline.study import protocol_list
from pipeline.study.finetune import FINETUNE
from pipeline.study.schema import Study


def methods(study: Study) -> dict[str, str]:
    """For each protocol of the study: how it scores, and what its headline is."""
    asked = [protocol for protocol in protocol_list.PROTOCOLS if protocol.is_wanted(study)]
    return {protocol.name: protocol.sentence(study) for protocol in asked}


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
    trained = "" if FINETUNE.is_wanted(study) else " Nothing is fine-tuned."
    return (
        "Each image passes once through the frozen model. Its embedding is "
        f"{'; or '.join(each)}. Embeddings are computed in {study.extraction.precision} and kept "
        f"as {storage}{' (float32 where its range needs that)' * (storage == 'float16')}."
        f"{trained}"
    )
