"""Train, val and limits follow from each image and the seed: what is added moves nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import draw, fill_folder

from pipeline.datasets.index import index_rows, read_index, write_index
from pipeline.datasets.samples import stratified_split
from pipeline.datasets.settings import Dataset
from pipeline.datasets.splits import KEPT, RULE, hashes, with_splits


def table(rows) -> pd.DataFrame:
    """Of (class, group or None, what the image is)."""
    return pd.DataFrame(
        {
            "path": [f"{number:04d}" for number in range(len(rows))],
            "class": [row[0] for row in rows],
            "group": pd.Series([row[1] for row in rows], dtype=object),
            "sha256": [hashlib.sha256(str(row[2]).encode()).hexdigest() for row in rows],
            "split": pd.Series([None] * len(rows), dtype=object),
        }
    )


def split(rows, fraction=0.3, seed=0, **options) -> list[str]:
    dataset = Dataset(source="folder", path="x", role="in_domain", val_fraction=fraction, seed=seed)
    return with_splits(table(rows), dataset, **options).samples["split"].tolist()


images = st.tuples(
    st.sampled_from("abc"), st.none() | st.integers(0, 5).map("g{}".format), st.integers(0, 60)
)
lists = st.lists(images, min_size=1, max_size=50)
fractions = st.floats(0.02, 0.98)


@given(rows=lists, fraction=fractions, seed=st.integers(0, 2**40))
def test_groups_and_equal_bytes_stay_together_and_every_class_is_in_train(rows, fraction, seed):
    found = split(rows, fraction, seed)
    assert {row[0] for row, s in zip(rows, found, strict=True) if s == "train"} == {
        row[0] for row in rows
    }
    for column in (1, 2):
        places: dict = {}
        for row, s in zip(rows, found, strict=True):
            if row[column] is not None:
                places.setdefault(row[column], set()).add(s)
        assert all(len(place) == 1 for place in places.values())


@given(rows=lists, fraction=fractions, seed=st.integers(0, 99), order=st.randoms())
def test_the_order_of_the_list_does_not_matter(rows, fraction, seed, order):
    numbers = list(range(len(rows)))
    order.shuffle(numbers)
    found = split(rows, fraction, seed)
    assert split([rows[n] for n in numbers], fraction, seed) == [found[n] for n in numbers]


alone = st.tuples(st.sampled_from("abcd"), st.none(), st.integers(0, 10**9))


@given(
    rows=st.lists(alone, min_size=4, max_size=80, unique_by=lambda row: row[2]),
    one=alone,
    fraction=fractions,
    seed=st.integers(0, 99),
)
def test_one_more_image_moves_none_or_one_of_its_class(rows, one, fraction, seed):
    """One, where its class had a val (or train) image only because it needs one."""
    before, after = split(rows, fraction, seed), split([*rows, one], fraction, seed)
    moved = [row for row, b, a in zip(rows, before, after, strict=False) if b != a]
    assert len(moved) <= 1
    assert all(row[0] == one[0] for row in moved)


@given(
    rows=st.lists(alone, min_size=4, max_size=80, unique_by=lambda row: row[2]),
    one=alone,
    limit=st.integers(1, 9),
)
def test_one_more_image_takes_one_place_of_a_limit_at_most(rows, one, limit):
    dataset = Dataset(source="folder", path="x", role="in_domain", limit_per_class=limit)

    def kept(rows):
        samples = table(rows).assign(split="train")
        return set(with_splits(samples, dataset).samples["sha256"])

    before, after = kept(rows), kept([*rows, one])
    assert len(before - after) <= 1
    assert len(after - before) <= 1


def test_counts_are_near_the_fraction_and_seeds_differ():
    rows = [("ab"[n % 2], None, n) for n in range(4000)]
    found = [split(rows, 0.2, seed) for seed in range(3)]
    for each in found:
        assert each.count("val") == pytest.approx(800, abs=5 * np.sqrt(4000 * 0.2 * 0.8))
    assert len({tuple(each) for each in found}) == 3


def test_hashes_are_even_and_are_what_is_written_down():
    """The rule itself: stored splits depend on it."""
    found = hashes([str(n) for n in range(20_000)], 3, "split")
    assert np.histogram(found, 10, (0, 1))[0] == pytest.approx(np.full(10, 2000), abs=250)
    digest = hashlib.sha256(b"split\x003\x0017").digest()
    assert found[17] == pytest.approx(int.from_bytes(digest[:8], "big") / 2**64, abs=1e-15)
    assert RULE == "digest-1"


def test_a_sources_own_split_is_never_touched():
    rows = [("ab"[n % 2], None, n) for n in range(40)]
    dataset = Dataset(source="folder", path="x", role="in_domain", val_fraction=0.9)
    own = ["train"] * 38 + ["val"] * 2
    assert with_splits(table(rows).assign(split=own), dataset).samples["split"].tolist() == own


# --- an index of a former version ---


@pytest.fixture
def former(project):
    """Its images as the former rule split them, and its index as that version wrote it."""
    fill_folder(project.folder / "images", {"cat": 20, "dog": 20, "emu": 20})
    project.run("index", "pets").succeeded()
    index = read_index("pets")
    rows = index.table
    rows["split"] = stratified_split(rows["class"], 0.2, 0)
    write_index(replace(index, rows=index_rows(rows), splitting={}, seeds="row"))
    return project


def splits() -> dict[str, str]:
    rows = read_index("pets").table
    return dict(zip(rows["sha256"], rows["split"], strict=True))


def test_a_former_split_stays_until_it_is_split_anew(former):
    before = splits()
    former.run("index", "pets").succeeded("stay in its split", "--resplit")
    assert splits() == before
    assert read_index("pets").splitting["rule"] == KEPT
    assert read_index("pets").seeds == "row"
    for number in range(8):
        draw(7000 + number).save(f"images/dog/{700 + number}.png")
    (former.folder / "images/cat").rename(former.folder / "images/lynx")
    former.run("index", "pets").succeeded("stay in its split")
    after = splits()
    assert len(after) == len(before) + 8
    assert {digest: after[digest] for digest in before} == before
    assert read_index("pets").seeds == "digest"
    former.run("index", "pets", "--resplit").succeeded()
    anew = splits()
    assert anew != after
    assert read_index("pets").splitting["rule"] == RULE
    former.run("index", "pets").succeeded()
    assert splits() == anew


@pytest.mark.parametrize("setting", [{"seed": 5}, {"val_fraction": 0.4}])
@pytest.mark.parametrize("once", [False, True])
def test_another_setting_is_not_ignored_for_a_former_split(former, setting, once):
    before = splits()
    if once:
        former.run("index", "pets").succeeded("stay in its split")
    former.params["datasets"]["pets"] |= setting
    former.write()
    said = former.run("index", "pets").succeeded()
    assert "stay in its split" not in said
    assert splits() != before


@pytest.mark.parametrize("limit", [3, 6])  # of 16 train and 4 val images of each class
def test_a_former_draw_stays_within_its_limit(former, limit):
    index = read_index("pets")
    rows = index.table
    drawn = rows.groupby(["split", "class"]).tail(limit)
    write_index(replace(index, rows=index_rows(drawn)))
    before = splits()
    former.params["datasets"]["pets"]["limit_per_class"] = limit
    former.write()
    former.run("index", "pets").succeeded("stay in its split")
    assert splits() == before
    in_train = drawn[drawn["split"] == "train"]
    (former.folder / "images" / in_train["path"].iloc[0]).unlink()
    former.run("index", "pets").succeeded()
    after = splits()
    assert len(before.keys() - after.keys()) == 1
    assert len(after.keys() - before.keys()) == 1


def test_the_split_of_a_class_whose_train_images_are_all_gone_is_mended(former):
    rows = read_index("pets").table
    for path in rows[(rows["class"] == "cat") & (rows["split"] == "train")]["path"]:
        (former.folder / "images" / path).unlink()
    former.run("index", "pets").succeeded()
    left = read_index("pets").table
    assert set(left[left["class"] == "cat"]["split"]) == {"train", "val"}
