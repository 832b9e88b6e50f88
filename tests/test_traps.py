"""Faults that other evaluation systems had, as far as no other file of these tests has them.

Elsewhere: number of classes from test labels (test_index_build, test_knn), odd sizes and padding of
the last chunk (test_writer, test_cell), evaluation mode (test_models, test_extraction_runs), val
statistics (test_knn, test_linear), rows matched by id (test_imported), unseeded draws
(test_linear, test_scoring), ties (test_correlation).
"""

from __future__ import annotations

import shutil
import threading
import typing
from types import UnionType

import numpy as np
import pandas as pd
import pytest
import torch
from projects import RESNET, VIT, fill_folder
from pydantic import ValidationError

from cache.cell import Cell
from pipeline.datasets.index import read_index
from pipeline.datasets.samples import entries_of
from pipeline.datasets.sources import dataset_root
from pipeline.embeddings.cells import open_cells
from pipeline.embeddings.loading import BatchLoader
from pipeline.models.transforms import Geometry
from pipeline.project.paths import cell_address, record_path
from pipeline.project.section import Section
from pipeline.study.knn import Knn
from pipeline.study.params import load_study
from pipeline.study.records import settings_of
from pipeline.study.schema import Study


def rows(model: str, split: str = "train") -> np.ndarray:
    return Cell.open(cell_address("pets", model, split)).read().astype(np.float32)


def test_a_skipped_image_is_dropped_from_features_ids_and_labels_alike(project):
    """Trap: rows dropped from X but not from y."""
    fill_folder(project.folder / "images", {"cat": 8, "dog": 8})
    project.prepare()
    index = read_index("pets")
    before = {
        split: dict(zip(index.split(split)["path"], zip(rows("tiny", split), index.labels(split),
                        strict=True), strict=True))
        for split in ("train", "val")
    }  # fmt: skip
    known = before["train"] | before["val"]
    bad = [index.split("train")["path"][2], index.split("val")["path"][1]]
    for path in bad:
        (project.folder / "images" / path).write_bytes(b"no image")
    project.params["datasets"]["pets"]["on_bad_image"] = "skip"
    project.prepare()
    seen = []
    for split in ("train", "val"):
        cell = Cell.open(cell_address("pets", "tiny", split))
        values, labels, ids = cell.read(), cell.labels(), cell.ids()
        assert len(values) == len(labels) == len(ids)
        for row, label, path in zip(values, labels, ids, strict=True):
            features, expected = known[path]
            assert label == expected == (0 if path.startswith("cat/") else 1)
            assert np.linalg.norm(row - features) <= 1e-3 * np.linalg.norm(features)
        seen += ids
    assert sorted(seen) == sorted(set(known) - set(bad))


def test_scores_of_one_setting_are_never_read_as_those_of_another(project):
    """Trap: two settings writing one file."""
    fill_folder(project.folder / "images", {"cat": 10, "dog": 10})
    project.prepare()
    for k in ([3], [5]):
        project.params["knn"]["k"] = k
        project.write()
        # The file of the other k lies there, and is not taken for this one's.
        assert "knn of tiny" in project.run("collect").succeeded("not scored")
        project.knn().succeeded("0 cached, 1 computed")
        project.run("collect").succeeded()
        variants = pd.read_csv("results/scores.csv")["variant"].unique()
        assert variants.tolist() == [f"k{k[0]}_euclidean_distance_none"]


@pytest.mark.parametrize("gone", ["val", "train", "train_view_1"])
def test_one_group_of_several_does_not_stand_for_all(project, gone):
    """Trap: presence judged by one file of several."""
    project.params["extraction"]["views"] = 1
    project.prepare()
    before = project.files("data/embeddings")
    shutil.rmtree(cell_address("pets", "tiny", gone).path)
    project.run("cli", "status").succeeded("embeddings missing")
    project.run("knn").refused("embeddings are missing", gone)
    project.run("extract", "pets").succeeded("0 cached, 1 computed")
    assert project.files("data/embeddings") == before


def test_models_that_trade_their_names_do_not_trade_their_embeddings(project):
    """Trap: a cache shared across models."""
    one, two = VIT, {**VIT, "weights": "random(1)"}
    project.params["models"] = {"a": one, "b": two, "net": RESNET}
    project.prepare()
    before = {name: rows(name) for name in ("a", "b", "net")}
    project.params["models"] = {"a": two, "b": one, "net": RESNET}
    project.write()
    for name in ("a", "b"):
        with pytest.raises(ValueError, match="answer another question"):
            open_cells(load_study(), read_index("pets"), name)
    project.run("extract", "pets").succeeded("a is stale", "b is stale", "computed")
    assert np.array_equal(rows("a"), before["b"])
    assert np.array_equal(rows("b"), before["a"])
    assert np.array_equal(rows("net"), before["net"])


def test_a_network_that_was_set_to_training_is_extracted_in_evaluation_mode(project, monkeypatch):
    """Trap: a backbone left in train mode (BatchNorm drift), from one stage's use to the next."""
    project.params["models"] = {"net": RESNET}
    project.prepare()
    before = rows("net")
    modes = []
    forward = torch.nn.BatchNorm2d.forward

    def look(self, images):
        modes.append(self.training)
        return forward(self, images)

    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", look)
    shutil.rmtree("data/embeddings")
    project.run("extract", "pets").succeeded("1 computed")
    assert modes
    assert not any(modes)
    assert np.array_equal(rows("net"), before)


@pytest.mark.parametrize("count", [9, 16, 17])
def test_each_image_is_one_row_whatever_the_last_batch(project, monkeypatch, count):
    """Trap: last-batch padding or sampler duplicates counted."""
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", "8")
    fill_folder(project.folder / "images", {"cat": count, "dog": 7})
    project.prepare()
    ids = [i for s in ("train", "val") for i in Cell.open(cell_address("pets", "tiny", s)).ids()]
    assert len(ids) == len(set(ids)) == count + 7
    assert sum(len(rows("tiny", s)) for s in ("train", "val")) == count + 7
    assert len({row.tobytes() for s in ("train", "val") for row in rows("tiny", s)}) == count + 7


def test_a_default_that_changes_makes_old_records_stale(project, monkeypatch):
    """Trap: resume keys that leak defaults; k or T defaults that change silently."""
    project.params["knn"] = {"k": [3]}  # all else is left to defaults
    project.prepare()
    study = load_study()
    settings = settings_of(study, "knn")
    for name in ("knn", "neighbors"):
        fields = type(getattr(study, name)).model_fields.items()
        assert settings[name].keys() == {field.serialization_alias or key for key, field in fields}
    spelt_out = study.model_copy(update={"knn": type(study.knn).model_validate(settings["knn"])})
    assert settings_of(spelt_out, "knn") == settings
    project.knn().succeeded("1 computed")
    project.knn().succeeded("1 cached")

    field = Knn.model_fields["weighting"]
    monkeypatch.setattr(field, "default", ["uniform"])
    Knn.model_rebuild(force=True)
    Study.model_rebuild(force=True)
    try:
        project.knn().succeeded("0 cached, 1 computed")
    finally:
        monkeypatch.undo()
        Knn.model_rebuild(force=True)
        Study.model_rebuild(force=True)


class LateRoot:
    """Images that arrive in the opposite order: each waits for its successor."""

    def __init__(self, root, paths) -> None:
        self.root, self.paths = root, paths
        self.read_already = {path: threading.Event() for path in paths}

    def read(self, entry) -> bytes:
        data: bytes = self.root.read(entry)
        place = self.paths.index(entry.path)
        if place % 2 == 0 and place + 1 < len(self.paths):
            self.read_already[self.paths[place + 1]].wait(10)
        self.read_already[entry.path].set()
        return data


def test_images_that_are_decoded_out_of_order_are_rows_in_order(project):
    """Trap: labels read in shuffled order and used as if ordered."""
    project.run("index", "pets").succeeded()
    samples = read_index("pets").split("train")
    paths = [entry.path for entry in entries_of(samples)]
    root = dataset_root("pets", load_study().datasets["pets"])
    geometry = Geometry(16, 1.0, "nearest", "squash")

    def load(source, workers):
        loader = BatchLoader(source, samples, [geometry], workers)
        wanted = [slice(s, min(s + 4, len(paths))) for s in range(0, len(paths), 4)]
        found = list(loader.batches(wanted))
        assert [batch for batch, _ in found] == wanted
        return np.concatenate([pixels[geometry] for _, pixels in found])

    expected = load(root, 0)
    assert len(np.unique(expected.reshape(len(paths), -1), axis=0)) == len(paths)
    assert np.array_equal(load(LateRoot(root, paths), 4), expected)


def test_the_index_has_one_order_and_labels_follow_it(project):
    """Trap: labels read in shuffled order and used as if ordered."""
    project.run("index", "pets").succeeded()
    index = read_index("pets")
    for split in ("train", "val"):
        samples = index.split(split)
        assert samples["path"].tolist() == sorted(samples["path"])
        folders = [path.split("/")[0] for path in samples["path"]]
        assert [index.classes[label] for label in index.labels(split)] == folders


@pytest.mark.parametrize("protocol", ["knn", "linear"])
def test_a_probe_that_fails_leaves_no_score_at_all(project, monkeypatch, protocol):
    """Trap: a bare `except` that turns a failure into accuracy 0."""
    from pipeline.probes import scoring

    project.prepare()
    project.run("neighbors").succeeded()

    def fail(*_arguments, **_options):
        raise FloatingPointError("the solver broke down")

    for name in ("score_rows", "outcome_table"):
        monkeypatch.setattr(f"pipeline.probes.task.{name}", fail)
    assert scoring.score_rows is not fail
    with pytest.raises(FloatingPointError, match="broke down"):
        project.run(protocol)
    assert not record_path(protocol, "pets", "tiny").exists()
    project.run("collect").succeeded(f"not scored: {protocol} of tiny", "0 scores")
    assert pd.read_csv("results/scores.csv").empty


def sections() -> list[type[Section]]:
    def below(kind: type[Section]) -> list[type[Section]]:
        return [k for each in kind.__subclasses__() for k in (each, *below(each))]

    found = [kind for kind in below(Section) if kind is not Study]
    assert len(found) >= 19
    return found


def takes_text(annotation: object) -> bool:
    """Whether a string is a legal value: text itself, or one of some words."""
    if annotation is str:
        return True
    if typing.get_origin(annotation) in (typing.Union, UnionType, typing.Annotated):
        return any(takes_text(part) for part in typing.get_args(annotation))
    return False


@pytest.mark.parametrize("text", ["false", "no", "true", "1"])
def test_no_setting_takes_a_string_for_a_flag_or_a_number(text):
    """Trap: `bool` flags where any string is true."""
    looked_at = 0
    for section in sections():
        for name, field in section.model_fields.items():
            if takes_text(field.annotation) or (section.__name__, name) == ("Report", "target"):
                continue  # of a target that is one data set, its name will do for a list
            with pytest.raises(ValidationError) as caught:
                section.model_validate({name: text})
            looked_at += 1
            assert name in {error["loc"][0] for error in caught.value.errors()}, (section, name)
    assert looked_at > 20
