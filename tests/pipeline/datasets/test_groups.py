"""Groups (site, camera, patient): a seeded split divides none, and a source's own is checked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import fill_folder

from pipeline.datasets.indexing import build_index
from pipeline.datasets.samples import stratified_split
from pipeline.datasets.settings import Dataset
from pipeline.probes.task import groups_of

IMAGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", None, *"stuvwxyz"])), min_size=2
)
SEEDS = st.integers(0, 2**40)


def distance(classes, split, fraction):
    """How far the classes' shares in val are from the fraction."""
    shares = (split == "val").groupby(classes).mean()
    return float(((shares - fraction) ** 2).sum())


@settings(max_examples=80, deadline=None)
@given(images=IMAGES, fraction=st.floats(0.05, 0.6), seed=SEEDS)
def test_a_split_divides_no_group_and_no_other_group_brings_it_nearer(images, fraction, seed):
    classes, groups = (pd.Series(x, dtype=object) for x in zip(*images, strict=True))
    if groups.isin(["", None]).all():
        groups[0] = "s"
    split = pd.Series(stratified_split(classes, fraction, seed, groups))
    assert split.tolist() == list(stratified_split(classes, fraction, seed, groups))
    named = groups.notna() & (groups != "")
    assert split[named].groupby(groups[named]).nunique().eq(1).all()
    assert set(classes[split == "train"]) == set(classes)
    here = distance(classes, split, fraction)
    units = groups.where(named, pd.Series([f"alone {i}" for i in range(len(groups))]))
    for unit in units[split == "train"].unique():
        moved = split.mask(units == unit, "val")
        if set(classes[moved == "train"]) == set(classes) and (split == "val").any():
            assert distance(classes, moved, fraction) >= here - 1e-9


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, fraction=st.floats(0.1, 0.5))
def test_many_small_groups_come_as_near_as_single_images(seed, fraction):
    rng = np.random.default_rng(seed)
    classes = pd.Series(rng.choice(list("abc"), 600))
    groups = pd.Series([f"patient {i}" for i in rng.integers(0, 200, 600)])
    split = pd.Series(stratified_split(classes, fraction, seed, groups))
    shares = (split == "val").groupby(classes).mean()
    assert (shares - fraction).abs().max() < 0.1


def test_other_seeds_split_groups_otherwise():
    classes, groups = pd.Series(list("ab") * 40), pd.Series([f"g{i // 4}" for i in range(80)])
    assert len({tuple(stratified_split(classes, 0.3, s, groups)) for s in range(5)}) == 5


@pytest.mark.parametrize("groups", [None, pd.Series([None] * 20), pd.Series([""] * 20)])
def test_without_groups_the_split_is_what_it_was(groups):
    classes = pd.Series(["a"] * 12 + ["b"] * 8)
    rng = np.random.default_rng(5)
    expected = np.full(20, "train", dtype=object)
    expected[rng.permutation(np.arange(12))[:2]] = "val"
    expected[rng.permutation(np.arange(12, 20))[:2]] = "val"
    assert stratified_split(classes, 0.2, 5, groups).tolist() == expected.tolist()


def test_few_large_groups_give_a_val_split_nonetheless():
    classes, groups = pd.Series(list("ab") * 10), pd.Series(["s"] * 10 + ["t"] * 10)
    assert set(stratified_split(classes, 0.1, 0, groups)) == {"train", "val"}
    assert set(stratified_split(classes, 0.1, 0, pd.Series(["s"] * 20))) == {"train"}


def manifest(folder, rows, header="path,label,site,split"):
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "images" / "list.csv").write_text("\n".join(lines) + "\n")
    return Dataset(
        source="manifest",
        path="images",
        manifest="list.csv",
        role="in_domain",
        columns={"group": "site"},
        val_fraction=0.4,
    )


def test_a_seeded_index_divides_no_group(project):
    fill_folder(project.folder / "images", {"cat": 12, "dog": 12})
    rows = [
        (f"{c}/{n:03d}.png", c, "" if n == 11 else f"s{n // 2}")
        for c in ("cat", "dog")
        for n in range(12)
    ]
    index = build_index("pets", manifest(project.folder, rows, "path,label,site"))
    train, val = (groups_of(index, split) for split in ("train", "val"))
    assert set(train) & set(val) <= {""}
    assert len(index.split("val")) in range(6, 15)
    assert not any("group" in remark for remark in index.remarks)


def test_groups_in_both_of_the_sources_splits_are_remarked(project):
    rows = [
        (f"{c}/{n:03d}.png", c, f"s{n % 3}", "val" if n == 4 else "train")
        for c in ("cat", "dog")
        for n in range(5)
    ]
    (remark,) = build_index("pets", manifest(project.folder, rows)).remarks
    assert "1 of 3 groups have images in both splits, e.g. s1" in remark
    apart = [(*row[:2], "new" if row[3] == "val" else row[2], row[3]) for row in rows]
    assert build_index("pets", manifest(project.folder, apart)).remarks == ()
