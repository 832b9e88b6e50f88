"""Folders as splits and classes: recognised in any spelling, or asked about, and never guessed."""

from __future__ import annotations

import shutil
import tarfile
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from projects import draw, fill_folder
from ruamel.yaml import YAML
from source_contract import SourceContract

from cache.errors import ProbelineError
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root, list_source


def listed(path: Path, **entry):
    of = Dataset(**{"source": "folder", "path": str(path), "role": "in_domain", **entry})
    return list_source("pets", of, dataset_root("pets", of))


def refused(path: Path, **entry) -> str:
    with pytest.raises(ProbelineError) as caught:
        listed(path, **entry)
    assert caught.value.remedy
    return str(caught.value)


def in_yaml(message: str, begin: str) -> dict[str, Any]:
    """The first line of params.yaml that a message gives between backquotes, and begins so."""
    line = next(part for part in message.split("`")[1::2] if part.startswith(begin))
    return YAML(typ="safe").load(line)


def in_splits(path: Path, *splits: str) -> Path:
    for number, split in enumerate(splits):
        fill_folder(path / split, {"cat": 3, "dog": 3}, seed=100 * number)
    return path


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("Training", "Testing"), ("TRAIN", "Test"), ("train", "valid"), ("Train", "VAL"),
        ("training", "validation"), ("train", "dev"), ("Train", "Validation"), ("TRAINING", "test"),
        ("trn", "tst"), ("train", "Eval"), ("train", "evaluation"), ("Train", "holdout"),
    ],
)  # fmt: skip
def test_splits_are_recognised_in_any_spelling(tmp_path, train, val):
    samples = listed(in_splits(tmp_path, train, val)).samples
    assert set(samples["class"]) == {"cat", "dog"}
    assert (samples["split"] == "val").tolist() == samples["path"].str.startswith(val).tolist()


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train2017", "val2017"), ("Train_Images", "Test_Images"), ("my-train", "my-test"),
        ("TrainSet", "TestSet"), ("images_training", "images_validation"), ("trainset", "valset"),
        ("train (1)", "test (1)"), ("01_train", "02_dev"),
    ],
)  # fmt: skip
def test_what_looks_like_splits_is_asked_about(tmp_path, train, val):
    message = refused(in_splits(tmp_path, train, val))
    assert "look like splits" in message
    # Both answers work, as they are written there:
    advised = in_yaml(message, "splits: ")
    assert advised == {"splits": {"train": [train], "val": [val]}}
    said = listed(tmp_path, **advised).samples
    assert set(said["class"]) == {"cat", "dog"}
    assert said["split"].value_counts().to_dict() == {"train": 6, "val": 6}
    none = listed(tmp_path, splits={"train": [], "val": []}, class_folder="first").samples
    assert set(none["class"]) == {train, val}


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "Val", "Test"), ("train", "valid", "TEST"), ("training", "Train", "val"),
        ("train", "dev", "test"),
    ],
)  # fmt: skip
def test_two_folders_of_one_split_are_asked_about(tmp_path, names):
    message = refused(in_splits(tmp_path, *names))
    assert "2 folders could be the" in message
    words = {"train": [names[0]], "val": list(names[1:])}
    assert len(listed(tmp_path, splits=words).samples) == 18
    # Both answers work, as they are written there: all of them, or one.
    assert len(listed(tmp_path, **in_yaml(message, "splits: ")).samples) == 18
    one = YAML(typ="safe").load(message.split("`")[-4])
    left = in_yaml(message, "leave_out: ")
    assert len(listed(tmp_path, **one, **left).samples) == 12
    assert in_yaml(refused(tmp_path, **one), "leave_out: ") == left


@pytest.mark.parametrize("names", [("Training",), ("TEST",), ("dev",), ("train2017",)])
def test_one_split_alone_is_no_class(tmp_path, names):
    message = refused(in_splits(tmp_path, *names))
    assert "split" in message or "single folder at the top" in message


@pytest.mark.parametrize("extra", ["extra", "unlabelled"])
def test_splits_beside_something_else_are_asked_about(tmp_path, extra):
    message = refused(in_splits(tmp_path, "Training", "Testing", extra))
    assert "mixed" in message
    assert len(listed(tmp_path, leave_out=[extra]).samples) == 12


@pytest.mark.parametrize(
    "classes",
    [
        ("aeroplane", "bus", "train"), ("crash test dummy", "mouse"), ("val d'isère", "zermatt"),
        ("bullet_train", "test_tube", "cat", "dog", "cow"), ("trainer", "tester"),
        ("testudo", "validus", "trainspotter"), ("Production", "Testing", "Sales"),
        ("developer", "valve"),
    ],
)  # fmt: skip
def test_classes_that_are_called_so_stay_classes(tmp_path, classes):
    fill_folder(tmp_path, dict.fromkeys(classes, 2))
    assert set(listed(tmp_path).samples["class"]) == {
        unicodedata.normalize("NFC", c) for c in classes
    }


def test_test_images_alone_in_any_spelling(tmp_path):
    samples = listed(in_splits(tmp_path, "Testing"), test_only=True).samples
    assert set(samples["class"]) == {"cat", "dog"}
    assert set(samples["split"]) == {"val"}


def test_own_words_in_another_spelling(tmp_path):
    words = {"train": ["Fit"], "val": ["check"]}
    samples = listed(in_splits(tmp_path, "fit", "Check"), splits=words).samples
    assert samples["split"].value_counts().to_dict() == {"train": 6, "val": 6}


def nested(path: Path) -> Path:
    fill_folder(path, {"animals/cat": 2, "animals/dog": 2, "cars/bmw": 2, "cars/vw": 2})
    return path


@pytest.mark.parametrize("splits", [False, True])
def test_folders_below_classes_are_asked_about(tmp_path, splits):
    for split in ("Train", "Val") if splits else (".",):
        nested(tmp_path / split)
    message = refused(tmp_path)
    assert "folders below the class folders" in message
    assert "animals/cat, animals/dog, cars/bmw, cars/vw" in message
    first = listed(tmp_path, class_folder="first").samples
    assert set(first["class"]) == {"animals", "cars"}
    path = listed(tmp_path, class_folder="path").samples
    assert set(path["class"]) == {"animals/cat", "animals/dog", "cars/bmw", "cars/vw"}


@pytest.mark.parametrize(
    "counts",
    [
        {"cat": 2, "dog": 2, "dog/puppies": 2},  # one class alone
        {"cat/a": 2, "dog/b": 2},  # other folders in each
        {"cat/2019/may": 2, "dog": 2},  # deeper
        {"cat/train": 2, "cat/test": 2, "dog/train": 2, "dog/test": 2},  # splits inside classes
    ],
)
def test_every_kind_of_nesting_is_asked_about(tmp_path, counts):
    fill_folder(tmp_path, counts)
    message = refused(tmp_path)
    assert "below the class folders" in message
    assert ("look like splits" in message) == ("cat/train" in counts)


def test_the_same_folder_below_every_class_asks_nothing(tmp_path):
    fill_folder(tmp_path / "train", {"n01/images": 2, "n02/images": 2})  # as Tiny ImageNet
    fill_folder(tmp_path / "val", {"n01/images": 1, "n02/images": 1})
    assert set(listed(tmp_path).samples["class"]) == {"n01", "n02"}


def test_a_mac_s_folders_and_linux_s_are_one_class(tmp_path):
    for split, form in (("train", "NFD"), ("val", "NFC")):
        fill_folder(tmp_path / split, {unicodedata.normalize(form, c): 2 for c in ("café", "thé")})
    found = listed(tmp_path)
    assert set(found.samples["class"]) == {"caf\u00e9", "th\u00e9"}
    assert "2 of 2 class names are spelled in several ways" in found.remarks[0]
    assert "caf\\xe9" in found.remarks[0]


def test_spaces_at_the_ends_of_folders_are_no_other_class(tmp_path):
    fill_folder(tmp_path, {"cat": 2, "cat ": 2, "dog": 2})
    found = listed(tmp_path)
    assert found.samples["class"].value_counts().to_dict() == {"cat": 4, "dog": 2}
    assert "1 of 2 class names" in found.remarks[0]
    assert listed(tmp_path, leave_out=["cat "]).remarks == ()


def test_an_invisible_character_in_a_class_s_name_is_shown(tmp_path):
    fill_folder(tmp_path, {"cat": 2, "cat\u200b": 2, "dog": 2})
    assert "U+200B ZERO WIDTH SPACE" in refused(tmp_path)


def test_loose_images_beside_splits(tmp_path):
    in_splits(tmp_path, "Train", "Test")
    draw(0).save(tmp_path / "cover.png")
    assert "cover.png" in refused(tmp_path)


def test_half_of_the_words_is_refused():
    with pytest.raises(ValueError, match="none for both"):
        Dataset(source="folder", path=".", role="in_domain", splits={"train": [], "val": ["x"]})


def write_images(folder: Path, images) -> None:
    """``SPLIT/CLASS/NUMBER.png``."""
    for image in images:
        path = folder / (image.split or "") / image.label / f"{image.number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.data)


class TestFolder(SourceContract):
    def write(self, folder, images):
        write_images(folder, images)
        return {"source": "folder", "path": str(folder)}


class TestTar(SourceContract):
    def write(self, folder, images):
        write_images(folder / "in", images)
        with tarfile.open(folder / "images.tar", "w") as archive:
            archive.add(folder / "in", ".")
        return {"source": "folder", "path": str(folder / "images.tar")}


class TestZip(SourceContract):
    def write(self, folder, images):
        write_images(folder / "in", images)
        shutil.make_archive(str(folder / "images"), "zip", folder / "in")
        return {"source": "folder", "path": str(folder / "images.zip")}


@pytest.mark.parametrize("odd", ["a, b", "x [old]", "no", "2024", "a: b", "Größe *"])
def test_advice_names_odd_folders_so_that_it_can_be_pasted(tmp_path, odd):
    fill_folder(tmp_path, {"cat": 2, "dog": 2})
    (tmp_path / odd).mkdir()
    advised = in_yaml(refused(tmp_path), "leave_out: ")
    assert set(listed(tmp_path, **advised).samples["class"]) == {"cat", "dog"}


def test_a_folder_around_the_classes_of_each_split_is_no_path(tmp_path):
    fill_folder(tmp_path, {f"{s}/images/{c}": 2 for s in ("train", "val") for c in "ab"})
    message = refused(tmp_path)
    assert "in each split" in message
    assert "path:" not in message.split("to mend")[1]


def test_a_folder_around_all_is_named(tmp_path):
    fill_folder(tmp_path, {f"all of it/{c}": 2 for c in "ab"})
    advised = in_yaml(refused(tmp_path), "path: ")
    assert len(listed(Path(advised["path"])).samples) == 4


@pytest.mark.parametrize(
    ("file", "word"),
    [("a/1.tar", "source: webdataset"), ("a/1.parquet", "source: parquet"), ("a/1", "ending"),
     ("cifar-10-batches-py/data_batch_1", "source: torchvision:CIFAR10"), ("a/1.zip", "unpack"),
     ("a/1.npy", "convert")],
)  # fmt: skip
def test_what_lies_there_instead_of_images_says_what_to_do(tmp_path, file, word):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(b"x")
    assert word in refused(tmp_path)
