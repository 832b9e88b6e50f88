"""Training runs: the same weights after a kill, and every way of failing has words."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_cases import SMALL, ask, finetuned, furthest, prepare, same, same_outcome, weights

from cache.errors import DiskFullError, ProbelineError
from pipeline.finetuning import launching, training
from pipeline.finetuning.classifier import Classifier
from pipeline.finetuning.divergence import DivergedError
from pipeline.machine import training_state

FULL = {**SMALL, "recipe": "modern", "drop_path": 0.1, "epochs": 4}
KEPT = Path("kept/tiny/small")


class KilledError(Exception):
    """Stands for the end of the process."""


def kill_after(epochs: int):
    done = []

    def advance(count: int, _words: str) -> None:
        done.append(count)
        if sum(done) == epochs:
            raise KilledError

    return advance


@pytest.mark.parametrize("model", ["tiny", "net"])
@pytest.mark.parametrize("recipe", ["sgd", "modern"])
def test_a_stopped_training_ends_with_the_same_weights(model, recipe, project):
    run = {**SMALL, "recipe": recipe, "epochs": 4}
    if model == "tiny":
        run["drop_path"] = 0.1
    prepare(project, small=run)
    whole = finetuned(model, kept=Path("whole"))
    with pytest.raises(KilledError):
        finetuned(model, kept=Path("kept"), advance=kill_after(2))
    reported: list[int] = []
    resumed = finetuned(model, kept=Path("kept"), advance=lambda n, _: reported.append(n))
    assert reported == [2, 1, 1]
    for which in ("tensors", "best", *(["average"] if recipe == "modern" else [])):
        assert same(weights(Path("whole"), which), weights(Path("kept"), which))
    assert same_outcome(whole, resumed)
    bare = [[dataclasses.replace(e, seconds=0.0) for e in f.history] for f in (whole, resumed)]
    assert bare[0] == bare[1]


def test_a_kill_in_the_middle_of_an_epoch_repeats_that_epoch(project, monkeypatch):
    prepare(project, small=FULL)
    whole = finetuned(kept=Path("whole"))
    real, steps = training.Training._step, []

    def step(self, *arguments):
        steps.append(1)
        if len(steps) == 6:
            raise KilledError
        return real(self, *arguments)

    monkeypatch.setattr(training.Training, "_step", step)
    with pytest.raises(KilledError):
        finetuned()
    assert same_outcome(whole, finetuned())
    assert same(weights(Path("whole")), weights(KEPT))


def test_a_finished_training_is_only_judged_again(project, monkeypatch):
    prepare(project)
    first = finetuned()
    monkeypatch.setattr(training.Training, "_epoch", None)
    assert same_outcome(first, finetuned())


def test_a_seed_gives_the_same_weights_and_another_seed_others(project):
    prepare(project, small={**FULL, "epochs": 1})
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        ask(project, seed=seed, small={**FULL, "epochs": 1})
        finetuned(kept=Path(folder))
    assert same(weights(Path("a")), weights(Path("b")))
    assert not same(weights(Path("a")), weights(Path("c")))


def test_the_head_begins_as_the_published_one_and_by_the_seed(project):
    prepare(project)
    from pipeline.models.networks import load_model
    from pipeline.study.finetune import Run
    from pipeline.study.params import load_study

    entry = load_study().models["tiny"]
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(heads))  # the caller's own random numbers do not matter
        model = load_model("tiny", entry)
        heads.append(Classifier(model, 500, Run(recipe="sgd"), seed, "here").head[-1])
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)
    assert not heads[0].bias.any()
    assert heads[0].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert heads[0].weight.mean().item() == pytest.approx(0, abs=1e-3)


def test_training_leaves_the_callers_random_numbers_alone(project):
    prepare(project, small={**FULL, "epochs": 1})
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    finetuned()
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpys, np.random.get_state()[1])  # noqa: NPY002


def test_a_state_of_another_configuration_is_refused_with_the_difference(project):
    prepare(project)
    finetuned()
    ask(project, small={**SMALL, "learning_rate": 0.3})
    with pytest.raises(ProbelineError, match="set up in another way") as caught:
        finetuned()
    assert "learning_rate: 0.1 -> 0.3" in caught.value.found
    assert "delete this file" in caught.value.remedy
    assert str(KEPT) in caught.value.place


def test_a_damaged_state_is_named(project):
    prepare(project)
    finetuned()
    path = KEPT / "state.partial"
    for damaged in (path.read_bytes()[:-100], b"nothing of the kind", b""):
        path.write_bytes(damaged)
        with pytest.raises(ProbelineError, match="is damaged"):
            finetuned()


def test_a_disk_that_fills_up_keeps_the_last_state(project, monkeypatch):
    prepare(project)
    whole = finetuned(kept=Path("whole"))
    real, writes = training_state.write_sealed, []

    def write(path, data):
        writes.append(path)
        if len(writes) == 3:
            raise DiskFullError(str(path), "the disk is full")
        real(path, data)

    monkeypatch.setattr(training_state, "write_sealed", write)
    monkeypatch.setattr(training, "SECONDS", 0)
    with pytest.raises(DiskFullError):
        finetuned()
    reported: list[int] = []
    again = finetuned(advance=lambda n, _: reported.append(n))
    assert reported == [2, 1]
    assert same_outcome(whole, again)


@pytest.mark.parametrize("at", [1, 2])
def test_a_loss_that_is_no_number_stops_and_the_last_good_state_stays(at, project, monkeypatch):
    """In epoch `at` + 1, whose first step is the first of three."""
    prepare(project)
    whole = finetuned(kept=Path("whole"))
    real, calls = training.functional.cross_entropy, []

    def loss(*arguments, **options):
        calls.append(1)
        return real(*arguments, **options) * (float("nan") if len(calls) == 3 * at + 1 else 1)

    with monkeypatch.context() as patch:
        patch.setattr(training.functional, "cross_entropy", loss)
        with pytest.raises(DivergedError) as caught:
            finetuned()
    rate = 0.1 * 8 / 256 * [1 / 2, 1, math.cos(math.pi / 4) ** 2][at]
    for word in (
        "small (tiny on pets)", f"epoch {at + 1} of 3", "step 1 of 3", f"rate of {rate:g}",
        "loss nan", "lower `learning_rate`", str(KEPT),
    ):  # fmt: skip
        assert word in str(caught.value)
    assert len(weights(KEPT, "history")) == at
    assert all(tensor.isfinite().all() for tensor in weights(KEPT).values())
    assert same_outcome(whole, finetuned())


def test_a_gradient_that_is_no_number_stops_before_it_is_taken(project):
    """A step that only the next loss would show."""
    prepare(project, small={**SMALL, "recipe": "sgd", "learning_rate": 1e30, "clip": 1e30})
    with pytest.raises(DivergedError, match="diverged"):
        finetuned()


def narrow_memory(monkeypatch, most: int) -> list[int]:
    """A device that holds `most` images; the sizes of the parts that went through."""
    real, seen = Classifier.forward, []

    def forward(self, images):
        if self.training and len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        if self.training:
            seen.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Classifier, "forward", forward)
    return seen


def test_too_little_memory_halves_the_parts_and_keeps_the_batch(project, monkeypatch, capsys):
    prepare(project)
    whole = finetuned(kept=Path("whole"))
    seen = narrow_memory(monkeypatch, 3)
    small = finetuned()
    assert set(seen) == {2}
    assert len(seen) == 4 * 3 * 3  # parts, steps, epochs
    assert small.details["accumulation"] == 4
    assert "4 parts of a batch of 8" in capsys.readouterr().err
    # No BatchNorm, no drop path: the same gradient but for the order of its sum.
    assert furthest(weights(Path("whole")), weights(KEPT)) < 1e-5
    assert [e.train_loss for e in small.history] == pytest.approx(
        [e.train_loss for e in whole.history], abs=1e-5
    )


def test_memory_that_runs_out_later_goes_on_from_the_last_epoch(project, monkeypatch):
    prepare(project)
    real, steps = training.Training._step, []

    def step(self, *arguments):
        steps.append(self._accumulation)
        if len(steps) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *arguments)

    monkeypatch.setattr(training.Training, "_step", step)
    reported: list[int] = []
    assert finetuned(advance=lambda n, _: reported.append(n)).details["accumulation"] == 2
    assert steps == [1, 1, 1, 1, 1] + [2] * 6
    assert sum(reported) == 3


@pytest.mark.parametrize(("model", "smallest"), [("tiny", "1 images"), ("net", "2 images")])
def test_too_little_memory_for_the_smallest_part(model, smallest, project, monkeypatch):
    prepare(project)
    narrow_memory(monkeypatch, 0)
    with pytest.raises(ProbelineError, match="smallest part") as caught:
        finetuned(model)
    assert smallest in caught.value.found


def test_other_failures_are_no_lack_of_memory():
    assert launching.is_out_of_memory(MemoryError())
    assert launching.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert launching.is_out_of_memory(Exception("torch.OutOfMemoryError: CUDA out of memory"))
    assert not launching.is_out_of_memory(RuntimeError("shapes do not fit"))


BATCHES = {
    "odd, mixed": ("tiny", {"batch_size": 5, "recipe": "modern"}, ("in pairs", "even")),
    "one, for a BatchNorm": ("net", {"batch_size": 1}, ("statistics of one image", "at least 2")),
}


@pytest.mark.parametrize("what", BATCHES)
def test_batches_that_can_not_be(what, project):
    model, change, words = BATCHES[what]
    prepare(project, small={**SMALL, **change})
    with pytest.raises(ProbelineError) as caught:
        finetuned(model)
    assert caught.value.place.startswith("params.yaml: finetune.runs.small")
    for word in words:
        assert word in str(caught.value)
