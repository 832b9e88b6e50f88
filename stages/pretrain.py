"""Stage pretrain: train the study's own small models -> data/checkpoints/<name>.safetensors."""

from __future__ import annotations

import click

from pipeline.datasets.index import read_index
from pipeline.pretraining.chance import remarks_on
from pipeline.pretraining.entries import pretrain_status, read_training, unfinished_path
from pipeline.project.paths import CHECKPOINTS
from pipeline.study.params import load_study
from stages._run import Tally, explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Train what is missing."""
    tally = Tally("pretrain")
    study = load_study()
    keep_folder(CHECKPOINTS)
    indexes = {name: read_index(entry.dataset) for name, entry in study.pretrain.items()}
    missing = {}
    for name, index in indexes.items():
        status = pretrain_status(study, name, index)
        if status.state == "cached":
            # Of a run that was stopped when all was stored.
            unfinished_path(name).unlink(missing_ok=True)
            continue
        missing[name] = index
        if status.state in ("stale", "damaged"):
            say("pretrain", f"{name} is {status.state}, trained again: {status.detail}")
    if missing:
        # Only now: a stage that has nothing to do must not spend seconds on importing torch.
        from pipeline.pretraining.run import pretrain_all

        pretrain_all(study, missing)
    for name in study.pretrain:
        _say_remarks(name)
    tally.computed, tally.cached = len(missing), len(study.pretrain) - len(missing)
    tally.close()


def _say_remarks(name: str) -> None:
    """Name a model that has learnt nothing at every run, not only at the one that trained it."""
    for remark in remarks_on(read_training(name) or {}):
        say("pretrain", f"warning: {name} {remark}")


if __name__ == "__main__":
    main()
