"""Folders and tar files: the same images, and files that change under one's feet."""

from __future__ import annotations

import io
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from projects import fill_folder

from cache.errors import ProbelineError
from pipeline.datasets.doors import open_root
from pipeline.datasets.folders import Folder
from pipeline.datasets.roots import Entry
from pipeline.datasets.tars import Tar
from pipeline.fetching.archives import unpack


@pytest.fixture
def both(tmp_path):
    fill_folder(tmp_path / "images", {"cat": 3, "dog": 3, ".hidden": 1})
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(tmp_path / "images", ".")
    return tmp_path / "images", tmp_path / "images.tar"


def test_a_tar_holds_the_same_images_as_its_folder(both):
    folder, tar = (open_root(path, "here") for path in both)
    assert [e.path for e in folder.entries()] == [e.path for e in tar.entries()]
    assert len(tar.entries()) == 6
    for a, b in zip(folder.entries(), tar.entries(), strict=True):
        assert folder.read(a) == tar.read(b)


def test_threads_read_one_tar(both):
    folder, tar = Folder(both[0]), Tar(both[1])
    entries = tar.entries() * 50
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(tar.read, entries))
    expected = {e.path: folder.read(e) for e in folder.entries()}
    assert found == [expected[e.path] for e in entries]


def test_a_member_appended_again_replaces_the_first(both):
    with tarfile.open(both[1], "a") as archive:
        member = tarfile.TarInfo("./cat/000.png")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"new"))
    tar = Tar(both[1])
    (entry,) = (e for e in tar.entries() if e.path == "cat/000.png")
    assert tar.read(entry) == b"new"


@pytest.mark.parametrize("kind", ["text", "gzip", "empty", "cut"])
def test_what_is_no_tar_is_refused(both, kind):
    data = both[1].read_bytes()
    if kind == "gzip":
        import gzip

        data = gzip.compress(data)
    both[1].write_bytes({"text": b"hello" * 300, "empty": b"", "cut": data[:1000]}.get(kind, data))
    with pytest.raises(ProbelineError, match="not an uncompressed tar") as caught:
        Tar(both[1]).entries()
    assert "images.tar" in str(caught.value)
    assert "repack" in caught.value.remedy


def test_a_file_that_vanished_or_changed_is_explained(both):
    folder = Folder(both[0])
    gone, changed = folder.entries()[:2]
    (both[0] / gone.path).unlink()
    (both[0] / changed.path).write_bytes(b"short")
    with pytest.raises(ProbelineError, match="can't be read") as caught:
        folder.read(gone)
    assert gone.path in str(caught.value)
    with pytest.raises(ProbelineError, match="changed since it was indexed"):
        folder.read(changed)


def test_a_tar_that_was_cut_after_indexing_is_explained(both):
    tar = Tar(both[1])
    last = tar.entries()[-1]
    both[1].write_bytes(both[1].read_bytes()[: last.offset + 4])
    with pytest.raises(ProbelineError, match="changed since it was indexed"):
        tar.read(last)


def test_links_inside_a_folder_are_followed_and_dead_ones_left_out(both):
    folder = both[0]
    (folder / "bird").symlink_to(folder / "cat")
    (folder / "dog" / "dead.png").symlink_to(folder / "nowhere.png")
    paths = [e.path for e in Folder(folder).entries()]
    assert "bird/000.png" in paths
    assert "dog/dead.png" not in paths


def test_a_link_to_a_folder_around_it_is_refused_and_not_walked_for_ever(both):
    folder = both[0]
    around = folder.parent / "elsewhere"
    around.mkdir()
    (around / "back").symlink_to(folder)
    for link, target in (("self", "."), ("up", ".."), ("cat/round", around)):
        (folder / link).symlink_to(target)
        with pytest.raises(ProbelineError, match="leads back") as caught:
            Folder(folder).entries()
        assert link.split("/")[0] in caught.value.place
        (folder / link).unlink()
    (folder / "again").symlink_to(folder / "cat")  # twice the same, but it ends
    assert len(Folder(folder).entries()) > 0


def test_places_that_hold_nothing_usable(tmp_path):
    (tmp_path / "x.rar").write_bytes(b"PK")
    for name, word in (("nowhere", "does not exist"), ("x.rar", "no images at this path")):
        with pytest.raises(ProbelineError, match=word):
            open_root(tmp_path / name, "here")
    assert Entry("a", 0, 1) == Entry("a", 0, 1)


def cut_between_members(data: bytes, headers: list[int]) -> bytes:
    return data[: headers[4]]


def spoilt_header(data: bytes, headers: list[int]) -> bytes:
    spoilt = bytearray(data)
    spoilt[headers[4] + 150] ^= 0xFF
    return bytes(spoilt)


def two_in_one(data: bytes, headers: list[int]) -> bytes:
    return data + data


@pytest.mark.parametrize("spoil", [cut_between_members, spoilt_header, two_in_one])
def test_a_tar_of_which_members_would_be_missing_unseen_is_refused(both, spoil):
    with tarfile.open(both[1]) as archive:
        headers = [member.offset for member in archive]
    both[1].write_bytes(spoil(both[1].read_bytes(), headers))
    with pytest.raises(ProbelineError, match="not a whole tar file") as caught:
        Tar(both[1]).listing()
    assert caught.value.remedy
    target = both[1].parent / "unpacked"
    with pytest.raises(ProbelineError, match="damaged"):
        unpack(both[1], target)


def test_a_tar_whose_writer_was_stopped_is_read_after_what_the_message_says(both):
    with tarfile.open(both[1]) as archive:
        end = archive.getmembers()[-1]
    size = -(-end.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    both[1].write_bytes(both[1].read_bytes()[: end.offset_data + size])
    with pytest.raises(ProbelineError, match="tar -rf FILE -T /dev/null"):
        Tar(both[1]).listing()
    subprocess.run(["tar", "-rf", both[1], "-T", "/dev/null"], check=True)
    assert len(Tar(both[1]).entries()) == 6


def test_what_fills_up_the_last_block_is_no_second_archive(both):
    both[1].write_bytes(both[1].read_bytes() + b"\0" * 3000 + b"tape" * 700)
    assert len(Tar(both[1]).entries()) == 6


@pytest.mark.parametrize("name", ["images.TAR", "Images.Tar"])
def test_an_archive_may_be_spelled_in_capitals(both, name):
    other = both[1].rename(both[1].with_name(name))
    assert len(open_root(other, "here").entries()) == 6


@pytest.mark.parametrize(
    ("name", "word"),
    [("a.tar.gz", "unpack"), ("a.7z", "unpack"), ("a.csv", "manifest: a.csv"),
     ("a.parquet", "source: parquet"), ("a.JPG", "single image"), ("a.doc", "correct `path`")],
)  # fmt: skip
def test_what_a_file_is_that_is_no_data_set_is_said(tmp_path, name, word):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ProbelineError, match=word):
        open_root(tmp_path / name, "here")
