"""End-to-end training from each model's weights: heavy, mostly off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.protocol import Later, Protocol
from pipeline.variants.variant import Variant

if TYPE_CHECKING:
    from pipeline.study import Study

NAME = "finetune"

_is_finetuned = Later("pipeline.finetuning.cells", "is_finetuned")


def _is_wanted(study: Study) -> bool:
    return any(
        _is_finetuned(study, dataset, model) for dataset in study.datasets for model in study.models
    )


FINETUNE = Protocol(
    name=NAME,
    label="fine-tuning",
    sections=(NAME, "fewshot"),
    sentence=Later("pipeline.finetuning.words", "sentence"),
    variants=lambda study: [Variant(protocol=NAME, called=run) for run in study.finetune.runs],
    run=Later("pipeline.finetuning.running", "train_all"),
    finish=Later("pipeline.finetuning.curves", "write_plot"),
    is_wanted=_is_wanted,
    is_asked=_is_finetuned,
    not_run=Later("pipeline.finetuning.cells", "not_run"),
    key=Later("pipeline.finetuning.cells", "record_key"),
    reaches_all=False,
)
