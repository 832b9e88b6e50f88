"""The cache against numpy's own files: 1 GB of float16 embeddings, written and read.

    python benchmarks/cache_io.py [--megabytes 1024] [--repeats 5] [--folder DIR]

Both sides start from the same float32 rows and end with float16 on disk, or start from files in
the page cache and end with one array. They take turns, the one that begins alternating, so that a
machine that grows slower weighs on both; every ratio is the median over turns of numpy's seconds
divided by ours. Before a write the former file is deleted and the disk is at rest.

"fsync not counted" compares `numpy.save`, which leaves the bytes in the page cache, with our
writer whose `os.fsync` does nothing: digests, column moments and journal are still ours alone.
Both writes contain the conversion to float16, whose own rate is the last line. A process checks
the digest of what it reads for the first time ("checked"), not again while the file is the same.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from cache import cell
from cache.cell import Cell, CellAddress
from cache.writer import CellWriter

COLUMNS = 1024


def write_cell(address: CellAddress, values: np.ndarray, *, durable: bool) -> None:
    """Write a cell as the engine does, from float32 chunks."""
    rows = len(values)
    ids = [str(i) for i in range(rows)]
    labels = np.zeros(rows, int)
    key = {"path": str(address)}
    with (
        nullcontext() if durable else patch("os.fsync"),
        CellWriter(address, key=key, ids=ids, labels=labels, columns=COLUMNS) as writer,
    ):
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


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds of a call; what it returns is freed outside of the measurement."""
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    del result
    return seconds


def take_turns(
    calls: tuple[Callable[[], object], Callable[[], object]],
    repeats: int,
    before: Callable[[], None] = lambda: None,
) -> list[tuple[float, float]]:
    """Seconds of two calls, in pairs, after one unmeasured turn."""
    pairs = []
    for turn in range(repeats + 1):
        taken = [0.0, 0.0]
        for side in (0, 1) if turn % 2 else (1, 0):
            before()
            taken[side] = seconds_of(calls[side])
        pairs.append((taken[0], taken[1]))
    return pairs[1:]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    rows = options.megabytes * (1 << 20) // (2 * COLUMNS)
    values = np.random.default_rng(0).standard_normal((rows, COLUMNS), dtype=np.float32)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        address, plain = CellAddress(Path(name) / "model.zarr", "train"), Path(name) / "plain.npy"

        def clear() -> None:
            shutil.rmtree(address.store, ignore_errors=True)
            plain.unlink(missing_ok=True)
            os.sync()

        print(f"{options.megabytes} MB of float16, median of {options.repeats} turns\n")
        print("| | cache, MB/s | numpy, MB/s | ratio | lowest to highest |")
        print("|---|---|---|---|---|")
        for durable in (False, True):
            calls = (
                partial(write_cell, address, values, durable=durable),
                partial(write_numpy, plain, values, durable=durable),
            )
            label = f"write, fsync {'' if durable else 'not '}counted"
            print_row(label, take_turns(calls, options.repeats, clear), options.megabytes)
        clear()
        write_cell(address, values, durable=True)
        write_numpy(plain, values, durable=True)
        reads = (lambda: Cell.open(address).read(), lambda: np.load(plain))
        for label, before in (("read, checked", cell._intact.clear), ("read again", lambda: None)):
            print_row(label, take_turns(reads, options.repeats, before), options.megabytes)
    converting = statistics.median(
        seconds_of(lambda: values.astype(np.float16)) for _ in range(options.repeats)
    )
    print(f"\nconverting to float16 alone: {options.megabytes / converting:,.0f} MB/s")


def print_row(label: str, pairs: list[tuple[float, float]], megabytes: int) -> None:
    """One line of the table."""
    ours, theirs = (megabytes / statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(numpy / cache for cache, numpy in pairs)
    print(
        f"| {label} | {ours:,.0f} | {theirs:,.0f} | {statistics.median(ratios):.2f} "
        f"| {ratios[0]:.2f} to {ratios[-1]:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
