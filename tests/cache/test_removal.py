import errno
import os
from pathlib import Path

import pytest
from projects import REPOSITORY

from cache.cell import Cell
from cache.errors import CellLockedError, ProbelineError
from cache.lock import Lock
from cache.removal import discard, finish_removal, leave, removals_begun, remove_cell, size_of
from cache.verify import verify


def test_one_split_goes_and_the_other_stays_whole(lab):
    values = lab.values_of(300, 8)
    train = lab.cell(values)
    val = lab.address("val", train.store.parents[1])
    lab.cell(values, val)
    remove_cell(train)
    assert not train.path.exists()
    assert not train.partial.exists()
    assert verify(val, deep=True) == []


def test_the_store_goes_with_its_last_split(lab):
    address = lab.cell(lab.values_of(300, 8))
    remove_cell(address)
    assert not address.store.exists()
    assert not address.partial.exists()


def test_a_file_that_can_not_be_deleted_is_no_success(lab, monkeypatch):
    address = lab.cell(lab.values_of(300, 8))

    unlink = os.unlink

    def refused(path, **where):
        if Path(path).name != "lock":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        unlink(path, **where)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        with pytest.raises(ProbelineError, match="the disk reports an error"):
            remove_cell(address)
    assert removals_begun(address.store.parent) == [address]  # the next `prune` finds it
    finish_removal(address)
    assert not address.partial.exists()


def test_a_cell_that_is_being_written_anew_is_not_removed(lab):
    address = lab.cell(lab.values_of(300, 8))
    with lab.writer(address, (300, 8), key={"new": 1}), pytest.raises(CellLockedError):
        remove_cell(address)
    Cell.open(address)


def test_size_is_that_of_all_files(lab):
    address = lab.cell(lab.values_of(300, 8))
    assert size_of(address) == sum(len(data) for data in lab.files(address.path).values())


def refusing(monkeypatch, times: int) -> None:
    """The first so many removals of files fail."""
    unlink, left = os.unlink, [times]

    def refused(path, **where):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        unlink(path, **where)

    monkeypatch.setattr(os, "unlink", refused)
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: refused(path))


@pytest.mark.parametrize(("times", "stays"), [(0, False), (1, False), (99, True)])
def test_a_temporary_folder_that_stays_is_named(tmp_path, monkeypatch, caplog, times, stays):
    folder = tmp_path / ".a.partial"
    folder.mkdir()
    (folder / "file").touch()
    with monkeypatch.context() as patch:
        refusing(patch, times)
        discard(folder)
    assert folder.exists() == stays
    assert (f"{folder}: can't be removed" in caplog.text) == stays
    discard(folder)
    discard(folder)  # which is not there
    assert not folder.exists()


def test_what_a_stranger_s_link_leads_to_stays(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / ".a.partial").symlink_to("theirs")
    discard(tmp_path / ".a.partial")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_a_folder_is_left_without_its_lock_unless_another_has_it(tmp_path, monkeypatch, caplog):
    folder = tmp_path / ".a.partial"
    leave(folder)  # which is not there
    with Lock(folder / "lock", "another"):
        leave(folder)
        assert (folder / "lock").exists()
    (folder / "lock").write_text("of a process that is no more")
    with monkeypatch.context() as patch:
        refusing(patch, 99)
        assert not caplog.text
        leave(folder)
    assert f"{folder}: can't be removed (Input/output error)" in caplog.text
    leave(folder)
    assert not folder.exists()


def test_no_temporary_folder_is_left_without_a_word():
    """`discard` is the one way: what it can't remove, it names."""
    silent = [
        str(path.relative_to(REPOSITORY))
        for floor in ("cache", "pipeline", "stages", "probeline")
        for path in sorted((REPOSITORY / floor).rglob("*.py"))
        if "ignore_errors" in path.read_text()
    ]
    assert silent == ["cache/removal.py"]
