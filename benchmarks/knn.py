"""Exact neighbours from the cache against the bare matrix product, scikit-learn and faiss.

    python benchmarks/knn.py [--bank 20000] [--queries 2000] [--k 200] [--repeats 5] [--memory]

All calls take turns, after one turn to warm up: medians of each turn's ratios, with the lowest and
the highest, and of wall and processor seconds. The bare product is what no search of this kind goes
below: the same pairs by the same BLAS from float32 arrays in memory, while ours reads float16 cells
chunk by chunk. What was measured stands in docs/performance.md. ``--memory`` shows instead the peak
of a search over a bank four times as large as the memory it may take.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import faiss
import numpy as np
from sklearn.neighbors import NearestNeighbors

from cache.cell import Cell, CellAddress
from cache.writer import CellWriter
from pipeline.neighbors.banks import CellBank
from pipeline.neighbors.search import nearest
from pipeline.neighbors.votes import WEIGHTINGS, Voting, judge

CLASSES = 100
KS = (1, 5, 10, 20, 50, 100, 200)


def write(folder: Path, split: str, rows: int, columns: int) -> CellBank:
    """A cell of class-sorted clusters, written piece by piece."""
    rng = np.random.default_rng(len(split))
    centres = 0.7 * np.random.default_rng(0).standard_normal((CLASSES, columns))
    labels = np.arange(rows) * CLASSES // rows
    address = CellAddress(folder / f"d{columns}.zarr", split)
    ids = [str(i) for i in range(rows)]
    with CellWriter(
        address, key={"split": split}, ids=ids, labels=labels, columns=columns
    ) as writer:
        for chunk in writer.missing:
            part = labels[writer.rows_of(chunk)]
            noise = rng.standard_normal((len(part), columns), dtype=np.float32)
            writer.write(chunk, noise + centres[part].astype(np.float32))
        writer.commit()
    return CellBank(Cell.open(address))


def compare(folder: Path, columns: int, options: argparse.Namespace) -> None:
    """Print one table."""
    bank = write(folder, "train", options.bank, columns)
    queries = write(folder, "val", options.queries, columns)
    a, b = queries.cell.read().astype(np.float32), bank.cell.read().astype(np.float32)
    product = np.empty((len(a), len(b)), np.float32)
    index = faiss.IndexFlatL2(columns)
    index.add(b)
    peer = NearestNeighbors(n_neighbors=options.k, algorithm="brute").fit(b)
    labels, truth = bank.cell.labels(), queries.cell.labels()
    found = nearest(bank, queries, options.k, "cosine")
    names = labels[found.indices]
    ks = [k for k in KS if k <= options.k]
    votings = [Voting(k, w, 0.07 if w == "softmax" else None) for w in WEIGHTINGS for k in ks]
    calls: dict[str, Callable[[], object]] = {
        "bare product": lambda: np.matmul(a, b.T, out=product),
        "ours": lambda: nearest(bank, queries, options.k, "euclidean"),
        "ours, z-score": lambda: nearest(bank, queries, options.k, "euclidean", "zscore"),
        "ours, cosine": lambda: nearest(bank, queries, options.k, "cosine"),
        "ours, torch": lambda: nearest(bank, queries, options.k, "euclidean", backend="torch"),
        "scikit-learn brute": lambda: peer.kneighbors(a),
        "faiss IndexFlatL2": lambda: index.search(a, options.k),
        f"{len(votings)} votings": lambda: judge(found.distances, names, truth, CLASSES, votings),
    }
    product.fill(0)  # its pages are there before the first product
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(options.repeats):
        for name, call in calls.items():
            start, busy = time.perf_counter(), time.process_time()
            call()
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - busy)
    print(
        f"\n{options.bank:,} x {columns} float16 bank, {options.queries:,} queries, k {options.k}"
    )
    print(f"{'':<22}{'seconds':>9}{'processor':>11}{'/ product (from - to)':>26}{'/ ours':>9}")
    for name, times in seconds.items():
        by_product, by_ours = (
            sorted(t / o for t, o in zip(times, seconds[other], strict=True))
            for other in ("bare product", "ours")
        )
        spread = f"{statistics.median(by_product):.2f} ({by_product[0]:.2f} - {by_product[-1]:.2f})"
        median = statistics.median(by_ours)
        busy = statistics.median(processor[name])
        print(f"{name:<22}{statistics.median(times):>9.3f}{busy:>11.3f}{spread:>26}{median:>9.3f}")


def peak(folder: Path, options: argparse.Namespace) -> None:
    """Print how much memory a search takes whose bank is four times what it may take.

    The cells are written by another process, and the search runs in a third that has done nothing
    else: its highest resident memory is its own.
    """
    memory, columns = 256 << 20, 2048
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        rows = 4 * memory // (2 * columns)
        pool.submit(write_both, folder, rows, options.queries, columns).result()
    with ProcessPoolExecutor(1, context) as pool:
        seconds, taken = pool.submit(growth, folder, columns, options.k, memory).result()
    print(f"bank 1024 MiB, {options.queries:,} queries: allowed {memory >> 20} MiB,", end=" ")
    print(f"resident memory grew by {taken >> 20} MiB at most, {seconds:.1f} s")


def write_both(folder: Path, bank: int, queries: int, columns: int) -> None:
    """Write a bank and queries."""
    write(folder, "train", bank, columns)
    write(folder, "val", queries, columns)


def growth(folder: Path, columns: int, k: int, memory: int) -> tuple[float, int]:
    """Seconds of a search, and bytes by which it raised this process's resident memory (Linux)."""
    bank, queries = (
        CellBank(Cell.open(CellAddress(folder / f"d{columns}.zarr", split)))
        for split in ("train", "val")
    )
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
    before = resident("VmRSS")
    start = time.perf_counter()
    nearest(bank, queries, k, "euclidean", memory=memory)
    return time.perf_counter() - start, resident("VmHWM") - before


def resident(name: str) -> int:
    """Bytes of resident memory: now (VmRSS), or the most so far (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise LookupError(name)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("bank", 20_000), ("queries", 2_000), ("k", 200), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--columns", type=int, nargs="+", default=[768, 2048])
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.memory:
            peak(Path(name), options)
            return
        for columns in options.columns:
            compare(Path(name), columns, options)


if __name__ == "__main__":
    main()
