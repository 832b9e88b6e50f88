"""Fine-tuning what a study misses."""

from __future__ import annotations

from pipeline.datasets.index import read_index
from pipeline.embeddings.unavailable import available
from pipeline.finetuning.cells import is_finetuned, runs_to_do
from pipeline.study.protocol import Say
from pipeline.study.schema import Study


def train_all(study: Study, _: Say) -> tuple[int, int]:
    """Runs found, and runs trained."""
    indexes = {name: read_index(name) for name in study.datasets}
    cells = [
        (index, model)
        for name, index in indexes.items()
        for model in available(study, name)
        if is_finetuned(study, name, model)
    ]
    todo = sum(len(runs_to_do(study, *cell)) for cell in cells)
    found = len(cells) * len(study.finetune.runs) - todo
    if not todo:
        from pipeline.finetuning.assembling import put_together

        for cell in cells:
            put_together(study, *cell)
        return found, 0
    # Only now: a stage that has nothing to do must not spend seconds on importing torch.
    from pipeline.finetuning.storing import finetune_all

    finetune_all(study, cells)
    return found, todo
