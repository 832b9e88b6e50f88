"""What can't be taken is told, and nothing is left of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cache.errors import ProbelineError
from cache.lock import Lock
from cache.records import read_record, write_record
from pipeline.datasets.index import read_index
from pipeline.project.paths import record_path
from pipeline.study.params import load_study
from pipeline.taken.choosing import choose
from pipeline.taken.classifier import load


def val_images(study):
    return [study.folder / "images" / path for path in read_index("pets").split("val")["path"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tinny"], ["did you mean tiny?"]),
        (["tiny", "--dataset", "pet"], ["did you mean pets?"]),
        (["tiny", "--head", "logistic_nome"], ["did you mean logistic_none"]),
        (["tiny", "--head", "sgd_cached"], ["has no such head"]),
    ],
)
def test_what_the_study_does_not_have_is_refused(study, tmp_path, arguments, words):
    model, *options = arguments
    study.run("cli", "take", model, str(tmp_path / "out"), *options).refused(*words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "head", "words"),
    [
        ({"datasets": {"pets": {"test_only": True}}}, "linear", "no data set has train images"),
        ({"models": {"tiny": {"weights": "imported"}}}, "linear", "only its embeddings are here"),
        (
            {"models": {"tiny": {"architecture": "torchhub:a/b:c@d"}}},
            "linear",
            "which is not copied",
        ),
        ({"linear": {"c": [7.0]}}, "linear", "no current record of linear probe"),
        ({"linear": {"heads": ["sgd"]}}, "linear", "gradient descent can't be taken"),
    ],
)
def test_what_can_not_be_taken_is_told(study, change, head, words):
    said = load_study()
    for section, of in change.items():
        entries = getattr(said, section)
        if section == "linear":
            changed = entries.model_copy(update=of)
        else:
            changed = {
                name: entry.model_copy(update=of.get(name, {})) for name, entry in entries.items()
            }
        said = said.model_copy(update={section: changed})
    with pytest.raises(ProbelineError, match=words):
        choose(said, "tiny", None, head)


def test_a_data_set_of_test_images_is_told(study):
    said = load_study()
    only = said.datasets["pets"].model_copy(update={"test_only": True})
    said = said.model_copy(update={"datasets": {**said.datasets, "sketches": only}})
    with pytest.raises(ProbelineError, match="has test images only"):
        choose(said, "tiny", "sketches", "linear")
    assert choose(said, "tiny", None, "linear").dataset == "pets"


def test_nothing_is_written_over(study, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    study.run("cli", "take", "tiny", str(out)).refused("is there already")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    study.run("cli", "take", "tiny", str(tmp_path / "link")).refused("is there already")


def test_a_fit_that_says_something_else_is_refused(study, tmp_path):
    path = record_path("linear", "pets", "tiny")
    kept, record = path.read_bytes(), read_record(path)
    table = record.outcomes()
    wrong = (table["predicted"].to_numpy() + 1) % 3
    place = table.column_names.index("predicted")
    write_record(
        path,
        key=record.key,
        scores=record.scores,
        outcomes=table.set_column(place, "predicted", [wrong]),
    )
    try:
        study.run("cli", "take", "tiny", str(tmp_path / "out")).refused("is not the one of the rep")
    finally:
        path.write_bytes(kept)
    assert not list(tmp_path.iterdir())


def test_images_that_are_gone_are_told(study, tmp_path):
    images = study.folder / "images"
    images.rename(tmp_path / "gone")
    try:
        said = study.run("cli", "take", "tiny", str(tmp_path / "out")).succeeded("14 test images")
    finally:
        (tmp_path / "gone").rename(images)
    assert "note: no image was predicted from its file" in said


def test_other_images_in_their_place_are_told(study, tmp_path):
    first = val_images(study)[0]
    kept = first.read_bytes()
    first.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        said = study.run("cli", "take", "tiny", str(tmp_path / "out")).succeeded()
    finally:
        first.write_bytes(kept)
    assert "note: no image was predicted from its file: 1 of 14 is not the one" in said


def test_other_features_than_the_cached_ones_are_refused(study, tmp_path, monkeypatch):
    def darkened(*arguments, **options):
        taken = load(*arguments, **options)
        taken._mean += 60
        return taken

    monkeypatch.setattr("pipeline.taken.taking.load", darkened)
    study.run("cli", "take", "tiny", str(tmp_path / "out")).refused("gives other features")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_taken_over_and_two_at_once_are_refused(study, tmp_path):
    left = tmp_path / ".out.partial" / "taken"
    left.mkdir(parents=True)
    (left / "half.safetensors").write_bytes(b"1")
    with Lock(left.parent / "lock", "another"):
        study.run("cli", "take", "tiny", str(tmp_path / "out")).refused("another process")
        assert (left / "half.safetensors").exists()
    study.run("cli", "take", "tiny", str(tmp_path / "out")).succeeded()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (tmp_path / "out" / "half.safetensors").exists()


def test_what_can_not_be_cleared_beside_a_whole_folder_is_no_failure(study, tmp_path, monkeypatch):
    """Else it would say that nothing was written, and refuse to write over it the next time."""
    release = Lock.release

    def failing(self):
        release(self)
        if self.path.parent.name == ".out.partial":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Lock, "release", failing)
    study.run("cli", "take", "tiny", str(tmp_path / "out")).succeeded("tiny for pets")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    load(tmp_path / "out")


def test_a_lock_that_can_not_be_removed_is_named_and_cleared_by_the_next(
    study, tmp_path, monkeypatch, caplog
):
    out, unlink = tmp_path / "out", Path.unlink

    def refused(path, **options):
        if path.parent.name == ".out.partial":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        study.run("cli", "take", "tiny", str(out)).succeeded("tiny for pets")
    assert ".out.partial: can't be removed (Permission denied)" in caplog.text
    assert (tmp_path / ".out.partial/lock").exists()
    with Lock(tmp_path / ".out.partial/lock", "a live process"):
        study.run("cli", "take", "tiny", str(out)).refused("is there already")
        assert (tmp_path / ".out.partial/lock").exists()
    (tmp_path / ".out.partial/lock").write_text("of a process that is no more")
    study.run("cli", "take", "tiny", str(out)).refused("is there already")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
