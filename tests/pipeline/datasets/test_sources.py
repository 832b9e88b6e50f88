"""Data sets from folders: splits, draws, and what can't be a data set."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import fill_folder

from cache.errors import ProbelineError
from pipeline.datasets.reading import read_images
from pipeline.datasets.samples import stratified_split
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root, list_source
from pipeline.datasets.splits import with_splits


def samples_of(path: Path, **entry) -> pd.DataFrame:
    dataset = Dataset(**{"source": "folder", "path": str(path), "role": "in_domain", **entry})
    root = dataset_root("pets", dataset)
    samples = list_source("pets", dataset, root).samples
    samples["sha256"] = [facts.sha256 for facts in read_images("pets", samples, root)]
    return with_splits(samples, dataset).samples.drop(columns="sha256")


def refused(path: Path, **entry) -> str:
    with pytest.raises(ProbelineError) as caught:
        samples_of(path, **entry)
    assert caught.value.remedy
    return str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_a_stratified_split_is_seeded_and_has_every_class_in_train(counts, fraction, seed):
    classes = pd.Series([f"c{c}" for c, n in enumerate(counts) for _ in range(n)])
    classes = classes.sample(frac=1, random_state=0).reset_index(drop=True)
    split = stratified_split(classes, fraction, seed)
    assert (split == stratified_split(classes, fraction, seed)).all()
    assert set(split) <= {"train", "val"}
    for name, total in classes.value_counts().items():
        held_out = int(((classes == name) & (split == "val")).sum())
        assert held_out < total
        assert held_out == min(max(round(fraction * total), 1), total - 1)


def test_other_seeds_split_otherwise():
    classes = pd.Series(["a", "b"] * 30)
    splits = {tuple(stratified_split(classes, 0.3, seed)) for seed in range(5)}
    assert len(splits) == 5


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_limit_keeps_so_many_of_each_class_in_each_split(tmp_path, limit):
    for split, counts in {"train": {"a": 6, "b": 2}, "val": {"a": 4, "b": 5}}.items():
        fill_folder(tmp_path / split, counts)
    full = samples_of(tmp_path)
    kept = samples_of(tmp_path, limit_per_class=limit)
    sizes = kept.groupby(["split", "class"]).size()
    expected = full.groupby(["split", "class"]).size().clip(upper=limit)
    pd.testing.assert_series_equal(sizes, expected)
    assert set(kept["path"]) <= set(full["path"])
    assert kept["path"].is_monotonic_increasing
    pd.testing.assert_frame_equal(kept, samples_of(tmp_path, limit_per_class=limit))


def test_a_limit_draws_by_its_seed(tmp_path):
    fill_folder(tmp_path, {"a": 30, "b": 30})
    draws = {tuple(samples_of(tmp_path, limit_per_class=3, seed=s)["path"]) for s in range(4)}
    assert len(draws) == 4


def test_class_folders_at_the_top_are_split_by_the_seed(tmp_path):
    fill_folder(tmp_path, {"cat": 10, "dog": 5})
    samples = samples_of(tmp_path, val_fraction=0.2)
    assert samples.groupby("class")["split"].nunique().to_dict() == {"cat": 2, "dog": 2}
    splits = {tuple(samples_of(tmp_path, val_fraction=0.2, seed=s)["split"]) for s in range(4)}
    assert len(splits) > 1
    assert not samples["path"].duplicated().any()


def test_split_folders_are_believed(tmp_path):
    fill_folder(tmp_path / "training", {"cat": 3})
    fill_folder(tmp_path / "validation", {"cat": 2})
    samples = samples_of(tmp_path)
    assert samples["split"].tolist() == ["train"] * 3 + ["val"] * 2
    assert set(samples["class"]) == {"cat"}


def test_own_words_for_splits(tmp_path):
    fill_folder(tmp_path / "fit", {"cat": 3})
    fill_folder(tmp_path / "test", {"cat": 2})
    words = {"train": ["fit"], "val": ["test"]}
    assert samples_of(tmp_path, splits=words)["split"].tolist() == ["train"] * 3 + ["val"] * 2


def test_split_folders_mixed_with_others_do_not_become_classes(tmp_path):
    for folder in ("train", "val", "extra"):
        fill_folder(tmp_path / folder, {"cat": 2, "dog": 2})
    message = refused(tmp_path)
    assert "mixed" in message
    assert "extra, train, val" in message


def test_train_alone_does_not_become_a_class(tmp_path):
    fill_folder(tmp_path / "train", {"cat": 2, "dog": 2})
    assert "one split only" in refused(tmp_path)
    assert len(samples_of(tmp_path / "train")) == 4


def test_images_outside_class_folders_are_named(tmp_path):
    fill_folder(tmp_path, {"cat": 2, "dog": 2})
    shutil.copy(tmp_path / "cat" / "000.png", tmp_path / "loose.png")
    assert "loose.png" in refused(tmp_path)


def test_the_folder_around_the_classes_is_not_taken_for_a_class(tmp_path):
    around = tmp_path / "pets" / "all"
    fill_folder(around, {"cat": 3, "dog": 3})
    message = refused(tmp_path / "pets")
    assert "all, with cat, dog" in message
    assert f'path: "{around}"' in message
    # One class with folders of its own beside another one is no such thing.
    fill_folder(tmp_path / "pets", {"fish": 3})
    assert "below the class folders" in refused(tmp_path / "pets")
    samples = samples_of(tmp_path / "pets", class_folder="first")
    assert set(samples["class"]) == {"all", "fish"}


def test_hidden_files_and_other_files_are_left_out(tmp_path):
    fill_folder(tmp_path, {"cat": 3, "dog": 3, ".thumbnails": 2})
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._000.png").write_bytes(b"what a Mac leaves")
    assert len(samples_of(tmp_path)) == 6


def test_upper_case_endings_count(tmp_path):
    fill_folder(tmp_path, {"cat": 2, "dog": 1})
    (tmp_path / "dog" / "000.png").rename(tmp_path / "dog" / "000.PNG")
    assert samples_of(tmp_path)["class"].tolist() == ["cat"] * 2 + ["dog"]


def test_an_absent_folder_and_an_empty_one(tmp_path):
    assert "does not exist" in refused(tmp_path / "nowhere")
    assert "no images" in refused(tmp_path)
    (tmp_path / "images.rar").write_bytes(b"PK")
    assert "uncompressed .tar" in refused(tmp_path / "images.rar")


def test_names_that_are_no_text_are_refused(tmp_path):
    fill_folder(tmp_path, {"cat": 3, "dog": 3})
    try:
        (tmp_path / "cat" / "000.png").rename(tmp_path / "cat" / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    message = refused(tmp_path)
    assert "not UTF-8" in message
    message.encode()  # it can be printed


def test_names_of_all_scripts_work(tmp_path):
    fill_folder(tmp_path, {"Käfer": 3, "猫 と犬": 3})
    assert set(samples_of(tmp_path)["class"]) == {"Käfer", "猫 と犬"}


def test_an_unknown_built_in_names_the_known_ones(tmp_path):
    assert "digits_rotated" in refused(tmp_path, source="builtin:mnist")
