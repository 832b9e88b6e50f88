"""Hostile archives: nothing is written outside the target folder, and nothing without bounds."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import DiskFullError
from pipeline.fetching import archives
from pipeline.fetching.archives import ArchiveError, Limits, unpack

FILES = {"a/1.txt": b"one", "a/b/2.txt": b"", "3.bin": bytes(range(256)) * 40}


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o777
    return info


def make_tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for each in members:
            if isinstance(each, tuple):
                info = member(each[0])
                info.size = len(each[1])
                archive.addfile(info, io.BytesIO(each[1]))
            else:
                archive.addfile(each)
    return path


def make_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file() or p.is_symlink())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


@pytest.mark.parametrize(
    ("name", "mode"),
    [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tgz", "w:gz"), ("x.tar.bz2", "w:bz2"),
     ("x.tar.xz", "w:xz")],
)  # fmt: skip
def test_tar_files_of_every_kind_give_their_files(tmp_path, name, mode):
    unpack(make_tar(tmp_path / name, *FILES.items(), mode=mode), tmp_path / "out")
    assert everything(tmp_path / "out") == FILES


def test_a_zip_gives_its_files(tmp_path):
    unpack(make_zip(tmp_path / "x.zip", ("empty/", b""), *FILES.items()), tmp_path / "out")
    assert everything(tmp_path / "out") == FILES
    assert (tmp_path / "out" / "empty").is_dir()


OUTSIDE = ["../evil", "a/../../evil", "/tmp/evil", "a/b/../../../evil", "..\\evil", "..", "a/.."]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused(tmp_path, name):
    made = [
        make_tar(tmp_path / "x.tar", ("good.txt", b"x"), (name, b"evil")),
        make_zip(tmp_path / "x.zip", ("good.txt", b"x"), (name, b"evil")),
    ]
    for archive in made:
        folder = tmp_path / "in" / archive.suffix / "out"
        with pytest.raises(ArchiveError, match="leads out"):
            unpack(archive, folder)
        assert everything(tmp_path / "in" / archive.suffix) == {"out/good.txt": b"x"}


@pytest.mark.parametrize(
    "link",
    [
        member("l", tarfile.SYMTYPE, "/etc/passwd"),
        member("l", tarfile.SYMTYPE, "../secret"),
        member("d/l", tarfile.SYMTYPE, "../../secret"),
        member("l", tarfile.LNKTYPE, "../secret"),
        member("l", tarfile.LNKTYPE, "/etc/passwd"),
    ],
)
def test_links_that_lead_out_are_refused(tmp_path, link):
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(ArchiveError, match="not unpacked"):
        unpack(make_tar(tmp_path / "x.tar", link), tmp_path / "out")
    assert everything(tmp_path / "out") == {}
    assert (tmp_path / "secret").read_text() == "secret"


def test_links_inside_are_kept_and_nothing_goes_through_them(tmp_path):
    inward = member("d/link.txt", tarfile.SYMTYPE, "one.txt")
    good = make_tar(tmp_path / "good.tar", ("d/one.txt", b"1"), inward)
    unpack(good, tmp_path / "out")
    assert everything(tmp_path / "out") == {"d/one.txt": b"1", "d/link.txt": b"1"}
    for name in ("here/evil", "here"):
        here = member("here", tarfile.SYMTYPE, ".")
        archive = make_tar(tmp_path / "bad.tar", here, (name, b"evil"))
        with pytest.raises(ArchiveError, match="below a link"):
            unpack(archive, tmp_path / f"out_{len(name)}")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(tmp_path, kind):
    with pytest.raises(ArchiveError, match="neither a file nor a folder"):
        unpack(make_tar(tmp_path / "x.tar", member("dev", kind)), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_zips_link_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ArchiveError, match="neither a file nor a folder"):
        unpack(make_zip(tmp_path / "x.zip", (info, b"/etc/passwd")), tmp_path / "out")
    assert not os.path.lexists(tmp_path / "out" / "link")


def test_bombs_are_refused_before_they_burst(tmp_path):
    small = Limits(ratio=60, spare=1000)
    zeros = bytes(10_000_000)
    for archive in (
        make_tar(tmp_path / "x.tar.gz", ("zeros", zeros), mode="w:gz"),
        make_zip(tmp_path / "x.zip", ("zeros", zeros)),
    ):
        with pytest.raises(ArchiveError, match="more than an archive of its size"):
            unpack(archive, tmp_path / f"out{archive.suffix}", small)
        assert everything(tmp_path / f"out{archive.suffix}") == {}
    many = make_tar(tmp_path / "many.tar", *((str(n), b"") for n in range(20)))
    with pytest.raises(ArchiveError, match="19 files"):
        unpack(many, tmp_path / "many", Limits(members=18))


def test_a_zip_that_lies_about_a_size_writes_no_more_than_it_said(tmp_path):
    path = make_zip(tmp_path / "x.zip", ("zeros", bytes(1_000_000)))
    told, lie = struct.pack("<L", 1_000_000), struct.pack("<L", 10)
    path.write_bytes(path.read_bytes().replace(told, lie))
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(path, tmp_path / "out")
    assert (tmp_path / "out" / "zeros").stat().st_size <= 10


@given(cut=st.integers(0, 600))
def test_what_is_cut_short_is_said_or_was_whole(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    for archive in (
        make_tar(folder / "x.tar.gz", *FILES.items(), mode="w:gz"),
        make_zip(folder / "x.zip", *FILES.items()),
    ):
        data = archive.read_bytes()
        archive.write_bytes(data[: min(cut, len(data))])
        with suppress(ArchiveError):  # any other error would be one of the program
            unpack(archive, folder / f"out{archive.suffix}")
            assert everything(folder / f"out{archive.suffix}") == FILES


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    archive = make_zip(tmp_path / "x.zip", *FILES.items())
    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        unpack(archive, tmp_path / "out")
