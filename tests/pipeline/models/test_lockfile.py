"""weights.lock.json is read, changed and written as one."""

import json
import subprocess
import sys

import pytest

from cache.errors import ProbelineError
from pipeline.models.lockfile import locked, record

CODE = """
import sys
from pipeline.models.lockfile import record
for i in range(20):
    record(f"{sys.argv[1]}_{i}", {"sha256": sys.argv[1] * 4, "size": i})
"""


def test_no_record_of_four_processes_is_lost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writers = [subprocess.Popen([sys.executable, "-c", CODE, name]) for name in "abcd"]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    lock = json.loads((tmp_path / "weights.lock.json").read_text())
    assert sorted(lock) == sorted(f"{name}_{i}" for name in "abcd" for i in range(20))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.lock.json"]


def test_what_is_known_is_not_written_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record("net", {"sha256": "0", "size": 1})
    before = (tmp_path / "weights.lock.json").stat()
    record("net", {"sha256": "0", "size": 1})
    assert (tmp_path / "weights.lock.json").stat() == before
    record("net", {"sha256": "1", "size": 1})
    assert locked("net") == {"sha256": "1", "size": 1}


def test_a_damaged_lock_is_neither_read_nor_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.lock.json").write_text("{")
    with pytest.raises(ProbelineError, match="is damaged"):
        record("net", {"sha256": "0"})
    assert (tmp_path / "weights.lock.json").read_text() == "{"
