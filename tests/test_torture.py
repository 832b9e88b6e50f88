"""A few kills, flipped bits and changed files of every kind; `make torture` tries thousands."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from projects import REPOSITORY

sys.path.append(str(REPOSITORY / "tests/torture"))

from kills import places


@given(
    changes=st.lists(st.sampled_from(["open", "fsync", "rename", "mkdir", "remove"])),
    tries=st.integers(3, 9),
    shift=st.floats(0, 1, exclude_max=True),
)
def test_places_are_the_first_the_last_and_one_of_each_sort_of_change(changes, tries, shift):
    chosen = places(changes, tries, shift)
    assert chosen == sorted(set(chosen))
    assert len(chosen) >= min(tries, len(changes))
    assert {changes[at - 1] for at in chosen} == set(changes)
    assert {1, len(changes)} <= {*chosen} or not changes


def test_a_few_of_each():
    done = subprocess.run(
        [sys.executable, "tests/torture/torture.py", "--small"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) > 50, done.stdout  # kinds of files, readers and commands
    tried = [row for row in rows if not row.startswith("| `status`")]  # which changes nothing
    assert all(int(row.split("|")[2].replace(",", "")) for row in tried), done.stdout
