"""The index: deterministic, complete, and refused where the data set can't carry a study."""

from __future__ import annotations

import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image
from projects import draw, fill_folder

from cache.errors import ProbelineError
from pipeline.datasets.index import read_index, write_index
from pipeline.datasets.indexing import build_index
from pipeline.datasets.settings import Dataset
from pipeline.project.paths import index_path


def dataset(**entry) -> Dataset:
    return Dataset(**{"source": "folder", "path": "images", "role": "in_domain", **entry})


def stored(**entry) -> bytes:
    write_index(build_index("pets", dataset(**entry)))
    return index_path("pets").read_bytes()


def refused(**entry) -> str:
    with pytest.raises(ProbelineError) as caught:
        build_index("pets", dataset(**entry))
    assert "pets" in caught.value.place
    assert caught.value.remedy
    return str(caught.value)


def test_the_same_data_set_gives_the_same_bytes(project):
    first = stored()
    index_path("pets").unlink()
    assert stored() == first
    (project.folder / "images").rename(project.folder / "moved")
    assert stored(path="moved") == first  # where the folder lies does not matter


def test_an_index_survives_storage(project):
    built = build_index("pets", dataset())
    write_index(built)
    read = read_index("pets")
    assert read.classes == built.classes == ("cat", "dog")
    for split in ("train", "val"):
        assert read.samples_digest(split) == built.samples_digest(split)
        np.testing.assert_array_equal(read.labels(split), built.labels(split))
    assert len(read.split("train")) == 8


def test_one_changed_pixel_of_the_same_size_changes_the_index(project):
    bmp = project.folder / "images" / "cat" / "000.bmp"  # not compressed: the size stays
    draw(1).save(bmp)
    first = build_index("pets", dataset())
    size = bmp.stat().st_size
    image = draw(1)
    image.putpixel((3, 3), (1, 2, 3))
    image.save(bmp)
    assert bmp.stat().st_size == size
    second = build_index("pets", dataset())
    changed = [s for s in ("train", "val") if first.samples_digest(s) != second.samples_digest(s)]
    assert changed  # the one that it is in, or both: its digest says which


def test_a_folder_and_its_tar_are_one_data_set(project):
    with tarfile.open("images.tar", "w") as archive:
        archive.add("images", ".")
    folder, tar = build_index("pets", dataset()), build_index("pets", dataset(path="images.tar"))
    assert folder.samples_digest("train") == tar.samples_digest("train")


def test_renaming_a_class_keeps_labels_but_moving_an_image_changes_them(project):
    first = build_index("pets", dataset())
    shutil.move("images/dog/000.png", "images/cat/999.png")
    second = build_index("pets", dataset())
    assert first.samples_digest("train") != second.samples_digest("train")


def test_classes_come_from_train(project):
    shutil.rmtree("images")
    fill_folder(project.folder / "images" / "train", {"b": 2, "c": 2, "d": 2})
    fill_folder(project.folder / "images" / "val", {"c": 2})
    index = build_index("pets", dataset())
    assert index.classes == ("b", "c", "d")
    assert index.labels("val").tolist() == [1, 1]


def test_a_class_without_train_images_is_named(project):
    shutil.rmtree("images")
    fill_folder(project.folder / "images" / "train", {"a": 2, "b": 2})
    fill_folder(project.folder / "images" / "val", {"a": 2, "zebra": 2})
    message = refused()
    assert "none in train" in message
    assert "zebra" in message


def test_a_single_class_is_refused(project):
    shutil.rmtree("images/dog")
    assert "only one class" in refused()


def test_classes_of_one_image_leave_no_val_split(project):
    shutil.rmtree("images")
    fill_folder(project.folder / "images", {"a": 1, "b": 1})
    assert "val split is empty" in refused()


@pytest.mark.parametrize("what", ["train", "val", "classes"])
def test_other_counts_than_expected_are_refused(project, what):
    message = refused(expected={what: 99})
    assert f"99 {what}" in message
    assert f"{ {'train': 8, 'val': 2, 'classes': 2}[what] } {what}" in message
    build_index("pets", dataset(expected={"train": 8, "val": 2, "classes": 2}))


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "empty"), (b"just text", "not an image"), (b"\x89PNG\r\n\x1a\n" + bytes(40), "")],
)
def test_bad_images_are_found_and_all_named(project, content, word):
    for name in ("cat/001.png", "dog/002.png"):
        (project.folder / "images" / name).write_bytes(content)
    message = refused()
    assert word in message
    assert "cat/001.png" in message
    assert "dog/002.png" in message


def test_images_that_are_in_both_splits_are_remarked(project):
    shutil.rmtree("images")
    fill_folder(project.folder / "images" / "train", {"a": 3, "b": 3})
    fill_folder(project.folder / "images" / "val", {"a": 1, "b": 1}, seed=500)
    assert build_index("pets", dataset()).remarks == ()
    shutil.copy("images/train/a/001.png", "images/val/a/copy.png")
    (remark,) = build_index("pets", dataset()).remarks
    assert "1 val image is byte for byte in train" in remark
    assert "val/a/copy.png" in remark


def test_an_image_of_two_classes_is_remarked(project):
    shutil.copy("images/cat/001.png", "images/dog/copy.png")
    remark = next(r for r in build_index("pets", dataset()).remarks if "several classes" in r)
    assert remark.startswith("1 image is byte for byte")
    assert "cat/001.png (cat) and dog/copy.png (dog)" in remark
    shutil.copy("images/cat/001.png", "images/cat/000.png")  # another of the same class before it
    remark = next(r for r in build_index("pets", dataset()).remarks if "several classes" in r)
    assert "cat/000.png (cat) and dog/copy.png (dog)" in remark


def test_a_file_of_several_pictures_is_remarked(project):
    with Image.open("images/cat/001.png") as one, Image.open("images/dog/001.png") as other:
        one.save("images/cat/stack.tif", save_all=True, append_images=[other, one])
    (remark,) = build_index("pets", dataset()).remarks
    assert remark.startswith("1 file holds several pictures")
    assert "e.g. cat/stack.tif: the first alone is the image" in remark


def test_classes_that_nobody_tests_or_can_tell_apart_are_remarked(project):
    fill_folder(project.folder / "images", {"Dog": 5, "newt": 1}, seed=900)
    untested, alike = build_index("pets", dataset()).remarks
    assert "1 of 4 classes has no val image, e.g. newt" in untested
    assert "Dog and dog" in alike


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "flipped", "other"])
def test_a_damaged_index_is_refused(project, damage):
    data = stored()
    path = index_path("pets")
    middle = len(data) // 2
    damaged = {
        "empty": b"", "cut": data[:middle], "other": b"hello",
        "flipped": data[: middle // 2] + bytes(40) + data[middle // 2 + 40 :],
    }  # fmt: skip
    path.unlink()
    if damage != "absent":
        path.write_bytes(damaged[damage])
    with pytest.raises(ProbelineError, match=r"python -m stages\.index pets"):
        read_index("pets")


def test_built_in_shifts_share_one_split_and_one_draw(project):
    names = ("digits", "digits_inverted", "digits_photo")
    tables = [
        build_index(n, dataset(source=f"builtin:{n}", limit_per_class=3)).table for n in names
    ]
    for table in tables[1:]:
        for column in ("path", "class", "split", "label"):
            assert table[column].tolist() == tables[0][column].tolist()
        assert (table["sha256"] != tables[0]["sha256"]).all()
    assert tables[0].groupby(["split", "class"]).size().eq(3).all()


def test_built_in_data_sets_are_made_the_same_every_time(project):
    from pipeline.datasets.digits import make, write_tar

    first = write_tar("digits_noisy").read_bytes()
    write_tar("digits_noisy").unlink()
    assert write_tar("digits_noisy").read_bytes() == first
    images, labels = make("digits_noisy")
    assert images.shape == (1797, 32, 32, 3)
    assert sorted(set(labels.tolist())) == list(range(10))


def test_copies_in_one_split_are_said(project):
    """Copies stay in one split, so that none is tested on what was learned; but they count."""
    assert not any("cop" in remark for remark in build_index("pets", dataset()).remarks)
    for name in ("cat", "dog"):
        folder = project.folder / "images" / name
        shutil.copy(folder / "001.png", folder / "copy.png")
    built = build_index("pets", dataset())
    (remark,) = [remark for remark in built.remarks if "copies of others" in remark]
    assert remark.startswith("2 images are copies of others, byte for byte in train or val")
    table = built.table
    for name in ("cat", "dog"):
        pair = table[table["path"].isin([f"{name}/001.png", f"{name}/copy.png"])]
        assert pair["split"].nunique() == 1


def warned(project, *folders: str) -> str:
    for folder in folders:
        fill_folder(project.folder / "images", {folder: 2})
    return " ".join(build_index("pets", dataset()).warnings)


@pytest.mark.parametrize("name", ["nan", "None", "<NA>"])
def test_a_class_called_like_a_missing_label_is_said(project, name):
    assert f"a class is called {name}" in warned(project, name)


@pytest.mark.parametrize("name", ["cat;dog", "dog | cat", "cat, dog", "cat+dog", "cat & dog"])
def test_labels_that_were_joined_are_said(project, name):
    assert f"1 class is called like several others together, e.g. {name}" in warned(project, name)


@pytest.mark.parametrize("name", ["cat-dog", "cats;dogs", "cat & mouse", "catdog"])
def test_other_classes_are_no_joined_labels(project, name):
    assert "together" not in warned(project, name)


def test_a_remark_stays_one_line_whatever_files_are_called(project):
    cat = project.folder / "images" / "cat"
    shutil.copy(next(cat.iterdir()), cat / "0\nindex: all is well\x1b[2K.bmp")
    (remark,) = (w for w in build_index("pets", dataset()).warnings if "a copy of" in w)
    assert "0\\nindex: all is well\\x1b" in remark or "\n" not in remark
    assert remark.isprintable()


def test_why_nothing_is_left_to_test_on_is_said(project):
    images = project.folder / "images"
    shutil.rmtree(images)
    fill_folder(images, {f"patient_{n}": 1 for n in range(6)})
    assert "6 images of as many classes" in refused()
    for path in images.rglob("*.*"):
        shutil.copy(path, path.with_stem("again"))
    assert "12 images, of which 6 differ" in refused()


def test_too_few_groups_to_test_on_are_said(project):
    images = project.folder / "images"
    files = sorted(p.relative_to(images) for p in images.rglob("*.*"))
    rows = "".join(f"{file},{file.parent},one\n" for file in files)
    (project.folder / "images" / "list.csv").write_text("path,label,site\n" + rows)
    table = {"source": "manifest", "manifest": "list.csv", "columns": {"group": "site"}}
    assert "1 group for 2 classes" in refused(**table)
