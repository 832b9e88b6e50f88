"""A training that only counts its epochs, in the place of `finetune_cell` in tests of its glue."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from pipeline.datasets.index import read_index
from pipeline.finetuning.cells import epochs_of
from pipeline.finetuning.history import Epoch
from pipeline.finetuning.run import Finetuned
from pipeline.probes.scoring import make_outcome

CALLS = Path("calls.txt")
"""A line for each epoch that was really done: data set, model, run and its number."""

PAUSE = "FAKE_EPOCH_SECONDS"


def train_nothing(study, dataset, model, run, *, kept: Path, advance) -> Finetuned:
    """Goes on from the epoch that `kept` names; the outcome depends on the names alone."""
    epochs = epochs_of(study.finetune.runs[run])
    kept.mkdir(parents=True, exist_ok=True)
    state = kept / "state.partial"
    done = int(state.read_text()) if state.exists() else 0
    if done:
        advance(done, "continued")
    for number in range(done + 1, epochs + 1):
        with CALLS.open("a") as file:
            file.write(f"{dataset} {model} {run} {number}\n")
        time.sleep(float(os.environ.get(PAUSE, "0")))
        state.write_text(str(number))
        advance(1, f"loss {1 / number:.2f}")
    labels = read_index(dataset).labels("val")
    rng = np.random.default_rng([len(dataset), *model.encode(), *run.encode()])
    chances = rng.dirichlet(np.ones(2), len(labels))
    history = tuple(
        Epoch(n, 0.1 / n, 1 / n, 0.5 + n / 100, 1 - n / 100, 0.5) for n in range(1, epochs + 1)
    )
    details = {"recipe": {"optimizer": "none"}, "notes": []}
    outcome = make_outcome(
        run, chances, labels, seconds=2.0, backend="torch", seed=0, details=details
    )
    cost = {"seconds": 2.0, "device": "cpu", "images_seen": 8 * epochs}
    return Finetuned(outcome, history, epochs - 1, 8, cost, details)


def calls() -> list[str]:
    """Cells and runs that did an epoch, one each, in order."""
    lines = CALLS.read_text().splitlines() if CALLS.exists() else []
    return list(dict.fromkeys(line.rsplit(" ", 1)[0] for line in lines))
