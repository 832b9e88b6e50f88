"""WebDataset shards, read where they lie."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from projects import draw
from source_contract import SourceContract

from cache.errors import ProbelineError
from pipeline.datasets.parts import find_parts
from pipeline.datasets.roots import Entry
from pipeline.datasets.shards import Shards


def picture(seed: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    draw(seed).save(file, kind)
    return file.getvalue()


def shard(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def numbered(numbers: range, *, ending: str = "png") -> dict[str, bytes]:
    """Samples whose class is whether their number is odd."""
    kind = {"png": "PNG", "jpg": "JPEG"}[ending]
    images = {f"{n:06d}.{ending}": picture(n, kind) for n in numbers}
    return images | {f"{n:06d}.cls": f"{n % 2}\n".encode() for n in numbers}


@pytest.fixture
def shards(project):
    """Two shards of train, one of val, as a study's only data set."""
    folder = project.folder / "shards"
    shard(folder / "cats-train-0000.tar", numbered(range(6)))
    shard(folder / "cats-train-0001.tar", numbered(range(6, 10), ending="jpg"))
    shard(folder / "cats-val-0000.tar", numbered(range(10, 14)))
    project.params["datasets"] = {
        "pets": {"source": "webdataset", "path": "shards", "role": "in_domain"}
    }
    project.write()
    return project


def table() -> pd.DataFrame:
    return pd.read_parquet("data/index/pets.parquet")


def test_shards_run_end_to_end_without_being_unpacked(shards):
    before = sorted(p for p in shards.folder.rglob("*.png"))
    shards.run("index", "pets").succeeded("10 train and 4 val images of 2 classes")
    found = table()
    assert dict(zip(found["path"], found["class"], strict=True)) == {
        f"cats-{split}-{s:04d}.tar/{n:06d}.{ending}": str(n % 2)
        for split, s, numbers, ending in (
            ("train", 0, range(6), "png"),
            ("train", 1, range(6, 10), "jpg"),
            ("val", 0, range(10, 14), "png"),
        )
        for n in numbers
    }
    shards.run("extract", "pets").succeeded("1 computed")
    shards.knn().succeeded("1 computed")
    assert sorted(p for p in shards.folder.rglob("*.png")) == before


def test_every_member_is_read_as_it_was_written(shards):
    root = Shards(find_parts(shards.folder / "shards", ".tar", "here"))
    found = {entry.path: root.read(entry) for entry in root.entries()}
    assert len(found) == 28
    assert found["cats-train-0001.tar/000007.jpg"] == picture(7, "JPEG")
    assert found["cats-val-0000.tar/000013.cls"] == b"1\n"
    beyond = Entry("cats-val-0000.tar/x.png", (1 << 20) * 4, 10)
    with pytest.raises(ProbelineError, match="changed since it was indexed"):
        root.read(beyond)


def test_names_of_classes_beside_the_shards(shards):
    (shards.folder / "shards" / "classnames.txt").write_text("cat\ndog\n")
    shards.run("index", "pets").succeeded()
    assert set(table()["class"]) == {"cat", "dog"}
    (shards.folder / "shards" / "classnames.txt").write_text("cat\n")
    shards.run("index", "pets").refused("fewer classes than there are", "at least 2 lines")


def test_json_says_class_and_group_and_one_shard_is_enough(shards):
    members: dict[str, bytes] = {}
    for n in range(12):
        members[f"a/{n:03d}.rgb.jpg"] = picture(n, "JPEG")
        facts = {"species": "owl" if n % 2 else "jay", "site": n // 3}
        members[f"a/{n:03d}.json"] = json.dumps(facts).encode()
    shard(shards.folder / "one.tar", members)
    shards.params["datasets"]["pets"] |= {
        "path": "one.tar",
        "columns": {"label": "species", "group": "site"},
        "val_fraction": 0.25,
    }
    shards.write()
    shards.run("index", "pets").succeeded("images of 2 classes")
    found = table()
    assert set(found["class"]) == {"owl", "jay"}
    assert set(found["group"]) == {"0", "1", "2", "3"}
    assert found.groupby("group")["split"].nunique().max() == 1


def refused(project, *words: str) -> None:
    project.run("index", "pets").refused(*words)


def test_what_is_not_whole_is_named(shards):
    folder = shards.folder / "shards"
    shard(folder / "cats-val-0001.tar", {"000020.png": picture(1)})
    refused(shards, "1 sample has no class", "cats-val-0001.tar/000020")
    shard(folder / "cats-val-0001.tar", {"000020.cls": b"1"})
    refused(shards, "1 sample has no image")
    shard(folder / "cats-val-0001.tar", {"000020.png": picture(1), "000020.json": b"{,"})
    refused(shards, "is not a JSON object", "000020.json")
    (folder / "cats-val-0001.tar").write_bytes(b"no tar at all" * 100)
    refused(shards, "not an uncompressed tar file")
    (folder / "cats-val-0001.tar").unlink()
    shard(folder / "more.tar", numbered(range(30, 32)))
    refused(shards, "1 file does not say which split it is", "each of the 4 files", "more.tar")


def test_places_without_shards(shards):
    shards.params["datasets"]["pets"]["path"] = "nowhere"
    shards.write()
    refused(shards, "no shards at this path", "nowhere")


@pytest.fixture
def one(project):
    """One shard of 12 samples, whose members but the picture a test gives, as the data set."""

    def make(members, **entry):
        files: dict[str, bytes] = {}
        for n in range(12):
            files[f"{n:03d}.jpg"] = picture(n, "JPEG")
            files |= {f"{n:03d}.{name}": content for name, content in members(n).items()}
        shard(project.folder / "one.tar", files)
        project.params["datasets"] = {
            "pets": {"source": "webdataset", "path": "one.tar", "role": "in_domain", **entry}
        }
        project.write()
        return project.run("index", "pets")

    return make


def label_of(*values):
    """A .json member whose label is each of the values in turn."""
    return lambda n: {"json": json.dumps({"label": values[n % len(values)]}).encode()}


@pytest.mark.parametrize("missing", [None, "", "  ", float("nan")])
def test_a_class_that_is_missing_is_none(one, missing):
    one(label_of("a", "b", missing)).refused("4 samples have no class", "one.tar/002")
    one(lambda n: {}).refused("12 samples have no class")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ([0, 1], ["no single name", "list of 2", "000.json: label"]),
        ({"a": 1}, ["no single name", "mapping"]),
        (0.5, ["no single name", "0.5"]),
        ("a\u0000b", ["U+0000"]),
        ("a\u200b\u200db", ["U+200B"]),
    ],
)
def test_labels_that_are_no_names(one, label, words):
    one(label_of(label, "b")).refused(*words)


def test_lists_and_odd_bytes_in_cls_members(one):
    one(lambda n: {"cls": b"[0, 1]"}).refused("no single name", "list of 2", "000.cls")
    one(lambda n: {"cls": b"\xff\xfe"}).refused("no UTF-8 text", "000.cls")
    one(lambda n: {"cls": b"a\0b"}).refused("U+0000", "000.cls")
    one(lambda n: {"cls": b"1.0" if n % 2 else b"1"}).refused("one number in two ways", "1.0")
    one(lambda n: {"json": b"[" * 100_000}).refused("not a JSON object", "000.json")
    one(lambda n: {"cls": b"null" if n % 2 else b"NA"}).succeeded("of 2 classes")


def test_whole_numbers_are_one_label_however_they_are_written(one):
    one(label_of(1, 1.0, "1", 0)).succeeded("of 2 classes")
    assert set(table()["class"]) == {"0", "1"}
    one(label_of("caf\u00e9", "cafe\u0301 ", "b")).succeeded("of 2 classes")


def test_groups_that_are_missing_are_no_group(one):
    def facts(n):
        return {"json": json.dumps({"label": n % 2, "site": [None, "x", 3.0][n % 3]}).encode()}

    one(facts, columns={"label": "label", "group": "site"}).succeeded()
    found = table().sort_values("path")["group"]
    assert found.fillna("none").tolist() == ["none", "x", "3"] * 4


def test_several_images_in_a_sample(one):
    png = picture(1)
    pictures = [picture(n) for n in range(100, 112)]
    one(lambda n: {"seg.png": png, "cls": b"%d" % (n % 2)}).succeeded()
    assert set(table()["path"].str[-7:]) == {f"{n:03d}.jpg" for n in range(12)}
    one(lambda n: {"png": png, "cls": b"1"}).refused("more than one image", "jpg, png", "columns")
    one(lambda n: {"png": pictures[n], "cls": b"%d" % (n % 2)}, columns={"path": "png"}).succeeded()
    assert set(table()["path"].str[-3:]) == {"png"}
    one(lambda n: {"cls": b"1"}, columns={"path": "png"}).refused("12 samples have no image")
    one(lambda n: {"JPG": png, "cls": b"1"}).refused("two members of one name", "000.JPG")


def test_names_of_classes_that_would_merge_or_are_no_text(one, project):
    def cls(n):
        return {"cls": b"%d" % (n % 2)}

    for text, words in (
        (b"cat\ncat \n", ["two numbers the same name", "cat"]),
        (b"cat\n\ndog\n", ["class name is empty", "line 2"]),
        (b"caf\xe9\ndog\n", ["not UTF-8 text"]),
    ):
        (project.folder / "classnames.txt").write_bytes(text)
        one(cls).refused("classnames.txt", *words)
    (project.folder / "classnames.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n\r\n")
    one(cls).succeeded()
    assert set(table()["class"]) == {"cat", "dog"}


class TestShards(SourceContract):
    def write(self, folder, images):
        for split in {image.split for image in images}:
            members: dict[str, bytes] = {}
            for image in (i for i in images if i.split == split):
                name = f"{image.number:06d}"
                members |= {f"{name}.png": image.data, f"{name}.cls": image.label.encode()}
            shard(folder / f"{split or 'all'}-0000.tar", members)
        return {"source": "webdataset", "path": str(folder)}


def test_no_shard_is_passed_over_unseen(tmp_path):
    shard(tmp_path / "all" / "one.TAR", numbered(range(4)))
    shard(tmp_path / "elsewhere" / "two.tar", numbered(range(10, 14)))
    (tmp_path / "all" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "all" / "._one.tar").write_bytes(b"of a Mac")
    (tmp_path / "all" / "gone.tar").symlink_to("nowhere.tar")
    (tmp_path / "all" / "three.tar.gz").write_bytes(b"x")
    found = Shards(find_parts(tmp_path / "all", ".tar", "here"))
    listing = found.listing()
    shards = {entry.path.rpartition("/")[0] for entry in listing.entries}
    assert shards == {"one.TAR", "linked/two.tar"}
    assert all(found.read(entry) for entry in listing.entries)
    left = {str(passed) for passed in listing.ledger.passed_over()}
    assert left == {
        "1 hidden file, e.g. ._one.tar",
        "1 link that leads nowhere, e.g. gone.tar",
        "1 .gz file, e.g. three.tar.gz",
    }


def test_val_beside_test_is_asked_about(shards):
    shard(shards.folder / "shards" / "cats-test-0001.tar", numbered(range(40, 44)))
    refused(shards, "2 words in the files' names could be the val split", 'leave_out: ["*')
