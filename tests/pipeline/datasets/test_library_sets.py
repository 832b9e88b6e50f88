"""Data sets of torchvision and Hugging Face, from files in the libraries' own layouts."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from projects import draw, fill_folder
from source_contract import SourceContract

from pipeline.datasets.tars import Tar


@pytest.fixture
def study(project):
    """Makes the study's only data set one of this source."""

    def use(source: str, **entry):
        project.params["datasets"] = {
            "pets": {"source": source, "role": "in_domain", "path": "root", **entry}
        }
        project.write()
        return project

    return use


def table() -> pd.DataFrame:
    return pd.read_parquet("data/index/pets.parquet")


def counts() -> dict[tuple[str, str], int]:
    return table().groupby(["split", "class"]).size().to_dict()


def pixels() -> list[np.ndarray]:
    (tar,) = Path("data/raw").glob("*.tar")
    root = Tar(tar)
    images = [e for e in root.entries() if not e.path.endswith(".csv")]
    return [np.asarray(Image.open(io.BytesIO(root.read(e)))) for e in images]


def write_mnist(folder: Path) -> dict[str, np.ndarray]:
    """MNIST's four files, with four images of train and two of test."""
    folder.mkdir(parents=True)
    made = {}
    for part, count in (("train", 4), ("t10k", 2)):
        made[part] = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + made[part].tobytes())
        labels = np.arange(count, dtype=np.uint8) % 2
        header = struct.pack(">II", 0x801, count)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return made


def test_one_that_takes_train_true_and_false(study):
    project = study("torchvision:MNIST")
    made = write_mnist(project.folder / "root" / "MNIST" / "raw")
    project.run("index", "pets").succeeded("4 train and 2 val images of 2 classes")
    assert counts() == {
        (split, label): n
        for split, n in (("train", 2), ("val", 1))
        for label in ("0 - zero", "1 - one")
    }
    for found, expected in zip(pixels(), [*made["train"], *made["t10k"]], strict=True):
        assert np.array_equal(found, expected)
    project.run("extract", "pets").succeeded("1 computed")
    (tar,) = Path("data/raw").glob("*.tar")
    before = tar.stat().st_mtime_ns
    project.run("index", "pets").succeeded()
    assert tar.stat().st_mtime_ns == before


def write_food(root: Path) -> None:
    for label in ("apple_pie", "ramen"):
        fill_folder(root / "food-101" / "images", {label: 3}, suffix=".jpg")
    meta = root / "food-101" / "meta"
    meta.mkdir()
    for split, numbers in (("train", (0, 1)), ("test", (2,))):
        listed = {x: [f"{x}/{n:03d}" for n in numbers] for x in ("apple_pie", "ramen")}
        (meta / f"{split}.json").write_text(json.dumps(listed))


def test_one_that_takes_a_split(study):
    project = study("torchvision:Food101")
    write_food(project.folder / "root")
    project.run("index", "pets").succeeded("4 train and 2 val images of 2 classes")
    assert counts()["val", "ramen"] == 1
    study("torchvision:Food101", test_only=True)
    project.run("index", "pets").succeeded("0 train and 2 val images of 2 classes")


def test_one_without_splits(study):
    project = study("torchvision:EuroSAT", val_fraction=0.5)
    fill_folder(project.folder / "root" / "eurosat" / "2750", {"River": 4, "Forest": 4})
    project.run("index", "pets").succeeded(" val images of 2 classes")
    assert sum(counts().values()) == 8


def test_several_splits_that_could_be_meant(study):
    project = study("torchvision:DTD")
    base = project.folder / "root" / "dtd" / "dtd"
    fill_folder(base / "images", {"banded": 6, "dotted": 6}, suffix=".jpg")
    (base / "labels").mkdir()
    for n, split in enumerate(("train", "val", "test")):
        names = [f"{label}/{i:03d}.jpg" for label in ("banded", "dotted") for i in (n, n + 3)]
        (base / "labels" / f"{split}1.txt").write_text("\n".join(names))
    project.run("index", "pets").refused("2 of its splits could be val", "val, test", "say which")
    study("torchvision:DTD", splits={"train": ["train", "val"], "val": ["test"]})
    project.run("index", "pets").succeeded("8 train and 4 val images of 2 classes")


def test_bad_names_and_folders(study):
    study("torchvision:Food10").run("index", "pets").refused("no such data set", "Food101")
    study("torchvision:Food101").run("index", "pets").refused(
        "Food101 can't be read", "download=True"
    )
    study("torchvision:os").run("index", "pets").refused("no such data set")
    study("torchvision:FakeData").run("index", "pets").refused("can't be read")
    assert not list(Path().rglob("*.partial"))


def test_one_that_unpickles_a_file_of_the_folder_is_refused(study, tmp_path):
    import pickle

    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    Path("root").mkdir()
    for name in ("_cache_root", "_cache_bedroom_train_lmdb"):
        Path("root", name).write_bytes(pickle.dumps(Harm()))
        Path(name).write_bytes(pickle.dumps(Harm()))
    for kind in ("LSUN", "LSUNClass"):
        study(f"torchvision:{kind}").run("index", "pets").refused("no such data set")
    assert not (tmp_path / "harm").exists()


def test_targets_that_are_no_classes(study):
    project = study("torchvision:SBU")
    folder = project.folder / "root" / "dataset"
    folder.mkdir(parents=True)
    draw(0).save(folder / "1_2.jpg")
    project.run("index", "pets").refused("SBU")


def test_without_the_package_it_says_what_to_install(study, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    study("hf:somebody/pets").run("index", "pets").refused("pip install -e '.[hf]'")


@pytest.fixture
def hugging_face(monkeypatch, tmp_path):
    """The library, kept from the network and from the user's cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return library


def made_with(library, counts: dict[str, int], **features):
    """Splits of two classes in turn, and the files that went into them."""
    files, splits = [], {}
    for split, count in counts.items():
        rows = {"image": [], "label": []}
        for n in range(count):
            buffer = io.BytesIO()
            draw(len(files)).save(buffer, "JPEG")
            files.append(buffer.getvalue())
            rows["image"].append({"bytes": files[-1], "path": f"{n}.jpg"})
            rows["label"].append(n % 2)
        kinds = {"image": library.Image(), "label": library.ClassLabel(names=["cat", "dog"])}
        splits[split] = library.Dataset.from_dict(rows, library.Features(kinds | features))
    return library.DatasetDict(splits), files


def test_a_saved_one_keeps_its_files_as_they_are(study, hugging_face):
    project = study("hf:somebody/pets")
    saved, files = made_with(hugging_face, {"train": 6, "test": 4})
    saved.save_to_disk(project.folder / "root")
    project.run("index", "pets").succeeded("6 train and 4 val images of 2 classes")
    assert counts() == {("train", "cat"): 3, ("train", "dog"): 3, ("val", "cat"): 2,
                        ("val", "dog"): 2}  # fmt: skip
    (tar,) = Path("data/raw").glob("hf_*.tar")
    root = Tar(tar)
    assert [root.read(e) for e in root.entries() if e.path.endswith(".jpg")] == files
    project.run("extract", "pets").succeeded("1 computed")


def test_one_without_splits_and_a_single_split(study, hugging_face):
    project = study("hf:pets", val_fraction=0.5)
    made_with(hugging_face, {"train": 8})[0]["train"].save_to_disk(project.folder / "root")
    project.run("index", "pets").succeeded(" val images of 2 classes")
    assert sum(counts().values()) == 8


def test_columns_and_splits_are_named_where_they_are_not_plain(study, hugging_face):
    project = study("hf:pets")
    saved, _ = made_with(hugging_face, {"train": 6, "validation": 4, "test": 4})
    saved = saved.rename_columns({"image": "picture", "label": "kind"})
    saved.save_to_disk(project.folder / "root")
    project.run("index", "pets").refused("2 of its splits could be val", "validation, test")
    chosen = {"train": ["train"], "val": ["validation"]}
    study("hf:pets", splits=chosen)
    said = project.run("index", "pets").succeeded("6 train and 4 val")  # the only of their kinds
    assert "left out: 4 images of splits that the study does not take, e.g. test" in said
    study("hf:pets", splits=chosen, columns={"label": "species"})
    project.run("index", "pets").refused("columns.label", "picture, kind", "species")
    study("hf:pets", splits={**chosen, "val": ["vali"]})
    project.run("index", "pets").refused("no such split", "train, validation, test")


@pytest.mark.parametrize(
    ("labels", "feature", "words"),
    [
        ([0, 1, -1, 0, 1, -1], "names", ["2 rows have no class", "row 3, 6"]),
        ([0, 1, None, 0, 1, 0], "names", ["1 row has no class", "row 3"]),
        (["a", "b", None, "a", "", "b"], "string", ["2 rows have no class", "row 3, 5"]),
        ([1.0, 0.0, float("nan"), 1.0, 0.0, 1.0], "float64", ["1 row has no class"]),
        ([[0], [1], [0, 1], [0], [1], [0]], "lists", ["no single name", "row 1"]),
    ],
)
def test_rows_without_a_class(study, hugging_face, labels, feature, words):
    library = hugging_face
    kind = {
        "names": library.ClassLabel(names=["cat", "dog"]),
        "lists": library.Sequence(library.Value("int64")),
    }.get(feature) or library.Value(feature)
    saved, _ = made_with(library, {"train": 6, "test": 4})
    image, kinds = saved["train"]["image"], {"image": library.Image(), "label": kind}
    saved["train"] = library.Dataset.from_dict(
        {"image": list(image), "label": labels}, library.Features(kinds)
    )
    project = study("hf:somebody/pets")
    saved.save_to_disk(project.folder / "root")
    project.run("index", "pets").refused("train, column label", *words)
    assert not list(Path("data/raw").glob("hf_*"))


def test_groups_of_a_library_are_not_ignored(study):
    study("hf:pets", columns={"group": "site"}).run("index", "pets").refused("columns.group")


def test_what_is_not_there(study, hugging_face):
    study("hf:somebody/pets").run("index", "pets").refused(
        "can't be had from Hugging Face", "there is no folder", "root"
    )


def test_a_folder_of_parquet_files(study, hugging_face):
    project = study("hf:somebody/pets")
    (project.folder / "root").mkdir()
    saved, _ = made_with(hugging_face, {"train": 6, "test": 4})
    for split, samples in saved.items():
        samples.to_parquet(project.folder / "root" / f"{split}-00000-of-00001.parquet")
    project.run("index", "pets").succeeded("6 train and 4 val images of 2 classes")


def test_a_file_that_the_library_can_t_read_is_named(study):
    project = study("torchvision:EuroSAT", val_fraction=0.5)
    fill_folder(project.folder / "root" / "eurosat" / "2750", {"River": 4, "Forest": 4})
    (project.folder / "root" / "eurosat" / "2750" / "River" / "002.png").write_bytes(b"<html>")
    project.run("index", "pets").refused("can't read sample 6", "UnidentifiedImageError")
    assert not list(Path("data/raw").glob("*"))


@pytest.mark.parametrize(
    "values",
    [
        np.arange(0, 4096, 64, dtype=np.uint16),
        np.arange(0, 300, 9, dtype=np.int32),
        np.linspace(0, 3, 9, dtype="f4"),
    ],
)
def test_a_picture_of_more_than_eight_bits_keeps_them(values):
    from pipeline.datasets.library_sets import _stored

    picture = Image.fromarray(values.astype(values.dtype).reshape(1, -1))
    suffix, data = _stored(picture)
    assert suffix == ".tif"
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image), values.reshape(1, -1))


class TestTorchvision(SourceContract):
    """EuroSAT, which has no splits, and Food101, which has."""

    def write(self, folder, images):
        if images[0].split is None:
            place, source = folder / "eurosat" / "2750", "torchvision:EuroSAT"
        else:
            place, source = folder / "food-101" / "images", "torchvision:Food101"
            meta = folder / "food-101" / "meta"
            meta.mkdir(parents=True, exist_ok=True)
            for split, said in (("train", "train"), ("val", "test")):
                listed: dict[str, list[str]] = {"cat": [], "dog": []}
                for image in (i for i in images if i.split == split):
                    listed[image.label].append(f"{image.label}/{image.number}")
                (meta / f"{said}.json").write_text(json.dumps(listed))
        suffix = ".png" if images[0].split is None else ".jpg"  # the content says what it is
        for image in images:
            path = place / image.label / f"{image.number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image.data)
        return {"source": source, "path": str(folder)}
