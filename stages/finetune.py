"""Stage finetune: end-to-end training -> results/finetune/<data set>/<model>.parquet."""

from __future__ import annotations

import json

import click

from cache.files import write_durably
from pipeline.finetuning.cells import not_run
from pipeline.finetuning.curves import plot_rows
from pipeline.params import load_study
from pipeline.paths import FINETUNE_PLOT, RESULTS
from pipeline.study import Study
from stages._run import Tally, explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Train what the study misses; without `finetune.enabled`, nothing."""
    tally = Tally("finetune")
    study = load_study()
    keep_folder(RESULTS / "finetune")
    for line in not_run(study):
        say("finetune", f"not run: {line}")
    if study.finetune.enabled:
        tally.cached, tally.computed = _train(study)
    write_durably(FINETUNE_PLOT, (json.dumps(plot_rows(study), indent=0) + "\n").encode())
    tally.close()


def _train(study: Study) -> tuple[int, int]:
    """Runs found, and runs trained."""
    from pipeline.datasets.index import read_index
    from pipeline.finetuning.cells import is_finetuned, runs_to_do

    indexes = {name: read_index(name) for name in study.datasets}
    cells = [
        (index, model)
        for name, index in indexes.items()
        for model in study.models
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


if __name__ == "__main__":
    main()
