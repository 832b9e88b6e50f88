"""The user's folder is watched: what came, changed and went since the index was made."""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from pathlib import Path

import pytest
from projects import draw, fill_folder

from pipeline.datasets import watching
from pipeline.datasets.watching import look, look_closely
from pipeline.project.paths import MACHINE, index_path
from pipeline.study.params import load_study


@pytest.fixture
def pets(project):
    """Indexed long after its images were written: no two times of change are equal by chance."""
    for path in (project.folder / "images").rglob("*"):
        os.utime(path, ns=(10**18, 10**18))
    project.run("index", "pets").succeeded()
    return project


def found(name="pets", **options):
    return look(name, load_study().datasets[name], **options)


def counts(**options):
    seen = found(**options)
    return len(seen.new), len(seen.changed), len(seen.gone)


def test_nothing_has_changed(pets):
    seen = found()
    assert not seen.differs
    assert (seen.looked, seen.of) == (10, 10)
    said = pets.run("cli", "status").succeeded()
    assert "images:" not in said
    pets.run("cli", "datasets", "check").succeeded("pets: as indexed, 10 files")
    assert pets.run("cli", "datasets", "check", "--quiet").succeeded() == ""


def test_what_came_changed_and_went_is_counted(pets):
    draw(77).save("images/cat/new.png")
    fill_folder(Path("images"), {"fish/fresh": 2})
    draw(78, (21, 16)).save("images/dog/000.png")
    Path("images/cat/004.png").unlink()
    said = pets.run("cli", "status").succeeded("images:")
    assert "pets: 3 new, 1 changed, 1 gone (e.g. cat/new.png" in said
    assert "`dvc repro -f index@pets`" in said
    pets.run("cli", "datasets", "check", "--quiet").succeeded("warning: pets: 3 new, 1 changed")
    pets.run("index", "pets")
    shutil.rmtree("images/fish")
    pets.run("index", "pets").succeeded()
    assert counts() == (0, 0, 0)


def test_other_content_of_the_same_size_is_seen_by_its_time(pets):
    path = Path("images/cat/000.png")
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    assert counts() == (0, 1, 0)
    assert look_closely("pets", load_study().datasets["pets"]).changed == ["cat/000.png"]


def test_a_file_that_was_only_touched_is_read_once_and_then_known(pets):
    os.utime("images/cat/000.png")
    assert counts() == (0, 1, 0)
    pets.run("cli", "datasets", "check").succeeded("pets: as indexed")
    assert counts() == (0, 0, 0)


@pytest.mark.parametrize("name", [".hidden.png", "@eaDir/x.png", "notes.txt", ".git/x.png"])
def test_what_is_no_image_is_not_new(pets, name):
    path = Path("images/cat") / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    assert counts() == (0, 0, 0)


def test_images_beyond_the_limit_and_bad_ones_are_known(project):
    Path("images/cat/bad.png").write_bytes(b"no image")
    project.params["datasets"]["pets"] |= {"limit_per_class": 2, "on_bad_image": "skip"}
    project.write()
    project.run("index", "pets").succeeded()
    assert counts() == (0, 0, 0)
    draw(9).save("images/dog/new.png")
    assert counts() == (1, 0, 0)


def test_an_index_of_a_colleague_is_compared_by_sizes(pets):
    shutil.rmtree(MACHINE)
    os.utime("images/cat/000.png")
    assert counts() == (0, 0, 0)
    draw(77).save("images/cat/new.png")
    draw(78, (21, 16)).save("images/dog/000.png")
    Path("images/cat/004.png").unlink()
    assert counts() == (1, 1, 1)


def test_what_was_seen_belongs_to_one_index(pets):
    """`git checkout` of another dvc.lock, then `dvc checkout`: another index, the same folder."""
    kept = index_path("pets").read_bytes()
    Path("images/cat/004.png").unlink()
    pets.run("index", "pets").succeeded()
    assert counts() == (0, 0, 0)
    index_path("pets").write_bytes(kept)
    assert counts() == (0, 0, 1)


def test_a_manifest_and_the_images_that_it_names(project):
    lines = [f"{c}/{n:03d}.png,{c}" for c in ("cat", "dog") for n in range(5)]
    Path("images/list.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    project.params["datasets"]["pets"] |= {"source": "manifest", "manifest": "list.csv"}
    project.write()
    project.run("index", "pets").succeeded()
    draw(5).save("images/cat/unnamed.png")
    assert counts() == (0, 0, 0)
    Path("images/list.csv").write_text("\n".join(["path,label", *lines[:-1]]) + "\n")
    Path("images/cat/001.png").unlink()
    seen = found()
    assert (seen.new, seen.changed, seen.gone) == ([], ["list.csv"], ["cat/001.png"])


def test_a_tar_file_counts_as_one(project):
    with tarfile.open("pets.tar", "w") as archive:
        archive.add("images", arcname=".")
    project.params["datasets"]["pets"]["path"] = "pets.tar"
    project.write()
    project.run("index", "pets").succeeded()
    draw(1).save("beside.png")
    assert counts() == (0, 0, 0)
    os.utime("pets.tar")
    assert found().changed == ["pets.tar"]
    Path("pets.tar").unlink()
    assert found().gone == ["pets.tar"]


@pytest.mark.parametrize(("rows", "at_once"), [(4, 256), (100, 4)])
def test_what_there_was_no_time_for_is_said(project, monkeypatch, rows, at_once):
    monkeypatch.setattr(watching, "_ROWS", rows)
    monkeypatch.setattr(watching, "_AT_ONCE", at_once)
    project.run("index", "pets").succeeded()
    ticks = iter([*[0.0] * (4 if rows == 4 else 3), *[1.0] * 9])
    monkeypatch.setattr(watching.time, "monotonic", lambda: next(ticks))
    seen = found(until=0.5)
    assert (seen.looked, seen.of, seen.differs) == (8, 10, False)
    assert "8 of 10 files were looked at, `probeline datasets check`" in str(seen)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_without_time_folders_that_changed_are_looked_at(project, monkeypatch, rows):
    monkeypatch.setattr(watching, "_ROWS", rows)
    project.run("index", "pets").succeeded()
    draw(77).save("images/cat/new.png")
    fill_folder(Path("images"), {"fish/fresh": 2})
    Path("images/dog/004.png").unlink()
    seen = found(until=time.monotonic() - 1)
    assert (seen.new, seen.gone) == (
        ["cat/new.png", "fish/fresh/000.png", "fish/fresh/001.png"], ["dog/004.png"]
    )  # fmt: skip
    assert (seen.looked, seen.of) == (10, 10)
    Path("images/bird").mkdir()
    project.run("index", "pets")
    assert found(until=time.monotonic() - 1).looked <= 10


def test_names_of_files_speak_to_no_terminal(pets):
    draw(1).save("images/cat/\x1b[31mred.png")
    assert "(e.g. cat/\\x1b[31mred.png)" in str(found())


def test_images_that_are_not_here_are_said(pets):
    shutil.move("images", "elsewhere")
    pets.run("cli", "status").succeeded("not on this machine, not looked at: pets")
    pets.run("cli", "datasets", "check").succeeded("no images to look at here: images is not there")


def test_a_link_that_leads_back_is_no_end_of_it(pets):
    Path("images/cat/again").symlink_to("../..")
    new, changed, gone = counts()  # the link is another way to the same files, once
    assert (changed, gone) == (0, 0)
    assert new <= 10


def test_nothing_of_it_reaches_git_or_dvc(pets):
    assert (MACHINE / ".gitignore").read_text() == "*\n"
    seen = list((MACHINE / "seen").iterdir())
    assert [path.name for path in seen] == ["pets.parquet"]
    before = index_path("pets").read_bytes()
    os.utime("images/cat/000.png")
    pets.run("index", "pets").succeeded()
    assert index_path("pets").read_bytes() == before


def test_an_index_that_left_the_study_is_put_aside_and_comes_back(pets):
    pets.params["datasets"]["more"] = dict(pets.params["datasets"]["pets"])
    pets.write()
    pets.run("index", "more").succeeded()
    kept = index_path("pets").read_bytes()
    sets = pets.params["datasets"]
    only = {"more": sets["more"]}
    pets.params["datasets"] = only
    pets.write()
    pets.run("study").succeeded("the index of pets is kept aside")
    names = {path.name for path in index_path("pets").parent.iterdir()}
    assert names == {".folder", "more.parquet"}
    pets.params["datasets"] = sets
    pets.write()
    pets.run("study").succeeded()
    assert index_path("pets").read_bytes() == kept
    assert counts() == (0, 0, 0)


def test_a_damaged_memory_of_what_was_there_stops_nobody(pets):
    path = MACHINE / "seen" / "pets.parquet"
    whole = path.read_bytes()
    for at in range(0, len(whole), 23):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        assert found().of in (0, 10), at
    path.write_bytes(b"")
    assert counts() == (0, 0, 0)  # by the index alone


def test_looking_makes_no_folder_of_the_machine(pets):
    shutil.rmtree(MACHINE)
    pets.run("cli", "status").succeeded()
    assert not MACHINE.exists()
