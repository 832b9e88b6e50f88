"""Indexing reads every image once: what is broken is found anywhere, and skipped if asked."""

from __future__ import annotations

import sys
from collections import Counter

import pandas as pd
import pytest
from projects import fill_folder

from cache.errors import ProbelineError
from pipeline.datasets import reading
from pipeline.datasets.folders import Folder
from pipeline.datasets.index_checks import odd_classes
from pipeline.datasets.indexing import build_index
from pipeline.datasets.settings import Dataset


def dataset(**entry) -> Dataset:
    return Dataset(**{"source": "folder", "path": "images", "role": "in_domain", **entry})


@pytest.fixture
def many(project):
    return fill_folder(project.folder / "images", {"cat": 60, "dog": 60}, suffix=".jpg", seed=7)


@pytest.mark.parametrize("row", [0, 17, 63, 64, 65, 100, 119])
def test_a_cut_file_is_found_wherever_it_lies(many, row):
    path = sorted(many)[row]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ProbelineError) as caught:
        build_index("pets", dataset())
    assert f"{path.parent.name}/{path.name}: the image is damaged" in caught.value.found
    assert "1 of 130 files" in caught.value.problem
    assert "on_bad_image: skip" in caught.value.remedy
    index = build_index("pets", dataset(on_bad_image="skip"))
    assert list(index.skipped) == [f"{path.parent.name}/{path.name}"]
    assert len(index.rows) == 129


@pytest.mark.parametrize("at_once", [1, 7, 1024])
def test_each_file_is_read_once_and_facts_are_in_order(many, monkeypatch, at_once):
    read: Counter[str] = Counter()

    class Counted(Folder):
        def read(self, entry):
            read[entry.path] += 1
            return super().read(entry)

    monkeypatch.setattr("pipeline.datasets.doors.open_root", lambda path, *_: Counted(path))
    monkeypatch.setattr(reading, "_AT_ONCE", at_once)
    index = build_index("pets", dataset())
    assert set(read.values()) == {1}
    assert len(read) == len(index.rows) == 130
    monkeypatch.undo()
    assert index.rows["sha256"].to_pylist() == [
        __import__("hashlib").sha256(path.read_bytes()).hexdigest()
        for path in sorted(p for p in Folder(many[0].parents[1]).path.rglob("*.*"))
    ]


def test_a_file_that_may_not_be_read_is_named_or_skipped(many, monkeypatch):
    read = Folder.read

    def refuse(self, entry):
        if entry.path == "cat/000.jpg":
            with reading_refused(entry):
                raise PermissionError(13, "Permission denied")
        return read(self, entry)

    from pipeline.datasets.roots import explain_reading as reading_refused

    monkeypatch.setattr(Folder, "read", refuse)
    with pytest.raises(ProbelineError, match=r"cat/000.jpg: the file can't be read: Permission"):
        build_index("pets", dataset())
    assert list(build_index("pets", dataset(on_bad_image="skip")).skipped) == ["cat/000.jpg"]


@pytest.mark.parametrize("split", [False, True])
def test_a_class_whose_images_all_fail_does_not_vanish(project, split):
    for part in ("train", "val") if split else (".",):
        fill_folder(project.folder / "images2" / part, {"cat": 5, "dog": 5, "green": 5})
        for path in (project.folder / "images2" / part / "green").iterdir():
            path.write_bytes(b"<html>")
    with pytest.raises(ProbelineError) as caught:
        build_index("pets", dataset(path="images2", on_bad_image="skip"))
    assert "no image of 1 class can be read" in caught.value.problem
    assert caught.value.found == "green"
    index = build_index("pets", dataset(path="images2", on_bad_image="skip", leave_out=["green"]))
    assert index.classes == ("cat", "dog")


def test_work_on_class_names_grows_with_their_number():
    def events(count: int) -> int:
        names = [f"class {n}" for n in range(count)]
        samples = pd.DataFrame({"class": names * 2, "split": ["train"] * count + ["val"] * count})
        seen = 0

        def look(*_) -> None:
            nonlocal seen
            seen += 1

        sys.setprofile(look)
        try:
            assert odd_classes(samples, names) == ()
        finally:
            sys.setprofile(None)
        return seen

    events(10)  # what pandas does the first time
    assert events(400) - events(200) < 200 * 60  # calls; thousands, were a table filtered for each


@pytest.mark.parametrize(
    "names", [("great dane", "great_dane"), ("Great Dane", "great-dane"), ("ｃat", "cat")]
)
def test_names_that_sound_the_same_are_remarked(names):
    samples = pd.DataFrame({"class": [*names, *names], "split": ["train"] * 2 + ["val"] * 2})
    (remark,) = odd_classes(samples, names)
    assert f"{names[0]} and {names[1]}" in remark
