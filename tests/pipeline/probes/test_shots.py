"""Few-shot draws: nested, seeded, honest about small classes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.errors import ProbelineError
from pipeline.probes.shots import Budget, make_draws

BUDGETS = [*(Budget(shots=n) for n in (1, 5, 10, 25)), Budget(share=0.01), Budget(share=0.1)]


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(0, 130), min_size=1, max_size=6).filter(any),
    seed=st.integers(0, 9),
)
def test_draws_are_balanced_nested_and_told(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    draws = make_draws(labels, len(counts), BUDGETS, seed=seed)
    by_name = {(d.budget.name, d.number): d for d in draws}
    assert len(by_name) == len(draws)
    for budget in BUDGETS:
        of_budget = [d for d in draws if d.budget == budget]
        expected = [
            min(n, budget.shots) if budget.shots else (max(1, round(budget.share * n)) if n else 0)
            for n in counts
        ]
        assert [d.number for d in of_budget] == list(range(10 if max(expected) <= 5 else 5))
        for d in of_budget:
            assert (np.diff(d.rows) > 0).all()
            assert np.bincount(labels[d.rows], minlength=len(counts)).tolist() == expected
            assert d.realised.tolist() == expected
            small = [c for c, n in enumerate(counts) if n < (budget.shots or 1)]
            assert list(d.short) == small
    for smaller, larger in (("1_shot", "5_shots"), ("5_shots", "10_shots"),
                            ("10_shots", "25_shots"), ("1_percent", "10_percent")):  # fmt: skip
        for number in range(10):
            if (larger, number) in by_name:
                inner, outer = by_name[smaller, number].rows, by_name[larger, number].rows
                assert set(inner.tolist()) <= set(outer.tolist())


def test_draws_depend_on_seed_number_and_their_own_class_only():
    labels = np.arange(200) % 4
    first, again = (make_draws(labels, 4, BUDGETS, seed=1) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
    other = make_draws(labels, 4, BUDGETS, seed=2)
    assert any((a.rows != b.rows).any() for a, b in zip(first, other, strict=True))
    assert (first[0].rows != first[1].rows).any()
    more = make_draws(np.r_[labels, np.full(50, 4)], 5, BUDGETS, seed=1)
    for a, b in zip(first, more, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows[b.rows < 200])
    # budgets do not disturb each other
    alone = make_draws(labels, 4, [Budget(shots=10)], seed=1)
    np.testing.assert_array_equal(
        alone[2].rows, next(d for d in first if (d.budget.name, d.number) == ("10_shots", 2)).rows
    )


def test_every_image_of_a_class_is_drawn_equally_often():
    draws = make_draws(np.zeros(8, int), 1, [Budget(shots=1)], seed=0, few_draws=4000)
    counts = np.bincount([d.rows[0] for d in draws], minlength=8)
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


def test_names_and_mistakes():
    assert [b.name for b in BUDGETS] == [
        "1_shot", "5_shots", "10_shots", "25_shots", "1_percent", "10_percent",
    ]  # fmt: skip
    assert Budget(share=0.005).name == "0p5_percent"
    with pytest.raises(ValueError, match="shots or a share"):
        Budget()
    for labels in (np.zeros(0, int), np.array([0, 3])):
        with pytest.raises(ProbelineError, match="nothing to draw from"):
            make_draws(labels, 3, BUDGETS, seed=0)


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    more=st.integers(0, 4),
    place=st.integers(0, 200),
)
def test_one_more_image_takes_one_place_of_a_draw_at_most(counts, more, place):
    """By name, wherever it comes in the list; other classes keep their draws."""
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"image {number}" for number in range(len(labels))]
    label = more % len(counts)
    at = min(place, len(labels))
    budget = [Budget(shots=3)]
    before = make_draws(labels, len(counts), budget, seed=1, names=names)
    after = make_draws(
        np.insert(labels, at, label), len(counts), budget, seed=1,
        names=[*names[:at], "one more", *names[at:]],
    )  # fmt: skip
    longer = [*names[:at], "one more", *names[at:]]
    for b, a in zip(before, after, strict=True):
        old, new = {names[r] for r in b.rows}, {longer[r] for r in a.rows}
        assert new - old <= {"one more"}
        assert len(old - new) <= len(new - old)
        assert all(labels[names.index(name)] == label for name in old - new)


def test_the_lowest_hashes_are_drawn():
    """The rule itself: stored results depend on it."""
    names = [str(number) for number in range(50)]
    value = {n: hashlib.sha256(f"draw 2\0{7}\0{n}".encode()).digest() for n in names}
    (draw,) = [
        d
        for d in make_draws(
            np.zeros(50, int), 1, [Budget(shots=4)], seed=7, few_draws=3, names=names
        )
        if d.number == 2
    ]
    assert [names[r] for r in draw.rows] == sorted(sorted(names, key=value.get)[:4], key=int)
