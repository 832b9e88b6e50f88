"""What is in a folder or tar file and is no image: counted, named, and never a lost class."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest
from projects import draw, fill_folder

from cache.errors import ProbelineError
from pipeline.datasets import folders
from pipeline.datasets.folders import Folder
from pipeline.datasets.index import read_index, write_index
from pipeline.datasets.indexing import build_index
from pipeline.datasets.ledger import Ledger, Reason, describe
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root, list_source
from pipeline.datasets.tars import Tar
from pipeline.project.paths import index_path


def dataset(**entry) -> Dataset:
    return Dataset(**{"source": "folder", "path": "images", "role": "in_domain", **entry})


def counts(path: Path, **entry) -> dict[str, int]:
    of = dataset(path=str(path), **entry)
    return {p.what: p.count for p in list_source("pets", of, dataset_root("pets", of)).passed_over}


def refused(path: Path, **entry) -> str:
    of = dataset(path=str(path), **entry)
    with pytest.raises(ProbelineError) as caught:
        list_source("pets", of, dataset_root("pets", of))
    assert caught.value.remedy
    str(caught.value).encode()
    return str(caught.value)


@pytest.fixture
def images(tmp_path) -> Path:
    fill_folder(tmp_path / "images", {"cat": 4, "dog": 4})
    return tmp_path / "images"


def as_tar(folder: Path) -> Path:
    with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
        archive.add(folder, ".")
    return folder.with_suffix(".tar")


def test_nothing_is_passed_over_where_there_are_images_alone(images):
    assert counts(images) == {}
    assert counts(as_tar(images)) == {}


JUNK = {
    "notes.txt": ".txt file",
    "cat/raw.DNG": ".dng file",
    "cat/noending": "file without an ending",
    "cat/.DS_Store": "hidden file",
    "cat/._000.png": "hidden file",
    "Thumbs.db": "file of a system (Thumbs.db …)",
    "dog/desktop.ini": "file of a system (Thumbs.db …)",
    "cat/@eaDir/000.png/SYNOPHOTO_THUMB_XL.jpg": "folder of a system (@eaDir …)",
    "__MACOSX/cat/000.png": "folder of a system (@eaDir …)",
    ".thumbnails/cat.png": "hidden folder",
    "cat/.ipynb_checkpoints/000-checkpoint.png": "hidden folder",
    "dog/#recycle/old.png": "folder of a system (@eaDir …)",
}


@pytest.mark.parametrize(("path", "what"), JUNK.items())
@pytest.mark.parametrize("tar", [False, True])
def test_each_kind_of_other_file_is_counted_and_is_no_image(images, path, what, tar):
    (images / path).parent.mkdir(parents=True, exist_ok=True)
    draw(0).save(images / path, "PNG")  # whatever it is called
    root = as_tar(images) if tar else images
    assert counts(root) == {what: 1}
    of = dataset(path=str(root))
    listed = list_source("pets", of, dataset_root("pets", of))
    assert len(listed.samples) == 8
    assert path.startswith(listed.passed_over[0].example)


def test_all_kinds_at_once_and_the_same_in_a_tar(images):
    for path in JUNK:
        (images / path).parent.mkdir(parents=True, exist_ok=True)
        (images / path).write_bytes(b"x")
    found = counts(images)
    assert sum(found.values()) == len(JUNK)
    assert found["hidden files"] == found["hidden folders"] == 2
    assert found["folders of systems (@eaDir …)"] == 3
    assert counts(as_tar(images)) == found


def test_a_dead_link_and_what_is_no_file(images):
    for number in range(3):
        (images / "cat" / f"dead{number}.png").symlink_to("/nowhere/at/all")
    (images / "dog" / "itself.png").symlink_to("itself.png")
    os.mkfifo(images / "dog" / "pipe.png")
    assert counts(images) == {"links that lead nowhere": 4, "pipe, socket or device": 1}


def test_links_inside_a_tar_lead_to_their_images(images):
    os.link(images / "cat" / "000.png", images / "dog" / "hard.png")
    (images / "dog" / "soft.png").symlink_to("../cat/001.png")
    (images / "dog" / "dead.png").symlink_to("../cat/999.png")
    path = as_tar(images)
    tar = Tar(path)
    found = {e.path: tar.read(e) for e in tar.entries()}
    with tarfile.open(path) as archive:
        assert (
            archive.getmember("./dog/hard.png").islnk()
            or archive.getmember("./cat/000.png").islnk()
        )
    assert found["dog/hard.png"] == found["cat/000.png"] == (images / "cat/000.png").read_bytes()
    assert found["dog/soft.png"] == found["cat/001.png"]
    assert counts(path) == {"link to nothing in the tar file": 1}
    assert counts(images) == {"link that leads nowhere": 1}


def test_links_in_a_circle_and_devices_inside_a_tar(tmp_path):
    fill_folder(tmp_path / "images", {"cat": 2, "dog": 2})
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(tmp_path / "images", ".")
        for name, target in (("cat/a.png", "b.png"), ("cat/b.png", "a.png")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        device = tarfile.TarInfo("dog/null.png")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    found = counts(tmp_path / "images.tar")
    assert found == {"links to nothing in the tar file": 2, "pipe, socket or device": 1}


def test_sparse_members_are_not_read_as_what_they_are_not(tmp_path):
    fill_folder(tmp_path / "images", {"cat": 2, "dog": 2})
    with tarfile.open(tmp_path / "images.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(tmp_path / "images", ".")
        sparse = tarfile.TarInfo("cat/sparse.png")
        sparse.type = tarfile.GNUTYPE_SPARSE
        archive.addfile(sparse)
    assert counts(tmp_path / "images.tar") == {"sparse member of the tar file": 1}


def test_what_is_left_out_on_purpose(images):
    shutil.copytree(images / "cat", images / "drafts")
    (images / "cat" / "mask_000.png").write_bytes(b"x")
    for tar in (False, True):
        root = as_tar(images) if tar else images
        of = dataset(path=str(root), leave_out=["drafts", "mask_*", "dog/000.png"])
        listed = list_source("pets", of, dataset_root("pets", of))
        assert set(listed.samples["class"]) == {"cat", "dog"}
        assert len(listed.samples) == 7
        (only,) = listed.passed_over
        assert (only.what, only.count) == ("paths that `leave_out` names", 3)


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("tar", [False, True])
@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ([], "empty"), (["a.txt"], "1 .txt file"), (["a.dcm", "b.dcm"], "2 .dcm files"),
        ([".hidden.png"], "1 hidden file"), (["link"], "1 link"), (["@eaDir/a.png"], "1 folder of"),
    ],
)  # fmt: skip
def test_a_class_without_an_image_is_an_error_that_names_it(tmp_path, splits, tar, holds, said):
    root = tmp_path / "images"
    for split in ("train", "val") if splits else (".",):
        fill_folder(root / split, {"cat": 2, "dog": 2})
        (root / split / "green").mkdir()
        for name in holds:
            path = root / split / "green" / name
            path.parent.mkdir(exist_ok=True)
            if name == "link":
                path.symlink_to("/nowhere")
            else:
                path.write_bytes(b"x")
    message = refused(as_tar(root) if tar else root)
    assert "1 class folder holds no image" in message
    assert "green" in message
    assert said in message
    # What makes it fine:
    fine = dataset(path=str(as_tar(root) if tar else root), leave_out=["green"])
    assert set(list_source("pets", fine, dataset_root("pets", fine)).samples["class"]) == {
        "cat", "dog",
    }  # fmt: skip


def test_a_class_that_one_split_has_is_not_lost(tmp_path):
    fill_folder(tmp_path / "images" / "train", {"cat": 2, "dog": 2, "green": 1})
    fill_folder(tmp_path / "images" / "val", {"cat": 2, "dog": 2})
    (tmp_path / "images" / "val" / "green").mkdir()
    assert counts(tmp_path / "images") == {"empty folder": 1}


def test_folders_beside_the_splits_are_no_classes(tmp_path):
    for split in ("train", "val"):
        fill_folder(tmp_path / "images" / split, {"cat": 2, "dog": 2})
    (tmp_path / "images" / "annotations").mkdir()
    (tmp_path / "images" / "annotations" / "all.xml").write_text("<a/>")
    assert counts(tmp_path / "images") == {".xml file": 1}


def test_what_may_not_be_read_is_an_error_or_counted(images, monkeypatch):
    (images / "cat" / "secret").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(folders.os, "scandir", refuse)
    message = refused(images)
    assert "1 folder that can't be read" in message
    assert "cat/secret" in message
    assert counts(images, on_bad_image="skip") == {"folder that can't be read": 1}


def test_heic_files_need_their_package_and_say_so(images, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.sources.can_read_heif", lambda: False)
    for suffix in (".HEIC", ".heif"):
        (images / "cat" / f"telephone{suffix}").write_bytes(b"\0\0\0\x18ftypheic")
    message = refused(images)
    assert "2 HEIC images need the package `pillow-heif`" in message
    assert ".[heif]" in message
    fine = counts(images, leave_out=["*.HEIC", "*.heif"])
    assert fine == {"paths that `leave_out` names": 2}


def test_the_ledger_is_sealed_beside_the_index_and_old_indexes_have_none(project):
    write_index(build_index("pets", dataset()))
    plain = index_path("pets").read_bytes()
    assert b"passed_over" not in plain  # the bytes of before
    assert b"grey" not in plain
    (project.folder / "images" / "notes.txt").write_text("x")
    (project.folder / "images" / "cat" / "dead.png").symlink_to("/nowhere")
    built = build_index("pets", dataset())
    write_index(built)
    read = read_index("pets")
    assert read.passed_over == built.passed_over
    assert [p.count for p in read.passed_over] == [1, 1]
    assert read.warnings == ("left out: 1 link that leads nowhere, e.g. cat/dead.png",)
    assert read.notes == ("left out: 1 .txt file, e.g. notes.txt",)
    for split in ("train", "val"):
        index_path("pets").write_bytes(plain)
        assert read_index("pets").samples_digest(split) == built.samples_digest(split)
    assert read_index("pets").said == ()


def test_every_command_says_what_was_left_out(project):
    (project.folder / "images" / "cat" / "dead.png").symlink_to("/nowhere")
    (project.folder / "images" / "cat" / "scan.dcm").write_bytes(b"x")
    project.write()
    project.params["datasets"]["pets"]["limit_per_class"] = 2
    project.write()
    words = ("1 link that leads nowhere", "1 .dcm file", "cat/scan.dcm")
    words = (*words, " images beyond `limit_per_class`, e.g. cat/0")
    project.run("cli", "plan").succeeded("listed", "pets: left out", *words)
    assert "warning: left out" in project.run("index", "pets").succeeded(*words)
    project.run("cli", "datasets", "check", "pets").succeeded(*words)
    project.run("cli", "datasets").succeeded(*words)
    project.run("cli", "status").succeeded("pets: left out", *words)
    project.run("cli", "plan").succeeded("indexed", "pets: left out", *words)


def test_the_limit_counts_what_it_leaves_out_and_expected_counts_are_of_what_was_there(project):
    fill_folder(project.folder / "more" / "train", {"cat": 5, "dog": 3})
    fill_folder(project.folder / "more" / "val", {"cat": 4, "dog": 2}, seed=9)
    of = {"path": "more", "limit_per_class": 2}
    index = build_index("more", dataset(**of, expected={"train": 8, "val": 6, "classes": 2}))
    assert [(p.what, p.count) for p in index.passed_over] == [
        ("images beyond `limit_per_class`", 8 + 6 - 4 - 4)
    ]
    assert not index.warnings  # on purpose
    kept = set(index.table["path"])
    assert index.passed_over[0].example not in kept
    build_index("more", dataset(**of, expected={"train": 4, "val": 4}))  # as it was written before
    with pytest.raises(ProbelineError, match="other counts") as caught:
        build_index("more", dataset(**of, expected={"train": 9}))
    assert caught.value.found == "8 train, 4 within the limit"
    write_index(index)
    assert read_index("more").passed_over == index.passed_over


def test_a_hostile_name_can_be_printed_and_stored(images):
    (images / "cat" / "two\nlines.txt").write_bytes(b"x")
    (images / "cat" / os.fsdecode(b"\xff.txt")).write_bytes(b"x")
    of = dataset(path=str(images))
    (only,) = list_source("pets", of, dataset_root("pets", of)).passed_over
    assert only.count == 2
    str(only).encode()
    assert "\n" not in str(only)


def test_counts_do_not_grow_with_the_files(images):
    ledger = Ledger()
    for number in range(1000):
        ledger.add(Reason("odd file", "odd files"), f"train/cat/{number % 7}/{number}.odd")
    assert sum(len(folders) for folders in ledger._found.values()) == 1
    assert describe(ledger.passed_over()) == "left out: 1,000 odd files, e.g. train/cat/0/0.odd"
    assert ledger.passed_over("train/cat")[0].count == 1000
    assert ledger.passed_over("train/ca") == ()


def test_a_folder_that_is_gone_is_no_empty_data_set(tmp_path):
    with pytest.raises(ProbelineError, match="can't be read"):
        Folder(tmp_path / "gone").entries()


def test_images_that_a_table_does_not_name_and_rows_that_a_filter_drops_are_counted(images):
    rows = [f"cat/00{n}.png,cat,a" for n in range(3)] + [f"dog/00{n}.png,dog,b" for n in range(4)]
    (images / "list.csv").write_text("path,label,site\n" + "\n".join(rows) + "\n")
    table = {"source": "manifest", "manifest": "list.csv"}
    assert counts(images, **table) == {"image that the data set's list leaves out": 1}
    assert counts(images, **table, filter={"site": "b"}) == {
        "image that the data set's list leaves out": 1,
        "rows that `filter` leaves out": 3,
    }
    both = {"site": ["a", "b"], "label": "cat"}  # one filter after the other
    assert counts(images, **table, filter=both)["rows that `filter` leaves out"] == 4
    of = dataset(path=str(images), **table, filter={"site": ["b", "c", "d"]})
    said = list_source("pets", of, dataset_root("pets", of)).remarks
    assert said == ("filter: 2 values are in no row of column site, e.g. 'c'",)


def test_a_filtered_row_is_counted_however_it_spells_its_path(images):
    rows = [f"{images}/cat/00{n}.png,cat,a" for n in range(4)]
    rows += [f"dog\\00{n}.png ,dog,b" for n in range(4)] + ["gone/1.png,dog,c"]
    (images / "list.csv").write_text("path,label,site\n" + "\n".join(rows) + "\n")
    table = {"source": "manifest", "manifest": "list.csv"}
    assert counts(images, **table, filter={"site": "a"}) == {"rows that `filter` leaves out": 5}


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ({"source": "folder", "path": "x", "filter": {"site": "a"}}, "no `filter` with"),
        ({"source": "webdataset", "path": "x", "filter": {"site": "a"}}, "no `filter` with"),
        ({"source": "imported", "limit_per_class": 3}, "no `limit_per_class` with"),
    ],
)
def test_a_setting_that_would_choose_nothing_is_refused(entry, word):
    with pytest.raises(ValueError, match=word):
        Dataset(role="in_domain", **entry)
