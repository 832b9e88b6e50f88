"""The paper's recipes against the formulas of its code, on the sizes of its 14 data sets.

Computed, not trained: what a run is given, how an epoch is cut, and at which rate each step is
taken. The sizes are those of the paper's loader; its faults that docs/finetuning.md lists (heads of
1,000 outputs for 345 classes, no image at all of a class) are not in the formulas.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_cases import SMALL, finetuned, prepare
from hypothesis import given as examples
from hypothesis import strategies as st
from test_finetune_data import index_of

from cache.fingerprint import fingerprint
from pipeline.finetuning import training
from pipeline.finetuning.given import given_to
from pipeline.finetuning.recipes import recipe_of, run_key
from pipeline.finetuning.schedule import factor
from pipeline.finetuning.sharing import counted, parts_of, shared
from pipeline.study.finetune import Run

SIZES = {  # train images, classes
    "imagenet": (1_281_166, 1000), "inaturalist": (500_000, 1103),
    "inaturalist_genus": (55_150, 1103), "inaturalist_species": (55_150, 1103),
    "cub": (5_994, 200), "pascal": (1_464, 20), "caltech256": (24_485, 257),
    "cifar100": (50_000, 100), "clipart": (33_525, 345), "infograph": (36_023, 345),
    "painting": (50_416, 345), "quickdraw": (120_750, 345), "real": (120_906, 345),
    "sketch": (48_212, 345),
}  # fmt: skip

RUNS = [  # recipe, fraction, epochs, warm-up, backbone's rate, head's
    ("paper", None, 100, 5, 0.1, 0.1),
    ("paper_byol2", 0.1, 30, 0, 0.1, 0.1), ("paper_byol2", 0.01, 30, 0, 0.1, 0.1),
    ("paper_byol1", 0.1, 30, 0, 0.01, 0.01), ("paper_byol1", 0.01, 30, 0, 0.01, 0.01),
    ("paper_swav", 0.1, 20, 0, 0.01, 0.2), ("paper_swav", 0.01, 20, 0, 0.02, 5.0),
    ("paper_barlowtwins", 0.1, 20, 0, 0.005, 0.5),
]  # fmt: skip


def official_rates(images: int, epochs: int, warmup: int, rate: float) -> np.ndarray:
    """Of every step: batches of 256 from a loader that drops nothing, one rate for each epoch."""
    loader = torch.utils.data.DataLoader(range(images), batch_size=256)
    by_epoch = [
        (e + 1) / (warmup + 1)
        if e < warmup
        else math.cos(math.pi / 2 * (e - warmup) / (epochs - warmup)) ** 2
        for e in range(epochs)
    ]
    return np.repeat(np.array(by_epoch) * rate * 256 / 256, len(loader))


@pytest.mark.parametrize("dataset", SIZES)
@pytest.mark.parametrize(("name", "fraction", "epochs", "warmup", "rate", "head"), RUNS)
def test_images_batches_steps_and_rates(name, fraction, epochs, warmup, rate, head, dataset):
    images, classes = SIZES[dataset]
    run = Run(recipe=name, fraction=fraction)
    given = images
    if fraction is not None:
        given = max(1, int(fraction * images / classes)) * classes
        assert run.budget(images, classes).shots == given // classes
    recipe = recipe_of(run, share=given / images, transformer=False)
    batches = recipe.batches(given)
    assert sum(batches) == given
    assert len(batches) == math.ceil(given / 256)
    assert set(batches[:-1]) <= {256}
    assert batches[-1] == (given % 256 or 256)
    for base, expected in ((recipe.learning_rate, rate), (recipe.head_learning_rate, head)):
        taken = [
            recipe.scaled(base) * factor(e, recipe.epochs, recipe.warmup_epochs)
            for e in range(recipe.epochs)
            for _ in batches
        ]
        np.testing.assert_allclose(taken, official_rates(given, epochs, warmup, expected), 1e-12)
    assert run.keeps == "last"


STEPS = {("cub", None): 2_400, ("pascal", None): 600, ("cifar100", 0.01): 60}
"""As counted in the paper's code."""


@pytest.mark.parametrize(("dataset", "fraction"), STEPS)
def test_steps_that_were_counted(dataset, fraction):
    images, classes = SIZES[dataset]
    run = Run(recipe="paper_byol2" if fraction else "paper", fraction=fraction)
    recipe = recipe_of(run, share=fraction or 1, transformer=True)
    given = run.budget(images, classes).shots * classes if fraction else images
    assert recipe.epochs * len(recipe.batches(given)) == STEPS[dataset, fraction]


@pytest.mark.parametrize("fraction", [0.01, 0.1])
@pytest.mark.parametrize("dataset", ["cub", "pascal"])
def test_what_ended_in_an_error_is_given_as_many_images_of_each_class(dataset, fraction):
    images, classes = SIZES[dataset]
    counts = [images // classes + (c < images % classes) for c in range(classes)]
    run = Run(recipe="paper_byol2", fraction=fraction)
    found = given_to(index_of(counts), run, draw_seed=3, seed=0, place="here")
    each = max(1, int(fraction * images / classes))
    labels = index_of(counts).labels("train")[found.learned]
    assert np.bincount(labels).tolist() == [each] * classes
    assert not len(found.held_out)
    assert found.notes[-1] == "the last epoch is taken"
    less = "the fraction is less than one image of each class; each was given 1"
    assert (less in found.notes) == (fraction * images < classes)


def test_a_class_that_is_too_small_gives_all_it_has():
    run = Run(recipe="paper_byol2", fraction=0.5)
    found = given_to(index_of([2, 60]), run, draw_seed=3, seed=0, place="here")
    assert len(found.learned) == 2 + 15
    assert "1 class has fewer images than asked; all were taken" in found.notes


FORMER = {
    "sgd": "9c75b53bf7bed6d9ac573bcd2398fce69f4b4f5110dbcfb98860f387180adebe",
    "sgd_byol2": "75bc24b442b9d8d94a60a85bb12894b9af896db38e531f50163df4cfb519d993",
    "sgd_swav": "a17b23ab2d9e645e2f668b59ee99be57125564ed060f9f6554d635befc0d6965",
    "sgd_byol1": "36e14cb9c1d5c9a39447c90575e9591dd9cf65a110c9593795d4778ce5166bea",
    "sgd_barlowtwins": "f2bf440ed56be1ebb7ce64f79a1bc9cc4692e4f4b9692fb2d322d688a2189e96",
    "modern": "7746a804add517f1b06cdd5e0274d3f97e2851ca3fbf167c08b6e0447b085473",
}
"""Keys of runs while the first five were called ``study…``: what they trained is found again."""


@pytest.mark.parametrize("name", FORMER)
def test_a_training_that_did_not_change_keeps_its_key(name):
    assert fingerprint(run_key(Run(recipe=name))) == FORMER[name]
    assert run_key(Run(recipe=name)) == run_key(Run(recipe=name, selection="holdout"))


def test_the_papers_training_is_another_one_than_ours():
    runs = [Run(recipe=name, **more)
            for name in ("sgd", "paper") for more in ({}, {"selection": "last"})]  # fmt: skip
    keys = [fingerprint(run_key(run)) for run in runs]
    assert keys[2] == keys[3]  # it is the recipe's own
    assert len(set(keys)) == 3
    for selection in ("holdout", "last"):
        ours, theirs = (
            run_key(Run(recipe=f"{name}_byol2", fraction=0.1, selection=selection))
            for name in ("sgd", "paper")
        )
        assert ours != theirs


@pytest.mark.parametrize("name", ["sgd", "modern"])
@examples(st.integers(1, 600), st.sampled_from([2, 8, 64, 256]))
def test_other_recipes_leave_a_rest_out_but_never_all(name, images, size):
    recipe = recipe_of(Run(recipe=name, batch_size=size), share=1, transformer=False)
    if images >= size:
        assert recipe.batches(images) == [size] * (images // size)
    elif name == "modern":  # in pairs
        assert recipe.batches(images) == [images - images % 2] * (images > 1)
    else:
        assert recipe.batches(images) == [images]


@examples(st.integers(1, 600), st.sampled_from([1, 2, 8, 64, 256]))
def test_a_single_last_image_may_join_the_batch_before(images, size):
    recipe = recipe_of(Run(recipe="paper", batch_size=size), share=1, transformer=False)
    batches, joined = (recipe.batches(images, join_single=join) for join in (False, True))
    assert sum(batches) == sum(joined) == images
    assert len(batches) == math.ceil(images / size)
    if size > 1 < images:
        assert min(joined) > 1
    if images % size != 1:
        assert joined == batches


@examples(st.integers(2, 65), st.sampled_from([1, 2, 4]), st.booleans())
def test_every_image_of_a_batch_is_learned_from_in_one_process(size, world, mixed):
    change = {"mixup": 0.8} if mixed else {}
    size = size // 2 * 2 if mixed else size
    recipe = recipe_of(Run(recipe="paper", batch_size=64, **change), share=1, transformer=False)
    batch = np.arange(100, 100 + size)
    parts = [shared(batch, recipe, rank, world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    learned = [part[: counted(size, rank, world)] for rank, part in enumerate(parts)]
    assert sorted(np.concatenate(learned).tolist()) == batch.tolist()
    assert len(parts[0]) > 1
    assert not mixed or len(parts[0]) % 2 == 0


@examples(st.integers(1, 64), st.sampled_from([2, 8, 64]), st.sampled_from([1, 2, 4, 8, 64]))
def test_parts_of_a_smaller_batch_are_no_larger(images, share, accumulation):
    accumulation = min(accumulation, share)
    images = min(images, share)
    parts = np.array_split(np.arange(images), parts_of(images, share, accumulation))
    largest = math.ceil(share / accumulation)
    assert min(map(len, parts)) >= 1
    assert max(map(len, parts)) <= largest + (largest > 1)
    if images > 1 and largest > 1:
        assert images == share or min(map(len, parts)) > 1


@pytest.mark.parametrize(
    ("recipe", "size", "expected"),
    [
        ("paper", 12, [12, 12, 8]), ("paper", 31, [31, 1]), ("paper", 256, [32]),
        ("sgd", 12, [12, 12]), ("sgd", 256, [26]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", ["tiny", "net"])
def test_a_step_takes_the_mean_over_its_own_images(
    model, recipe, size, expected, project, monkeypatch
):
    """Of 32 train images; 26 where a hold-out takes six."""
    run = {**SMALL, "recipe": recipe, "batch_size": size, "epochs": 2, "label_smoothing": 0.0}
    prepare(project, small=run)
    real, seen = training.Training._step, []

    def step(self, count, pixels, labels, epoch, number):
        images = self._raw.normalised(torch.from_numpy(pixels))
        scores = self._model(images)  # a BatchNorm's running statistics change; not its output
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels)).item()
        assert count == len(labels) == len(pixels)
        assert real(self, count, pixels, labels, epoch, number) == pytest.approx(loss, rel=1e-5)
        rate = self._plain.param_groups[-1]["lr"]
        assert rate == pytest.approx(0.1 * size / 256 * (epoch + 1) / 2)
        seen.append(count)
        return loss

    monkeypatch.setattr(training.Training, "_step", step)
    if size == 31 and model == "net":  # with BatchNorms, to the last of which an image is one value
        expected = [32]
    found = finetuned(model)
    assert seen == expected * 2
    assert found.cost["images_seen"] == 2 * sum(expected)
    assert found.details["steps"] == 2 * len(expected)
    assert found.details["images_held_out"] == (6 if recipe == "sgd" else 0)


def test_a_smaller_last_batch_in_parts_gives_the_same_weights(project, monkeypatch):
    """Too little memory for a whole batch: parts of 6 and of 4, no BatchNorm."""
    from test_finetune_training import narrow_memory

    prepare(project, small={**SMALL, "recipe": "paper", "batch_size": 12, "epochs": 2})
    whole = finetuned(kept=Path("whole"))
    seen = narrow_memory(monkeypatch, 6)
    small = finetuned()
    assert seen == [6, 6, 6, 6, 4, 4] * 2
    assert np.abs(whole.outcome.log_probability - small.outcome.log_probability).max() < 1e-5
