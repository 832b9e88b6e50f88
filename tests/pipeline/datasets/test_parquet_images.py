"""Parquet files with images inside: Hugging Face's layout, and what is like it."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from projects import draw, fill_folder
from source_contract import SourceContract

from cache.errors import ProbelineError
from pipeline.datasets.index import read_index
from pipeline.datasets.indexing import build_index
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root

NAMES = ["cat", "dog"]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    draw(number).save(file, kind)
    return file.getvalue()


def shard(path: Path, images: list, labels: list, *, names=None, column="image", **more) -> None:
    """A file of two row groups; `names` are of numbered classes, as the library notes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({column: images, "label": labels, **more})
    features = {column: {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}
    if names is not None:
        features["label"] = {"names": names, "_type": "ClassLabel"}
    noted = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    table = table.replace_schema_metadata(noted if names is not None else None)
    pq.write_table(table, path, row_group_size=max(1, len(images) // 2))


def odd_picture(number: int) -> bytes:
    return picture(number, "JPEG" if number % 2 else "PNG")


def struct(data: bytes | None, path: str | None = None) -> dict:
    return {"bytes": data, "path": path}


def dataset(**entry) -> Dataset:
    return Dataset(**{"source": "parquet", "path": "shards", "role": "in_domain", **entry})


def refused(**entry) -> str:
    with pytest.raises(ProbelineError) as caught:
        build_index("pets", dataset(**entry))
    assert caught.value.remedy
    return str(caught.value)


@pytest.fixture
def shards(project) -> Path:
    """Two shards of train, one of validation; the images of the project's folder first."""
    folder = project.folder / "shards"
    files = ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001")
    for number, name in enumerate(files):
        images = [struct(odd_picture(n), f"{n}.x") for n in range(6 * number, 6 * number + 6)]
        shard(folder / "data" / f"{name}.parquet", images, [n % 2 for n in range(6)], names=NAMES)
    project.params["datasets"]["pets"] = {
        "source": "parquet", "path": "shards", "role": "in_domain"
    }  # fmt: skip
    return folder


def test_the_layout_of_hugging_face_is_read_in_place(project, shards):
    project.prepare()
    index = read_index("pets")
    assert index.classes == ("cat", "dog")
    assert [len(index.split(s)) for s in ("train", "val")] == [12, 6]
    first = index.split("train").iloc[1]
    assert first["path"] == "data/train-00000-of-00002.parquet/00000001"
    assert first["sha256"] == hashlib.sha256(picture(1, "JPEG")).hexdigest()
    assert first["class"] == "dog"
    assert not (project.folder / "data" / "raw").exists()
    assert index.said == ()
    root = dataset_root("pets", dataset())
    entry = root.entries()[3]
    travelled = pickle.loads(pickle.dumps((root, root.read(entry))))
    assert travelled[0].read(entry) == travelled[1] == odd_picture(3)
    project.run("extract", "pets").succeeded("1 cached, 0 computed")
    # The same bytes as files are the same images: nothing is computed for them.
    for row, kind in zip(index.table.itertuples(), index.table["class"], strict=True):
        target = project.folder / "files" / row.split / kind / f"{row.sha256[:8]}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        number = int(row.path.rpartition("/")[2]) + {"0": 0, "1": 6}[row.path.split("-")[1][4]]
        number += 12 * (row.split == "val")
        target.write_bytes(odd_picture(number))
    project.params["datasets"]["copy"] = {"source": "folder", "path": "files", "role": "in_domain"}
    project.write()
    project.run("index", "copy").succeeded()
    assert "tiny: all 18 rows were held already" in project.run("extract", "copy").succeeded()
    # A shard more is seen.
    project.run("cli", "datasets", "check").succeeded("pets: as indexed")
    shard(shards / "data" / "train-00002.parquet", [struct(picture(70))], [0], names=NAMES)
    project.run("cli", "status").succeeded("pets: 1 new, 0 changed, 0 gone")


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        ([0, 1] * 4, ["NA", "01"], ("01", "NA")),
        (["x", "y"] * 4, None, ("x", "y")),
        ([7, 9] * 4, None, ("7", "9")),
        ([1.0, 2.0] * 4, None, ("1", "2")),
    ],
)
def test_labels_are_names_words_or_numbers(tmp_path, labels, names, classes):
    for split in ("train", "val"):
        images = [picture(n + 50 * (split == "val")) for n in range(8)]
        shard(tmp_path / f"{split}.parquet", images, labels, names=names, column="img")
    assert build_index("pets", dataset(path=str(tmp_path))).classes == classes


def test_columns_are_named_where_there_are_several(tmp_path):
    images = [picture(n) for n in range(8)]
    masks = [picture(n + 100) for n in range(8)]
    more = {"mask": masks, "kind": ["a", "b"] * 4, "site": ["s", "s", "t", "t"] * 2}
    more["split"] = ["train"] * 4 + ["val"] * 4
    shard(tmp_path / "all.parquet", images, [0] * 8, **more)
    path = {"path": str(tmp_path / "all.parquet")}
    assert "not clear which column holds the images" in refused(**path)
    columns = {"path": "image", "label": "kind", "group": "site"}
    index = build_index("pets", dataset(**path, columns=columns))
    assert index.digests("train") == [hashlib.sha256(image).hexdigest() for image in images[:4]]
    assert index.classes == ("a", "b")
    assert index.split("val")["group"].tolist() == ["s", "s", "t", "t"]
    kept = build_index(
        "pets", dataset(**path, columns=columns, filter={"site": "t"}, limit_per_class=1)
    )
    assert [(p.what, p.count) for p in kept.passed_over] == [("rows that `filter` leaves out", 4)]
    assert "no column 'place'" in refused(**path, columns={**columns, "group": "place"})
    assert "column with the bytes of images" in refused(**path, columns={"path": "kind"})


FAULTS = {
    "no image column": ({"column": "image", "images": ["a.png"] * 8}, "`source: manifest`"),
    "paths alone": (
        {"images": pa.array([struct(None, "a.png")] * 8, STRUCT)},
        "a path, and not the image itself",
    ),
    "paths of no type": ({"images": [struct(None, "a.png")] * 8}, "the bytes of images"),
    "an image is missing": ({"images": [None, *([struct(picture(3))] * 7)]}, "has no image"),
    "no class": ({"labels": [0, -1, 0, 1, 0, 1, 0, 1]}, "1 row has nothing in column 'label'"),
    "a number without name": ({"labels": [0, 1, 2] * 2 + [0, 1]}, "train.parquet, row 3"),
    "no image at all": ({"images": [struct(b"just text")] * 8}, "not an image"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(tmp_path, fault):
    spoilt, word = FAULTS[fault]
    good = {"images": [struct(picture(n)) for n in range(8)], "labels": [0, 1] * 4}
    for split in ("train", "val"):
        asked = {**good, **(spoilt if split == "train" else {})}
        images, labels = asked.pop("images"), asked.pop("labels")
        shard(tmp_path / f"{split}.parquet", images, labels, names=NAMES, **asked)
    assert word in refused(path=str(tmp_path))


def test_an_image_that_is_missing_can_be_skipped_and_is_counted(tmp_path):
    images = [None, *(struct(picture(n)) for n in range(1, 8))]
    shard(tmp_path / "train.parquet", images, [0, 1] * 4, names=NAMES)
    shard(tmp_path / "val.parquet", images[1:], [0, 1] * 3 + [0], names=NAMES)
    index = build_index("pets", dataset(path=str(tmp_path), on_bad_image="skip"))
    assert list(index.skipped) == ["train.parquet/00000000"]


def test_validation_beside_test_is_asked_about(shards):
    shard(shards / "data" / "test-0.parquet", [struct(picture(90))], [0], names=NAMES)
    assert "could be the val split" in refused()
    both = {"train": ["train"], "val": ["validation", "test"]}
    assert len(build_index("pets", dataset(splits=both)).split("val")) == 7
    one = {"splits": {"train": ["train"], "val": ["validation"]}, "leave_out": ["*test*"]}
    index = build_index("pets", dataset(**one))
    assert len(index.split("val")) == 6
    assert [(p.what, p.count) for p in index.passed_over] == [("path that `leave_out` names", 1)]


def test_what_is_no_table_and_what_has_changed(project, shards):
    project.prepare()
    changed = shards / "data" / "train-00001-of-00002.parquet"
    images = [struct(odd_picture(n)) for n in range(6, 8)]
    shard(changed, images, [0, 1], names=NAMES)
    project.params["models"]["tiny"]["weights"] = "random(3)"
    project.write()
    project.run("extract", "pets").refused("has fewer rows than were indexed", "dvc repro -f index")
    changed.write_bytes(b"PAR1 no table")
    project.run("index", "pets").refused("no Parquet file", "train-00001-of-00002")
    shard(changed, images, ["cat", "dog"], kind=["a", "b"])
    project.run("index", "pets").succeeded()  # words beside named numbers are one class each
    changed.unlink()
    assert "no shards at this path" in refused(path="images")


def test_a_file_that_changes_while_it_is_read_is_refused(shards, monkeypatch):
    from pipeline.datasets import parquet_images

    read = parquet_images.ParquetImages.read

    def changing(self, entry):
        if entry.offset == 5:
            fill_folder(shards, {"x": 1})
            file = shards / "data" / "train-00001-of-00002.parquet"
            file.write_bytes(file.read_bytes())
        return read(self, entry)

    monkeypatch.setattr(parquet_images.ParquetImages, "read", changing)
    assert "has changed while it was read" in refused()


class TestParquet(SourceContract):
    def write(self, folder, images):
        for split in {image.split for image in images}:
            rows = [image for image in images if image.split == split]
            shard(
                folder / f"{split or 'all'}-00000.parquet",
                [struct(row.data) for row in rows],
                [NAMES.index(row.label) for row in rows],
                names=NAMES,
            )
        return {"source": "parquet", "path": str(folder)}
