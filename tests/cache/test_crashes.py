"""Real processes, really killed (SIGKILL), at random moments and at every step."""

import random
import signal
import subprocess
import time

import pytest

from cache.cell import Cell, CellAddress
from cache.errors import CellMissingError
from cache.verify import verify

SHAPE = (3000, 24)  # 12 chunks


@pytest.fixture(scope="module")
def uninterrupted(lab):
    folder = lab.folder()
    child = lab.child("child_writer.py", folder / "m.zarr", *SHAPE, folder / "log", 0)
    assert child.wait(60) == 0
    return lab.files(folder / "m.zarr")


def start(lab, folder):
    return lab.child("child_writer.py", folder / "m.zarr", *SHAPE, folder / "log", 0.02)


def lines(folder):
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


def kill_when(child, folder, steps, pause):
    """SIGKILL a moment after the child has logged `steps` more lines."""
    goal = len(lines(folder)) + steps
    while len(lines(folder)) < goal and child.poll() is None:
        time.sleep(0.002)
    time.sleep(pause)
    child.kill()
    return child.wait(60)


def tear(folder, generator):
    """What a power loss may add to a kill: files cut short whose names are already there."""
    partial = CellAddress(folder / "m.zarr", "train").partial
    for path in (*partial.glob("cell/embedding/c/*/*"), partial / "journal.jsonl"):
        if path.exists() and generator.random() < 0.2:
            path.write_bytes(path.read_bytes()[: generator.randrange(path.stat().st_size + 1)])


def check_kills(lab, folder, kills, uninterrupted, *, seed, torn=False):
    generator = random.Random(seed)
    address = CellAddress(folder / "m.zarr", "train")
    killed = 0
    for _ in range(kills):
        steps, pause = generator.choice([0, 1, 1, 2, 3]), generator.uniform(0, 0.05)
        killed += kill_when(start(lab, folder), folder, steps, pause) == -signal.SIGKILL
        if not address.path.exists():
            with pytest.raises(CellMissingError):
                Cell.open(address)
            if torn:
                tear(folder, generator)
    assert killed, "no process was killed"
    assert start(lab, folder).wait(60) == 0
    assert lab.files(folder / "m.zarr") == uninterrupted
    assert [p.name for p in sorted(folder.iterdir())] == ["log", "m.zarr"]
    assert verify(address, deep=True) == []
    computed = sum(line.startswith("compute") for line in lines(folder))
    assert torn or computed <= 12 + killed, "more than one chunk lost per kill"


def test_killed_at_random_moments_the_cell_is_the_same(lab, tmp_path, uninterrupted):
    check_kills(lab, tmp_path, 4, uninterrupted, seed=1)


def test_killed_and_torn_the_cell_is_the_same(lab, tmp_path, uninterrupted):
    check_kills(lab, tmp_path, 3, uninterrupted, seed=2, torn=True)


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True])
def test_killed_thirty_times_the_cell_is_the_same(lab, tmp_path, uninterrupted, torn):
    for life in range(5):
        (tmp_path / str(life)).mkdir()
        check_kills(lab, tmp_path / str(life), 6, uninterrupted, seed=life, torn=torn)


@pytest.mark.slow
def test_killed_while_committing_the_cell_is_the_same(lab, tmp_path, uninterrupted):
    generator = random.Random(0)
    for life in range(10):
        folder = tmp_path / str(life)
        folder.mkdir()
        child = start(lab, folder)
        while "commit" not in lines(folder):
            time.sleep(0.002)
        kill_when(child, folder, 0, generator.uniform(0, 0.4))
        assert start(lab, folder).wait(60) == 0
        assert lab.files(folder / "m.zarr") == uninterrupted
        assert sum(line.startswith("compute") for line in lines(folder)) == 12


def crash_at_every_step(lab, folder, stride):
    child = lab.child("child_crash_points.py", folder, stride, stdout=subprocess.PIPE)
    output, _ = child.communicate(timeout=300)
    assert child.returncode == 0
    assert int(output) > 60 // stride, "too few steps: the hook misses some"


def test_killed_at_every_nineteenth_step_the_old_or_the_new_cell_is_there(lab, tmp_path):
    crash_at_every_step(lab, tmp_path, stride=19)


@pytest.mark.slow
def test_killed_at_every_step_the_old_or_the_new_cell_is_there(lab, tmp_path):
    crash_at_every_step(lab, tmp_path, stride=1)


def test_writers_of_many_splits_at_once_leave_a_store_that_names_them_all(lab, tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import child_writer, cache.cell as cell\n"
        "address = cell.CellAddress; cell.CellAddress = lambda s, _: address(s, sys.argv[3])\n"
        "child_writer.main(sys.argv[2], 300, 2, sys.argv[2] + '.log', 0)"
    )
    import sys
    from pathlib import Path

    here, splits = str(Path(__file__).parent), [f"split{n}" for n in range(4)]
    command = [sys.executable, "-c", script, here, str(tmp_path / "m.zarr")]
    children = [subprocess.Popen([*command, split]) for split in splits]
    assert [child.wait(60) for child in children] == [0] * 4
    for split in splits:
        assert verify(CellAddress(tmp_path / "m.zarr", split), deep=True) == []
