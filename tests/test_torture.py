"""A few kills, flipped bits and changed files of every kind; `make torture` tries thousands."""

import subprocess
import sys

from projects import REPOSITORY


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
