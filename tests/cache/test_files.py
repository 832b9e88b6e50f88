import errno
import hashlib
import os
import pwd
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import DiskFullError, ProbelineError
from cache.files import (
    explain_disk_errors,
    sha256_bytes,
    sha256_file,
    whose,
    write_durably,
    write_if_allowed,
)


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


def test_what_a_killed_process_left_is_taken_over(tmp_path):
    path = tmp_path / "file.bin"
    (tmp_path / ".file.bin.partial").write_bytes(b"half of something longer than what comes")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_writers_killed_again_and_again_leave_one_file_at_most(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from cache.files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'x' * 99); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], check=False)
        assert ran.returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == [".f.partial"]


def test_two_processes_that_write_one_file_leave_it_whole(tmp_path):
    path = tmp_path / "file.bin"
    code = (
        "import sys; from pathlib import Path; from cache.files import write_durably\n"
        "for _ in range(60): write_durably(Path(sys.argv[1]), sys.argv[2].encode() * 5000)"
    )
    write_durably(path, b"a" * 5000)
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "abc"
    ]
    while any(writer.poll() is None for writer in writers):
        found = path.read_bytes()
        assert len(found) == 5000
        assert len(set(found)) == 1
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_what_belongs_to_another_user_is_said_to(tmp_path, monkeypatch):
    name = pwd.getpwuid(os.geteuid()).pw_name
    (tmp_path / "file").write_text("")
    assert whose(tmp_path / "file") == whose(tmp_path / "absent") == ""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert whose(tmp_path / "file") == f", it belongs to {name}"
    assert whose(tmp_path / "absent" / "file") == f", {tmp_path} belongs to {name}"
    with pytest.raises(ProbelineError) as error, explain_disk_errors(tmp_path / "file"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert error.value.found == f"Permission denied, it belongs to {name}"

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)  # as in a container
    assert whose(tmp_path / "file") == f", it belongs to {tmp_path.stat().st_uid}"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_what_is_only_remembered_needs_no_disk(tmp_path, monkeypatch, number):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refused)
    write_if_allowed(tmp_path / "file", b"1")
    assert list(tmp_path.iterdir()) == []
