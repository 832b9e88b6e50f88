"""Fused SGD heads against one torch.nn model and one optimizer a head, written separately."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cache.errors import ProbelineError
from pipeline.heads import heads as module
from pipeline.heads.head_stacks import cross_entropy
from pipeline.heads.heads import Head, Recipe, fit_heads
from pipeline.heads.inner_splits import held_out_parts
from pipeline.probes.sgd import Trial, best_trial, fit_sgd, try_heads
from pipeline.study.linear import gradient_variants

SGD = gradient_variants("sgd", (False, True))
GRID = [Head(rate, bn) for bn in (False, True) for rate in (0.01, 0.1, 1.0, 10.0)]


def clouds(seed: int, n: int = 203, d: int = 12, classes: int = 4, dtype=np.float32):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    centres = np.random.default_rng(99).normal(0, 1, (classes, d))
    features = centres[labels] + rng.normal(0, 1, (n, d))
    return (features * np.linspace(0.3, 3, d) + 2).astype(dtype), labels


def separate(head, views, labels, classes, recipe):
    """The study's recipe for one head, in plain PyTorch."""
    d = views[0].shape[1]
    dtype = torch.as_tensor(views[0]).dtype
    sizes = [d, *([recipe.hidden] * 2 if recipe.hidden else []), classes]
    rng = np.random.default_rng(recipe.seed)
    layers = [nn.BatchNorm1d(d)] if head.batch_norm else []
    for a, b in itertools.pairwise(sizes):
        linear = nn.Linear(a, b, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.as_tensor(rng.normal(0, 0.01, (b, a))))
            linear.bias.zero_()
        layers += [linear, nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    y = torch.as_tensor(labels)
    for epoch in range(recipe.epochs):
        if epoch < 5:
            factor = (epoch + 1) / 6
        else:
            factor = (1 + math.cos(math.pi * (epoch - 5) / (recipe.epochs - 5))) / 2
        optimizer.param_groups[0]["lr"] = head.learning_rate * recipe.batch / 256 * factor
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(y))
        x = torch.as_tensor(views[epoch % len(views)])
        total = 0.0
        for rows in torch.as_tensor(order).split(recipe.batch):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            total += float(loss.detach()) * len(rows)
    return model.eval(), total / len(y)


@pytest.mark.parametrize("hidden", [None, 7])
@pytest.mark.parametrize(
    ("dtype", "tolerance", "heads"),
    [(np.float64, 1e-9, GRID), (np.float32, 1e-6, [h for h in GRID if h.learning_rate <= 1])],
)
def test_fused_heads_equal_separate_ones(hidden, dtype, tolerance, heads):
    """At a rate of 10 the float32 run is chaotic: any order of summation changes it."""
    x, y = clouds(0, dtype=dtype)
    queries, _ = clouds(1, n=50, dtype=dtype)
    recipe = Recipe(epochs=12, batch=64, hidden=hidden, seed=3)
    fitted = fit_heads(heads, [x], y, 4, recipe)
    for place, head in enumerate(heads):
        model, loss = separate(head, [x], y, 4, recipe)
        with torch.no_grad():
            expected = model(torch.as_tensor(queries)).double().softmax(1).numpy()
        found = fitted.probabilities(queries, place)
        assert np.abs(found - expected).max() <= tolerance, head
        assert fitted.losses[place] == pytest.approx(loss, rel=tolerance, abs=tolerance)
    assert fitted.diverged == [None] * len(heads)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(2, 40),
    d=st.integers(1, 5),
    classes=st.integers(1, 4),
    batch=st.integers(2, 17),
    views=st.integers(1, 3),
    constant=st.booleans(),
)
def test_odd_sizes(n, d, classes, batch, views, constant):
    rng = np.random.default_rng(n * 31 + d)
    bank = [rng.normal(0, 1, (n, d)) for _ in range(views)]
    if constant:
        for view in bank:
            view[:, 0] = 3.0
    labels = rng.integers(0, classes, n)
    recipe = Recipe(epochs=6, batch=batch)
    pair = [Head(0.5, True), Head(0.1, False), Head(0.02, True)]
    fitted = fit_heads(pair, bank, labels, classes, recipe)
    if n > batch and n % batch == 1:
        return  # PyTorch refuses a BatchNorm over one row; see the test of that
    for place, head in enumerate(pair):
        model, _ = separate(head, bank, labels, classes, recipe)
        with torch.no_grad():
            expected = model(torch.as_tensor(bank[0])).softmax(1).numpy()
        np.testing.assert_allclose(fitted.probabilities(bank[0], place), expected, atol=1e-9)


def test_a_single_last_row_joins_the_batch_before_it():
    assert module._bounds(9, 4) == [0, 4, 9]
    assert module._bounds(8, 4) == [0, 4, 8]
    assert module._bounds(10, 4) == [0, 4, 8, 10]
    assert module._bounds(1, 4) == [0, 1]
    x, y = clouds(2, n=33)
    fitted = fit_heads([Head(0.1, True)], [x], y, 4, Recipe(epochs=7, batch=32))
    assert fitted.diverged == [None]
    assert np.isfinite(fitted.probabilities(x, 0)).all()


def test_a_head_that_diverges_leaves_the_others_as_they_were():
    x, y = clouds(3)
    tame = [Head(0.1, False), Head(0.1, True)]
    recipe = Recipe(epochs=8, batch=64)
    alone = fit_heads(tame, [x], y, 4, recipe)
    wild = fit_heads([Head(1e38, False), tame[0], Head(1e38, True), tame[1]], [x], y, 4, recipe)
    assert [e is None for e in wild.diverged] == [False, True, False, True]
    accuracies = wild.accuracies(x, y)
    assert np.isnan(accuracies[[0, 2]]).all()
    np.testing.assert_array_equal(accuracies[[1, 3]], alone.accuracies(x, y))
    for place in (0, 1):
        np.testing.assert_allclose(
            wild.probabilities(x, 2 * place + 1), alone.probabilities(x, place), atol=1e-6
        )


def test_gradients_are_clipped_head_by_head():
    x, y = clouds(4)
    large = x * 100  # gradients far above the norm of 0.5
    recipe = Recipe(epochs=1, batch=len(x), warmup=0)
    pair = fit_heads([Head(0.1, False), Head(0.1, False)], [large], y, 4, recipe)
    stack = pair._stacks[0]
    start = np.random.default_rng(0).normal(0, 0.01, (4, x.shape[1]))
    steps = [stack.weights[0][0].detach().numpy() - start, stack.biases[0][0].detach().numpy()]
    moved = np.concatenate([step.ravel() for step in steps])
    assert np.linalg.norm(moved) == pytest.approx(0.5 * 0.1 * len(x) / 256, rel=1e-4)


def test_the_schedule_is_the_studys():
    recipe = Recipe()
    real = [0.1 * recipe.rate(epoch) for epoch in range(100)]
    np.testing.assert_allclose(real[:6], 0.4 * np.arange(1, 7) / 6)
    assert real[5] == max(real) == pytest.approx(0.4)
    assert real[99] / 0.4 == pytest.approx(0.00027, abs=5e-6)
    assert (np.diff(real[5:]) < 0).all()


@settings(max_examples=40, deadline=None)
@given(scale=st.sampled_from([1e-3, 1.0, 50.0]), seed=st.integers(0, 50))
def test_the_written_derivative_is_autograds(scale, seed):
    rng = np.random.default_rng(seed)
    scores = torch.tensor(rng.normal(0, scale, (5, 3, 4)), requires_grad=True)
    labels = torch.tensor(rng.integers(0, 4, 5))
    losses, slopes = cross_entropy(scores.detach(), labels)
    expected = sum(nn.functional.cross_entropy(scores[:, h], labels) for h in range(3))
    torch.testing.assert_close(losses.sum(), expected.detach())
    (gradient,) = torch.autograd.grad(expected, [scores])
    torch.testing.assert_close(slopes, gradient, atol=1e-12, rtol=1e-9)


def test_the_seed_fixes_all_and_rows_are_a_subset():
    x, y = clouds(5)
    recipe = Recipe(epochs=3, batch=32, seed=7)
    rows = np.arange(0, len(x), 2)
    first = fit_heads(GRID[:2], [x], y, 4, recipe, rows=rows)
    poisoned = x.copy()
    poisoned[1::2] = np.nan
    second = fit_heads(GRID[:2], [poisoned], y, 4, recipe, rows=rows)
    np.testing.assert_array_equal(first.probabilities(x, 0), second.probabilities(x, 0))
    other = fit_heads(GRID[:2], [x], y, 4, Recipe(epochs=3, batch=32, seed=8), rows=rows)
    assert (first.probabilities(x, 0) != other.probabilities(x, 0)).any()


def test_float16_features_are_computed_in_float32():
    x, y = clouds(6)
    half = x.astype(np.float16)
    a = fit_heads(GRID[:1], [half], y, 4, Recipe(epochs=3, batch=50))
    b = fit_heads(GRID[:1], [half.astype(np.float32)], y, 4, Recipe(epochs=3, batch=50))
    np.testing.assert_array_equal(a.probabilities(half, 0), b.probabilities(x * 0 + half, 0))


def test_the_hold_out_chooses():
    """No test image and no test label is an argument of the choice."""
    x, y = clouds(7)
    val, _ = clouds(8, n=61)
    recipe, mask = Recipe(epochs=6, batch=64), held_out_parts(y, "holdout", 0).masks[0]
    heads = fit_sgd(
        SGD, [x], x, y, 4, rates=[0.01, 0.1, 1.0], recipe=recipe, held_out=mask,
        device="cpu",
    )  # fmt: skip
    assert [h.variant for h in heads] == SGD
    tops = [t["holdout_top1"] for t in heads[2].details["trials"] if not t["batch_norm"]]
    assert heads[2].details["holdout_top1"] == max(tops)
    assert heads[0].details["learning_rate"] == 0.1
    refit = fit_heads([Head(0.1, False)], [x], y, 4, recipe)
    np.testing.assert_allclose(refit.log_probabilities(val, 0), heads[0].scores(val), atol=2e-6)


def test_the_held_out_rows_are_not_trained_on():
    x, y = clouds(9)
    mask = held_out_parts(y, "holdout", 0).masks[0]
    seen = []
    original = module.fit_heads
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "pipeline.probes.sgd.fit_heads",
            lambda *a, rows, **k: seen.append(rows) or original(*a, rows=rows, **k),
        )
        recipe = Recipe(epochs=6, batch=64)
        trials = try_heads([x], x, y, 4, [Head(0.1, False)], recipe, mask, "cpu")
    (rows,) = seen
    counts = np.bincount(y)
    np.testing.assert_array_equal(np.bincount(y[rows]), counts - np.round(counts * 0.2))
    held_out = np.setdiff1d(np.arange(len(y)), rows)
    model, _ = separate(Head(0.1, False), [x[rows]], y[rows], 4, Recipe(epochs=6, batch=64))
    with torch.no_grad():
        predicted = model(torch.as_tensor(x[held_out])).argmax(1).numpy()
    assert trials[0].holdout_top1 == np.mean(predicted == y[held_out])


def test_ties_take_the_smallest_rate_and_diverged_heads_never_win():
    trials = [
        Trial(1.0, False, 0.8, 0.1, None),
        Trial(0.1, False, 0.8, 0.2, None),
        Trial(10.0, False, None, None, 3),
        Trial(0.1, True, 0.9, 0.2, None),
    ]
    assert best_trial(trials, batch_norm=False) is trials[1]
    with pytest.raises(ProbelineError, match="every learning rate diverged"):
        best_trial(trials[2:3], batch_norm=False)


def test_diverged_presets_are_named_and_left_out():
    x, y = clouds(10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.probes.sgd.PRESET_RATE", 1e38)
        heads = fit_sgd(
            SGD, [x], x, y, 4,
            rates=[0.1], recipe=Recipe(epochs=6, batch=64), held_out=np.arange(len(y)) % 5 == 0,
            device="cpu",
        )  # fmt: skip
    assert [h.variant.name for h in heads] == ["sgd_cached_tuned", "sgd_cached_bn_tuned"]
    assert heads[0].details["diverged_variants"] == ["sgd_cached", "sgd_cached_bn"]


def test_mistakes_are_explained():
    x, y = clouds(11, n=8)
    cases = [
        ({"views": []}, "nothing to train"),
        ({"views": [x, x[:3]]}, "not of the same images"),
        ({"rows": np.array([0])}, "no spread"),
        ({"labels": y + 1}, "outside the classes"),
    ]
    for changed, message in cases:
        arguments = {"views": [x], "labels": y, **changed}
        with pytest.raises(ProbelineError, match=message):
            fit_heads([Head(0.1, True)], n_classes=4, recipe=Recipe(), **arguments)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_agrees_with_the_cpu():
    x, y = clouds(12)
    recipe = Recipe(epochs=12, batch=64)
    cpu, gpu = (fit_heads(GRID, [x], y, 4, recipe, device=d) for d in ("cpu", "cuda"))
    for place in range(len(GRID)):
        np.testing.assert_allclose(
            gpu.probabilities(x, place), cpu.probabilities(x, place), atol=1e-5
        )
