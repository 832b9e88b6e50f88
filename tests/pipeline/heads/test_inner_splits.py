"""What is held out of train: the right share, stratified, whole groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.errors import ProbelineError
from pipeline.heads.inner_splits import held_out_parts, scheme_for
from pipeline.heads.tuning import FOLDS

IMAGES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["", *"stuvwxyz"])), min_size=4, max_size=60
)


@pytest.mark.parametrize(
    ("n", "classes", "scheme"),
    [
        (20_000, 10, "holdout"),
        (2_000, 10, "holdout"),
        (1_999, 10, "folds"),
        (5_000, 600, "folds"),  # 8.3 per class
        (4_999, 1_000, "fixed"),
        (5, 1, "folds"),
    ],
)
def test_the_scheme_follows_the_counts(n, classes, scheme):
    assert scheme_for(np.arange(n) % classes) == scheme


@pytest.mark.parametrize(("n", "fraction"), [(20_000, 0.1), (19_990, 0.2), (2_000, 0.2)])
def test_the_hold_out_is_stratified_and_10_or_20_percent(n, fraction):
    labels = np.random.default_rng(0).permutation(np.arange(n) % 10)
    (mask,) = held_out_parts(labels, "holdout", seed=1).masks
    counts = np.bincount(labels[mask])
    np.testing.assert_allclose(counts, fraction * np.bincount(labels), atol=1)
    assert (mask == held_out_parts(labels, "holdout", seed=1).masks[0]).all()
    assert (mask != held_out_parts(labels, "holdout", seed=2).masks[0]).any()


def test_folds_hold_every_image_out_once_but_the_only_one_of_its_class():
    labels = np.array([0] * 11 + [1] * 7 + [2] * 2 + [3])
    masks = held_out_parts(labels, "folds", seed=0).masks
    assert (np.sum(masks, 0) == (labels != 3)).all()
    assert [int(mask.sum()) for mask in masks] == [4] * 5
    for mask in masks:
        assert set(labels[~mask]) == {0, 1, 2, 3}  # two images of a class never leave together


@settings(max_examples=150, deadline=None)
@given(images=IMAGES, scheme=st.sampled_from(["folds", "holdout"]), seed=st.integers(0, 2**32))
def test_no_group_is_on_both_sides(images, scheme, seed):
    labels, groups = (np.array(column) for column in zip(*images, strict=True))
    try:
        held_out = held_out_parts(labels, scheme, seed, groups)
    except ProbelineError:
        assert all(np.bincount(labels) <= 1) or len(np.unique(labels)) == 1
        return
    masks = np.stack(held_out.masks)
    assert (masks.sum(0) <= 1).all()
    assert masks.any(1).all()
    for mask in masks:
        assert len(np.unique(labels[~mask])) >= min(2, len(np.unique(labels)))
        if held_out.by_group:
            named = groups != ""
            assert not set(groups[mask & named]) & set(groups[~mask & named])
    if held_out.by_group:
        for label in np.unique(labels):
            mine = groups[labels == label]
            if len(set(mine)) == 1 and (mine[0] or len(mine) == 1):
                assert not masks[:, labels == label].any()  # nowhere else to learn it from


@pytest.mark.parametrize("per_class", [2, 3, 8])
def test_group_folds_spread_each_class(per_class):
    """Groups of one class each, as patients of one diagnosis: no fold holds two while one has none.

    So no class with two groups is ever missing from what is fitted.
    """
    groups = np.repeat([f"patient {i}" for i in range(4 * per_class)], 3)
    labels = np.repeat(np.arange(4), 3 * per_class)
    masks = held_out_parts(labels, "folds", 0, groups).masks
    assert len(masks) == FOLDS if 4 * per_class >= FOLDS else 4 * per_class
    for mask in masks:
        assert set(labels[~mask]) == {0, 1, 2, 3}
        held = [len(set(groups[mask & (labels == k)])) for k in range(4)]
        assert max(held) <= -(-per_class // FOLDS)
    assert np.sum(masks, 0).all()


def test_many_small_groups_make_even_folds():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 1500)
    groups = np.array([f"g{i}" for i in rng.integers(0, 300, 1500)])
    held_out = held_out_parts(labels, "folds", 0, groups)
    counts = np.array([np.bincount(labels[mask], minlength=5) for mask in held_out.masks])
    assert held_out.by_group
    np.testing.assert_allclose(counts, np.bincount(labels) / FOLDS * np.ones((5, 1)), rtol=0.15)


@pytest.mark.parametrize("scheme", ["folds", "holdout"])
def test_a_single_group_is_divided_and_that_is_said(scheme):
    labels = np.arange(60) % 3
    held_out = held_out_parts(labels, scheme, 0, np.full(60, "only"))
    plain = held_out_parts(labels, scheme, 0)
    assert not held_out.by_group
    np.testing.assert_array_equal(held_out.masks, plain.masks)


def test_nothing_to_hold_out_is_explained():
    with pytest.raises(ProbelineError, match="no class has two train images"):
        held_out_parts(np.arange(6), "holdout", 0)
