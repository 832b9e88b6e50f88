import errno
import json
import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import DiskFullError, ProbelineError
from cache.journal import Journal

entries_ = st.lists(
    st.dictionaries(
        st.text(max_size=4).filter(lambda name: name != "check"),
        st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
        max_size=3,
    ),
    max_size=6,
)
THREE = [{"chunk": number, "sha256": "f" * 9, "seconds": 0.1 * number} for number in range(3)]


def write(path, entries):
    journal = Journal(path)
    for entry in entries:
        journal.append(entry)
    journal.close()


def read(path):
    journal = Journal(path)
    journal.close()
    return journal.entries


@given(first=entries_, second=entries_)
def test_round_trip_over_two_openings(lab, first, second):
    path = lab.folder() / "journal.jsonl"
    write(path, first)
    write(path, second)
    assert read(path) == first + second


def test_each_entry_is_a_line_of_json(tmp_path):
    write(tmp_path / "journal", THREE)
    lines = (tmp_path / "journal").read_text().splitlines()
    assert [json.loads(line)["chunk"] for line in lines] == [0, 1, 2]


def test_torn_at_any_byte_the_whole_lines_before_survive(tmp_path):
    path = tmp_path / "journal"
    write(path, THREE)
    data = path.read_bytes()
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = data[:length].count(b"\n")
        assert read(path) == THREE[:whole], length
        assert path.read_bytes() == b"".join(data.splitlines(keepends=True)[:whole])


def test_append_after_a_torn_line(tmp_path):
    path = tmp_path / "journal"
    write(path, THREE)
    path.write_bytes(path.read_bytes()[:-7])
    write(path, [{"chunk": 9}])
    assert read(path) == [*THREE[:2], {"chunk": 9}]


@pytest.mark.parametrize("tail", [b"\0" * 40, b"\n\n", b"null\n", b"[1]\n", b"\xff\xfe\n", b"{}\n"])
def test_a_tail_of_rubbish_is_cut(tmp_path, tail):
    path = tmp_path / "journal"
    write(path, THREE)
    with open(path, "ab") as file:
        file.write(tail)
    assert read(path) == THREE


def test_any_flipped_bit_costs_that_line_and_the_later_ones_only(tmp_path):
    path = tmp_path / "journal"
    write(path, THREE)
    data = path.read_bytes()
    for bit in range(0, 8 * len(data), 7):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found = read(path)
        assert found == THREE[: data[: bit // 8].count(b"\n")], bit


def test_full_disk_while_appending_leaves_a_journal_that_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append(THREE[0])
    real = os.write
    calls = []

    def write_half(handle, data):
        calls.append(1)
        if len(calls) == 1:
            return real(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_half)
        with pytest.raises(DiskFullError, match="free some space") as caught:
            journal.append(THREE[1])
    assert str(path) in str(caught.value)
    assert read(path) == THREE[:1]
    journal.append(THREE[2])
    journal.close()
    assert read(path) == journal.entries == [THREE[0], THREE[2]]


def test_full_disk_at_fsync_takes_the_line_back(tmp_path, full_disk):
    journal = Journal(tmp_path / "journal")
    full_disk(after=1)
    with pytest.raises(DiskFullError):
        journal.append(THREE[0])
    full_disk.free()
    journal.append(THREE[1])
    journal.close()
    assert read(tmp_path / "journal") == [THREE[1]]


def test_a_write_in_pieces_is_put_together(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    journal = Journal(path)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, data[:5]))
        journal.append(THREE[0])
    journal.append(THREE[1])
    journal.close()
    assert read(path) == THREE[:2]


def test_the_kernels_own_limit_on_the_file_size(tmp_path):
    """A real short write, then a real refusal."""
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.append(THREE[0])
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, former[1]))
    try:
        with pytest.raises(ProbelineError, match="larger than a file may be"):
            journal.append(THREE[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert read(path) == THREE[:1]
    journal.append(THREE[1])
    journal.close()
    assert read(path) == THREE[:2]


def test_closing_twice_does_no_harm(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.close()
    with open(tmp_path / "other", "wb") as other:  # likely has the same number now
        journal.close()
        other.write(b"still open")
