import errno
import os
from pathlib import Path

import pytest

from cache.cell import Cell
from cache.errors import CellLockedError, ProbelineError
from cache.removal import finish_removal, removals_begun, remove_cell, size_of
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
