"""What DVC's `cache.type` costs: 1 GB of embeddings in chunks of 16 MB, committed and checked out.

    python benchmarks/cache_types.py [--megabytes 1024] [--folder DIR]

For each type, in a scratch project: seconds of `dvc add` (which commits), of `dvc checkout` into an
empty working folder, of `dvc unprotect` (which DVC does before every run of an extract stage), and
how many times the data then lies on the disk. Files that are links or share an inode count once;
reflinks can't be told from copies this way, so trust the disk's own account where they work. Every
command starts DVC anew, which is the last column.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHUNK = 16 << 20
TYPES = ("hardlink", "symlink", "copy", "reflink")
DATA = "data/embeddings"


def dvc(project: Path, *arguments: str) -> float:
    """Seconds of a DVC command, the dirty pages it leaves included."""
    os.sync()
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        check=True,
    )
    os.sync()
    return time.perf_counter() - start


def times_on_disk(project: Path, megabytes: int) -> float:
    """Bytes of all files below the project, each inode once, over the bytes of the data."""
    sizes = {}
    for path in project.rglob("*"):
        if path.is_file() and not path.is_symlink():
            facts = path.stat()
            sizes[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(sizes.values()) / (megabytes << 20)


def measure(project: Path, kind: str, megabytes: int) -> str:
    """One line of the table."""
    cells = project / DATA / "set" / "model.zarr" / "train" / "embedding" / "c"
    rng = np.random.default_rng(0)
    for chunk in range((megabytes << 20) // CHUNK):
        (cells / str(chunk)).mkdir(parents=True)
        (cells / str(chunk) / "0").write_bytes(rng.bytes(CHUNK))
    dvc(project, "init", "--no-scm", "-q")
    dvc(project, "config", "cache.type", kind)
    start = dvc(project, "root")
    try:
        add = dvc(project, "add", "-q", DATA)
        disk = times_on_disk(project, megabytes)
        shutil.rmtree(project / DATA)
        checkout = dvc(project, "checkout", "-q")
    except subprocess.CalledProcessError:
        return f"| {kind} | not possible on this file system | | | | |"
    unprotect = dvc(project, "unprotect", DATA)
    return f"| {kind} | {add:.1f} | {checkout:.1f} | {unprotect:.1f} | {disk:.2f} x | {start:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--types", nargs="+", choices=TYPES, default=TYPES)
    options = parser.parse_args()
    print(f"{options.megabytes} MB in chunks of {CHUNK >> 20} MB, seconds\n")
    print("| `cache.type` | `dvc add` | `dvc checkout` | `dvc unprotect` | on disk | DVC alone |")
    print("|---|---|---|---|---|---|")
    for kind in options.types:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(measure(Path(folder), kind, options.megabytes), flush=True)


if __name__ == "__main__":
    main()
