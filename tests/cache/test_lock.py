import errno
import fcntl
import json
import logging
import os
import pickle
import re
import socket
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from cache.errors import CellLockedError, DiskFullError, ProbelineError
from cache.lock import Lock, exclusively


@pytest.fixture
def owner(lab, tmp_path):
    """Another process that holds the lock."""
    pipe = subprocess.PIPE
    with lab.child("child_lock.py", "hold", tmp_path / "f" / "lock", stdin=pipe, stdout=pipe) as it:
        assert it.stdout.readline() == "held\n"
        yield it
        it.kill()


def test_a_second_process_is_refused_and_told_who_holds_it(owner, tmp_path):
    with pytest.raises(CellLockedError, match=f"process {owner.pid} on ") as caught:
        Lock(tmp_path / "f" / "lock", "cell train of resnet")
    assert caught.value.place == "cell train of resnet"
    assert isinstance(caught.value, BlockingIOError)
    assert "wait until it ends" in pickle.loads(pickle.dumps(caught.value)).remedy
    assert (tmp_path / "f" / "lock").exists()


def test_the_owner_is_named_by_host_number_and_start(owner, tmp_path):
    named = json.loads((tmp_path / "f" / "lock").read_text())
    assert named["process"] == owner.pid
    assert named["host"] == socket.gethostname()
    started = datetime.fromisoformat(named["started"]).timestamp()
    assert started == pytest.approx(psutil.Process(owner.pid).create_time(), abs=1)
    with pytest.raises(CellLockedError, match=re.escape(f"started {named['started']}")):
        Lock(tmp_path / "f" / "lock", "cell")


class Heard(logging.Handler):
    """Keeps what is said of waiting, and tells when the first word of it came."""

    def __init__(self):
        super().__init__()
        self.messages: list[str] = []
        self.first = threading.Event()

    def emit(self, record):
        self.messages.append(record.getMessage())
        self.first.set()


@pytest.fixture
def heard():
    handler = Heard()
    logging.getLogger("cache.lock").addHandler(handler)
    yield handler
    logging.getLogger("cache.lock").removeHandler(handler)


def test_a_live_owner_is_waited_for_and_named(owner, tmp_path, heard):
    done = []

    def wait():
        with Lock(tmp_path / "f" / "lock", "cell train of resnet", wait=60) as lock:
            done.append(lock.path.read_text())

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert heard.first.wait(30)
    assert not done
    assert owner.poll() is None
    owner.communicate("\n")  # it ends by itself, and lets go
    waiting.join(30)
    assert f'"process": {os.getpid()}' in done[0]
    (said,) = heard.messages  # once, not at every look
    assert f"cell train of resnet: waiting up to 60 s for process {owner.pid} on " in said


def test_an_owner_that_is_killed_while_it_is_waited_for_is_taken_over_from(owner, tmp_path, heard):
    def kill():
        heard.first.wait(30)
        owner.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with Lock(tmp_path / "f" / "lock", "cell", wait=60) as lock:
        assert f'"process": {os.getpid()}' in lock.path.read_text()
    killer.join(10)
    assert owner.wait(10) < 0


def test_waiting_ends_at_its_limit_and_says_so(owner, tmp_path):
    with pytest.raises(CellLockedError, match="after 1 s") as caught:
        Lock(tmp_path / "f" / "lock", "cell", wait=1)
    assert f"process {owner.pid} on " in caught.value.found
    assert owner.poll() is None
    assert (tmp_path / "f" / "lock").exists()


def test_several_processes_that_wait_get_it_one_after_the_other(lab, tmp_path):
    children = [
        lab.child("child_lock.py", "wait", tmp_path / "f" / "lock", 5, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    assert [child.wait(60) for child in children] == [0] * 3


def test_kill_9_of_the_owner_frees_it(owner, tmp_path):
    owner.kill()
    owner.wait()
    path = tmp_path / "f" / "lock"
    assert path.exists()
    with Lock(path, "cell"):
        assert f'"process": {os.getpid()}' in path.read_text()
    assert not path.exists()


def test_released_and_removed_at_the_end(owner, tmp_path):
    owner.communicate("\n")
    assert owner.returncode == 0
    assert not (tmp_path / "f" / "lock").exists()
    with Lock(tmp_path / "f" / "lock", "cell"):
        pass


def test_a_thread_of_the_same_process_is_refused_too(tmp_path):
    with Lock(tmp_path / "lock", "cell"), pytest.raises(CellLockedError, match=str(os.getpid())):
        Lock(tmp_path / "lock", "cell")


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(KeyError), Lock(tmp_path / "lock", "cell"):
        raise KeyError
    Lock(tmp_path / "lock", "cell").release()


def test_release_twice_does_not_take_a_successors_lock_away(tmp_path):
    first = Lock(tmp_path / "lock", "cell")
    first.release()
    with Lock(tmp_path / "lock", "cell"):
        first.release()
        with pytest.raises(CellLockedError):
            Lock(tmp_path / "lock", "cell")


def test_release_does_not_take_away_the_lock_of_another_file_in_its_place(tmp_path):
    path = tmp_path / "lock"
    first = Lock(path, "cell")
    path.unlink()  # somebody emptied the folder
    with Lock(path, "cell"):
        first.release()
        assert path.exists()
        with pytest.raises(CellLockedError):
            Lock(path, "cell")


def test_a_full_disk_does_not_leave_the_lock_held(tmp_path, monkeypatch):
    import errno

    def pwrite(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        with pytest.raises(DiskFullError):
            Lock(tmp_path / "lock", "cell")
    with Lock(tmp_path / "lock", "cell"):
        pass


@pytest.mark.parametrize("error", [FileNotFoundError, FileExistsError])
def test_a_folder_that_goes_while_we_look_is_made_again(tmp_path, monkeypatch, error):
    real = os.open
    failures = iter([error])

    def vanishing(path, *rest):
        for kind in failures:
            raise kind(str(path))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", vanishing)
    with Lock(tmp_path / "lock", "cell"):
        pass


def test_a_file_in_the_folders_place_is_an_error_not_an_endless_loop(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        Lock(tmp_path / "f" / "lock", "cell")


def race(lab, folder, processes, rounds):
    children = [
        lab.child("child_lock.py", "race", folder / "f" / "lock", rounds) for _ in range(processes)
    ]
    assert [child.wait(60) for child in children] == [0] * processes


def test_of_several_processes_exactly_one_is_inside(lab, tmp_path):
    race(lab, tmp_path, 4, 100)


@pytest.mark.slow
def test_of_many_processes_exactly_one_is_inside(lab, tmp_path):
    race(lab, tmp_path, 8, 200)


def test_exclusively_waits(tmp_path):
    order = []

    def second():
        with exclusively(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusively(tmp_path):
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ProbelineError, match="file system without locks") as error:
        Lock(tmp_path / "lock", "a cell")
    assert "another disk" in error.value.remedy
    with pytest.raises(ProbelineError, match="file system without locks"), exclusively(tmp_path):
        pass


@pytest.mark.parametrize(("times", "stays"), [(1, False), (2, True)])
def test_a_disk_that_fails_once_leaves_no_lock(tmp_path, monkeypatch, times, stays):
    lock, unlink, left = Lock(tmp_path / "lock", "cell"), Path.unlink, [times]

    def failing(path, **options):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", failing)
    if stays:
        with pytest.raises(OSError, match="Input/output"):
            lock.release()
    else:
        lock.release()
    assert (tmp_path / "lock").exists() == stays
    Lock(tmp_path / "lock", "cell").release()  # it is let go in any case
    assert not (tmp_path / "lock").exists()
