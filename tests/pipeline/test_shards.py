"""WebDataset shards, read where they lie."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from projects import draw

from cache.errors import ProbelineError
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
    root = Shards(shards.folder / "shards", "here")
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
    refused(shards, "1 samples have no class", "cats-val-0001.tar/000020")
    shard(folder / "cats-val-0001.tar", {"000020.cls": b"1"})
    refused(shards, "1 samples have no image")
    shard(folder / "cats-val-0001.tar", {"000020.png": picture(1), "000020.json": b"{,"})
    refused(shards, "is not a JSON object", "000020.json")
    (folder / "cats-val-0001.tar").write_bytes(b"no tar at all" * 100)
    refused(shards, "not an uncompressed tar file")
    (folder / "cats-val-0001.tar").unlink()
    shard(folder / "more.tar", numbered(range(30, 32)))
    refused(shards, "1 of 4 shards do not say which split", "more.tar")


def test_places_without_shards(shards):
    shards.params["datasets"]["pets"]["path"] = "nowhere"
    shards.write()
    refused(shards, "no shards at this path", "nowhere")
