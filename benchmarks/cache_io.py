"""The cache against numpy's own files: 1 GB of float16 embeddings, written and read.

    python benchmarks/cache_io.py [--megabytes 1024] [--repeats 3] [--folder DIR]

Writes are shown with and without fsync on numpy's side: a cell is always made durable, chunk by
chunk, and digested. Reads come from the page cache on both sides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from cache.cell import Cell, CellAddress
from cache.writer import CellWriter

COLUMNS = 1024


def timed(function, *arguments) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def write_cell(address: CellAddress, values: np.ndarray) -> None:
    """Write a cell as the engine does, from float32 chunks."""
    rows = len(values)
    ids = [str(i) for i in range(rows)]
    with CellWriter(
        address, key={"path": str(address)}, ids=ids, labels=np.zeros(rows, int), columns=COLUMNS
    ) as writer:
        for chunk in writer.missing:
            writer.write(chunk, values[writer.rows_of(chunk)])
        writer.commit()


def write_numpy(path: Path, values: np.ndarray, *, durable: bool) -> None:
    """`numpy.save` of the same values in float16, with or without fsync."""
    with open(path, "wb") as file:
        np.save(file, values.astype(np.float16))
        if durable:
            file.flush()
            os.fsync(file.fileno())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    rows = options.megabytes * (1 << 20) // (2 * COLUMNS)
    values = np.random.default_rng(0).standard_normal((rows, COLUMNS), dtype=np.float32)
    seconds: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            address = CellAddress(folder / "model.zarr", "train")
            plain = folder / "plain.npy"
            for label, call in (
                ("write cell", lambda: write_cell(address, values)),
                ("write np.save + fsync", lambda: write_numpy(plain, values, durable=True)),
                ("write np.save", lambda: write_numpy(plain, values, durable=False)),
                ("read cell", lambda: Cell.open(address).read()),
                ("read np.load", lambda: np.load(plain)),
            ):
                seconds.setdefault(label, []).append(timed(call))
    print(f"{options.megabytes} MB of float16, median of {options.repeats}")
    for label, times in seconds.items():
        median = statistics.median(times)
        print(f"{label:<24}{median:>8.2f} s{options.megabytes / median:>10,.0f} MB/s")
    for title, ours, theirs in (
        ("write, both durable", "write cell", "write np.save + fsync"),
        ("write, numpy not durable", "write cell", "write np.save"),
        ("read", "read cell", "read np.load"),
    ):
        ratio = statistics.median(
            t / o for o, t in zip(seconds[ours], seconds[theirs], strict=True)
        )
        print(f"rate of the cache / numpy, {title}: {ratio:.2f}")


if __name__ == "__main__":
    main()
