"""What statistics read of single images is what the stages stored, or a reason in words."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from projects import VIT, fill_folder

from cache.cell import Cell
from cache.records import read_record
from pipeline.datasets.index import read_index
from pipeline.project.paths import NEIGHBORS, cell_address, record_path
from pipeline.results.current import Current
from pipeline.statistics.single_images import StoredImages
from pipeline.study.params import load_study
from pipeline.study.protocol_list import protocol_named
from pipeline.study.transfer import held_out, transferred_knn


def rows_of_manifest(folder):
    """Twenty images of two classes, in turn of three sites."""
    for split, count in (("train", 6), ("val", 4)):
        for name in ("cat", "dog"):
            fill_folder(folder / "own" / split, {name: count}, seed=len(split + name))
            for at in range(count):
                site = "uvw"[at % 3] if split == "train" else ""
                yield f"{split}/{name}/{at:03d}.png,{name},{split},{site}"


@pytest.fixture
def stored(project):
    lines = ["path,label,split,site", *rows_of_manifest(project.folder)]
    (project.folder / "list.csv").write_text("\n".join(lines) + "\n")
    project.params["datasets"] = {
        "pets": {
            "source": "manifest", "path": "own", "manifest": "list.csv", "role": "out_of_domain",
            "columns": {"group": "site"},
        }
    }  # fmt: skip
    project.params["models"] = {"tiny": {**VIT}}
    project.params["linear"] = {"c": [1.0]}
    project.params["transfer"] = {"sources": ["pets"]}
    project.prepare()
    for stage in ("neighbors", "linear", "transfer"):
        project.run(stage).succeeded()
    study = load_study()
    return study, StoredImages(study, Current(study))


def test_they_are_what_the_stages_stored(stored):
    study, images = stored
    index = read_index("pets")
    cells = {s: Cell.open(cell_address("pets", "tiny", s)).read() for s in ("train", "val")}

    variant = next(iter(protocol_named("linear").variants(study)))
    said = images.said(variant, "pets")
    record = read_record(record_path("linear", "pets", "tiny"))
    table = record.outcomes_where("variant", variant.name, ("predicted", "confidence", "rank"))
    assert said.models == ("tiny",)
    assert said.predicted[0].tolist() == table["predicted"].to_pylist()
    np.testing.assert_array_equal(said.confidence[0], table["confidence"].to_numpy())
    hits = said.predicted[0] == images.labels("pets", "val")
    assert hits.tolist() == [rank == 1 for rank in table["rank"].to_pylist()]

    rows = np.array([1, 3, 6])
    np.testing.assert_array_equal(
        images.embeddings("pets", "tiny", rows), cells["val"][rows].astype(np.float32)
    )
    for split, queries in cells.items():
        near = images.nearest("pets", "tiny", split, 2)
        far = ((queries[:, None].astype(float) - cells["train"][None]) ** 2).sum(axis=2)
        if split == "train":
            np.fill_diagonal(far, np.inf)
        assert near.samples.tolist() == list(range(len(queries)))
        np.testing.assert_array_equal(near.indices, np.argsort(far, axis=1)[:, :2])
    assert sorted(set(images.groups("pets", "train"))) == ["u", "v", "w"]
    assert set(images.groups("pets", "val")) == {""}
    assert (images.classes("pets"), images.digests("pets")) == (
        index.classes, index.split("val")["sha256"].tolist()
    )  # fmt: skip

    left = images.left_out("pets", "tiny")
    assert left.samples.tolist() == list(range(12))
    transfer = read_record(record_path("transfer", "pets", "tiny"))
    name = held_out(transferred_knn(study)[0]).name
    [top1] = [s["value"] for s in transfer.scores if (s["variant"], s["metric"]) == (name, "top1")]
    assert left.right.mean() == pytest.approx(top1)

    shutil.rmtree(NEIGHBORS / "pets")
    assert images.nearest("pets", "tiny", "val", 2) == "no neighbours are stored"
    shutil.rmtree(cell_address("pets", "tiny", "val").store)
    for found in (
        images.embeddings("pets", "tiny", rows),
        images.nearest("pets", "tiny", "val", 2),
    ):
        assert "model tiny on data set pets: the embeddings are missing" in found
