"""A real kill -9 in the middle of a training, and one training over two processes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_cases import SMALL, finetuned, furthest, prepare, same, same_outcome, weights
from projects import REPOSITORY

from cache.errors import ProbelineError

TRAIN = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from finetune_cases import finetuned
from pipeline.finetuning import training
training.SECONDS = 0
finetuned(kept=Path({kept!r}))
"""


def a_training(kept: Path) -> subprocess.Popen[bytes]:
    """In a process of its own, which writes its state after every epoch."""
    folders = (REPOSITORY, REPOSITORY / "tests", Path(__file__).parent)
    code = TRAIN.format(paths=[str(folder) for folder in folders], kept=str(kept))
    return subprocess.Popen([sys.executable, "-c", code])


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_weights(project):
    """Drop path, mixed images and averaged weights; one kill at a moment that nobody chose."""
    prepare(project, small={**SMALL, "recipe": "modern", "epochs": 40, "drop_path": 0.1})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = finetuned(kept=Path("whole"))
        process = a_training(Path("kept"))
        deadline = time.monotonic() + 200
        while not Path("kept/state.partial").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(weights(Path("kept"), "history")) > 0
        resumed = finetuned(kept=Path("kept"))
    finally:
        torch.set_num_threads(threads)
    for which in ("tensors", "average", "best"):
        assert same(weights(Path("whole"), which), weights(Path("kept"), which))
    assert same_outcome(whole, resumed)


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(project):
    """A network without BatchNorm; the batch, its rate and the hold-out stay those of one.

    Of 26 images in batches of 8, the last two are one for each process.
    """
    prepare(
        project,
        small={**SMALL, "recipe": "paper", "selection": "holdout", "label_smoothing": 0.1},
    )
    one = finetuned(kept=Path("one"))
    two = finetuned(kept=Path("two"), processes=2)
    assert two.cost["processes"] == 2
    assert two.cost["images_seen"] == 3 * 26
    assert two.details["steps"] == 3 * 4
    assert furthest(weights(Path("one")), weights(Path("two"))) < 1e-5
    difference = np.abs(one.outcome.log_probability - two.outcome.log_probability)
    assert difference.max() < 1e-5
    for alone, shared in zip(one.history, two.history, strict=True):
        assert shared.train_loss == pytest.approx(alone.train_loss, abs=1e-5)
        assert shared.holdout_loss == pytest.approx(alone.holdout_loss, abs=1e-5)
        assert shared.holdout_top1 == alone.holdout_top1


def test_a_batch_that_the_processes_can_not_share(project):
    prepare(project, small={**SMALL, "batch_size": 9})
    with pytest.raises(ProbelineError, match="share a batch evenly") as caught:
        finetuned(processes=2)
    assert caught.value.expected == "a multiple of 2"
