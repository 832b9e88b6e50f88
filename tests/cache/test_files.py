import errno
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import DiskFullError, ProbelineError
from cache.files import explain_disk_errors, sha256_bytes, sha256_file, write_durably


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_write_replaces_the_whole_file_and_leaves_nothing_else(lab, first, second):
    path = lab.folder() / "new folder" / "file.bin"
    for data in (first, second):
        write_durably(path, data)
        assert path.read_bytes() == data
        assert (
            sha256_file(path) == sha256_bytes(memoryview(data)) == hashlib.sha256(data).hexdigest()
        )
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_former_file(tmp_path, monkeypatch, failing, number):
    path = tmp_path / "file.bin"
    write_durably(path, b"former")

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(DiskFullError, match="free some space") as caught:
        write_durably(path, b"new")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"former"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_an_interruption_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    write_durably(path, b"former")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_durably(path, b"new")
    assert path.read_bytes() == b"former"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_a_real_full_disk_leaves_the_former_file(small_disk):
    path = small_disk / "file.bin"
    write_durably(path, b"former" * 1000)
    with pytest.raises(DiskFullError, match="free some space"):
        write_durably(path, bytes(2 << 20))
    assert path.read_bytes() == b"former" * 1000
    assert [p.name for p in small_disk.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_place_that_may_not_be_written_is_named(tmp_path, number):
    with (
        pytest.raises(ProbelineError, match="may not be written") as caught,
        explain_disk_errors(tmp_path),
    ):
        raise OSError(number, os.strerror(number))
    assert caught.value.place == str(tmp_path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("number", "problem", "remedy"),
    [
        (errno.EFBIG, "larger than a file may be", "ulimit -f"),
        (errno.EIO, "reports an error", "cache verify --deep"),
    ],
)
def test_a_limit_and_a_failing_disk_are_explained(tmp_path, number, problem, remedy):
    with pytest.raises(ProbelineError, match=problem) as caught, explain_disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert caught.value.place == str(tmp_path)
    assert remedy in caught.value.remedy


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(OSError, match="Too many open"), explain_disk_errors(tmp_path):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    inner = DiskFullError("inner", "is full")
    with pytest.raises(DiskFullError) as caught, explain_disk_errors(tmp_path):
        raise inner
    assert caught.value is inner


def test_names_are_made_durable_too(tmp_path, monkeypatch):
    """The file, then its folder, are synced: else a power loss takes the new name back."""
    synced = []
    real = os.fsync

    def fsync(handle):
        synced.append(os.path.realpath(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_durably(tmp_path / "file.bin", b"new")
    assert synced[0].endswith(".partial")
    assert synced[1:] == [os.path.realpath(tmp_path)]
