"""A disk that fills up: a real small one where mounting is allowed, and one that only says so."""

import os

import numpy as np
import pytest

from cache.cell import Cell, CellAddress
from cache.errors import CellMissingError, DiskFullError
from cache.verify import verify

SHAPE = (1000, 64)


@pytest.fixture(scope="module")
def values(lab):
    return lab.values_of(*SHAPE)


@pytest.fixture(scope="module")
def whole(lab, values):
    return lab.files(lab.cell(values).path)


def check_refused(error, address):
    assert "the disk is full" in str(error.value)
    assert "free some space and run the same command again" in error.value.remedy
    assert str(address.store.parent) in error.value.place
    with pytest.raises(CellMissingError):
        Cell.open(address)


def resume(lab, address, values, whole, missing=None):
    with lab.writer(address, SHAPE) as writer:
        assert missing is None or writer.missing == missing
        lab.fill(writer, values)
        assert writer.commit()
    assert lab.files(address.path) == whole
    assert verify(address, deep=True) == []
    assert not address.partial.exists()


def test_full_while_writing_a_chunk(lab, values, whole, full_disk):
    earlier = lab.cell(values[:300])
    address = CellAddress(earlier.store, "val")
    with lab.writer(address, SHAPE) as writer:
        writer.write(0, values[:256])
        full_disk(after=1)
        with pytest.raises(DiskFullError) as error:
            writer.write(1, values[256:512])
        check_refused(error, address)
        assert writer.missing == [1, 2, 3]
    full_disk.free()
    assert verify(earlier, deep=True) == []
    resume(lab, address, values, whole, missing=[1, 2, 3])
    assert verify(earlier, deep=True) == []


def test_full_at_any_sync_from_the_first_to_the_last(lab, values, whole, full_disk):
    for after in range(1, 1000, 3):
        address = lab.address()
        full_disk(after)
        try:
            with lab.writer(address, SHAPE) as writer:
                lab.fill(writer, values)
                writer.commit()
            break
        except DiskFullError:
            pass
        finally:
            full_disk.free()
        resume(lab, address, values, whole)
    assert after > 20, "the whole cell needs more syncs than that"


def test_full_while_starting_again_in_float32_lets_go_of_the_lock(lab, full_disk):
    values = lab.values_of(600, 3)
    values[300] = 1e6
    address = lab.address()
    with lab.writer(address, values.shape) as writer:
        writer.write(0, values[:256])
        full_disk(after=1)
        with pytest.raises(DiskFullError):
            writer.write(1, values[256:512])
    full_disk.free()
    lab.cell(values, address)
    np.testing.assert_array_equal(Cell.open(address).read(), values)


def leave(disk, kilobytes):
    """Fill a real disk but for so much."""
    with open(disk / "filler", "wb", buffering=0) as file:
        facts = os.statvfs(disk)
        file.write(bytes(max(0, facts.f_bavail * facts.f_frsize - kilobytes * 1024)))


def free(disk):
    (disk / "filler").unlink()


def test_a_real_full_disk_while_writing_chunks(lab, values, whole, small_disk):
    earlier = lab.cell(values[:300], lab.address(folder=small_disk))
    address = CellAddress(earlier.store, "val")
    leave(small_disk, kilobytes=100)
    with lab.writer(address, SHAPE) as writer:
        with pytest.raises(DiskFullError) as error:
            lab.fill(writer, values)
        check_refused(error, address)
        done = 4 - len(writer.missing)
        assert 0 < done < 4
    assert verify(earlier, deep=True) == []
    free(small_disk)
    resume(lab, address, values, whole, missing=list(range(done, 4)))
    assert verify(earlier, deep=True) == []


def test_a_real_full_disk_at_commit_with_more_and_more_left(lab, values, small_disk):
    """The stale cell goes only when the new one is whole."""
    address = lab.cell(values, lab.address(folder=small_disk))
    refused = 0
    for kilobytes in range(0, 200, 4):
        before = lab.files(address.path)
        key = {"turn": kilobytes}
        with lab.writer(address, SHAPE, key=key) as writer:
            lab.fill(writer, values)
            leave(small_disk, kilobytes)
            try:
                writer.commit()
            except DiskFullError:
                refused += 1
            else:
                break
            finally:
                free(small_disk)
        assert lab.files(address.path) == before
        with lab.writer(address, SHAPE, key=key) as writer:
            assert writer.missing == []
            assert writer.commit()
        assert verify(address, deep=True) == []
    assert refused > 3
    assert Cell.open(address).manifest.key == key
    assert verify(address, deep=True) == []


def test_a_real_disk_full_from_the_start(lab, values, whole, small_disk):
    address = lab.address(folder=small_disk)
    leave(small_disk, kilobytes=0)
    with pytest.raises(DiskFullError):
        lab.writer(address, SHAPE)
    free(small_disk)
    resume(lab, address, values, whole, missing=[0, 1, 2, 3])
