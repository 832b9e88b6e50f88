"""Memory of linear probes as data grow: three sizes, a thousand classes, and ImageNet's size.

    python -m benchmarks.scale growth
    python -m benchmarks.scale classes                  # 20,000 images, 1,000 classes
    python -m benchmarks.scale imagenet --iterations 20 --penalties 25 --folder /scratch
    SCALE=tiny python -m benchmarks.scale growth        # some seconds, for the tests

Every case runs in a process of its own. *peak* is its largest resident set less that before the
features were there; *said* is what `pipeline.heads.needs` states beyond the features, by which
cells are scheduled and refused. `classes` also says how the peak stands to features + d x K terms
+ slab alone. `imagenet` writes made-up float16 features (2 GB) as a cell, and streams it: one
logistic fit of so many iterations (conjugate gradients), and ridge with so many penalties.
Times are of one thread, and mean little beside other programs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from cache.cell import Cell, CellAddress
from cache.writer import CellWriter
from pipeline.heads import needs, slabs
from pipeline.heads.logistic import LogisticPath
from pipeline.heads.normalization import Normalizer
from pipeline.heads.ridge import fit_ridge
from pipeline.heads.selection import working_precision
from pipeline.heads.slabs import Rows, part
from pipeline.heads.tuning import PENALTIES

TINY = os.environ.get("SCALE") == "tiny"
BYTES = {"logistic": needs.logistic_bytes, "ridge": needs.ridge_bytes}


def main() -> None:
    """Run one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=["growth", "classes", "imagenet", "case"])
    parser.add_argument("case", nargs="?", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--iterations", type=int, default=2 if TINY else 20)
    parser.add_argument("--penalties", type=int, default=2 if TINY else 25)
    parser.add_argument("--images", type=int, default=3_000 if TINY else 1_281_167)
    parser.add_argument("--folder", type=Path, help="for the features on disk; removed again")
    parser.add_argument("--heads", nargs="+", choices=list(BYTES), default=list(BYTES))
    asked = parser.parse_args()
    if asked.table == "case":
        print(json.dumps(_case(**asked.case)))
    elif asked.table == "imagenet":
        _imagenet(asked)
    else:
        _table(asked.table, asked.heads, asked.iterations, asked.penalties)


def _table(table: str, heads: list[str], iterations: int, penalties: int) -> None:
    sizes = [(5_000, 384, 250), (10_000, 384, 500), (20_000, 384, 1_000)]
    if table == "classes":
        sizes = [(20_000, 768, 1_000)]
    if TINY:
        sizes = [(n // 20, d // 8, k // 20) for n, d, k in sizes]
    print("| head | images | features | classes | n x K | features | said beyond | peak | ratio |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for head in heads:
        for n, d, k in sizes:
            shape = {"head": head, "n": n, "d": d, "k": k}
            found = _apart(**shape, iterations=iterations, penalties=penalties)
            features, said = 4 * n * d, BYTES[head](n, d, k, slabs.SLAB)
            print(
                f"| {head} | {n:,} | {d} | {k:,} | {n * k / 1e6:.2f} M | {_mb(features)} | "
                f"{_mb(said)} | {_mb(found['peak'])} | {found['peak'] / (features + said):.2f} |",
                flush=True,
            )
            if table == "classes":
                terms = 8 * d * k * (20 if head == "logistic" else 9)
                plain = features + terms + 8 * 8 * slabs.SLAB
                print(
                    f"\nfeatures + d x K terms ({_mb(terms)}) + slab ({_mb(64 * slabs.SLAB)}) = "
                    f"{_mb(plain)}; the peak is {found['peak'] / plain:.2f} of it\n"
                )


def _imagenet(asked: argparse.Namespace) -> None:
    n, d, k = asked.images, 48 if TINY else 768, 20 if TINY else 1_000
    with tempfile.TemporaryDirectory(dir=asked.folder) as made:
        folder = str(Path(made).resolve())
        _write(Path(folder), n, d, k)
        for head in asked.heads:
            found = _apart(
                head=head,
                n=n,
                d=d,
                k=k,
                iterations=asked.iterations,
                penalties=asked.penalties,
                folder=folder,
            )
            said = BYTES[head](n, d, k, slabs.SLAB, streamed=True)
            print(
                f"{head}, {n:,} x {d}, {k:,} classes, streamed: peak {_mb(found['peak'])} "
                f"(said {_mb(said)}), process {_mb(found['process'])} in all; {found['what']}, "
                f"{found['seconds']:,.0f} s",
                flush=True,
            )


def _apart(**case: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "case", json.dumps(case)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _case(
    head: str, n: int, d: int, k: int, iterations: int, penalties: int, folder: str = ""
) -> dict[str, Any]:
    before = psutil.Process().memory_info().rss
    features: Rows
    if folder:
        from pipeline.probes.reading import CachedRows

        cell = Cell.open(CellAddress(Path(folder) / "made.zarr", "train"))
        features, labels = CachedRows(cell), cell.labels()
    else:
        labels = np.random.default_rng(0).permutation(np.arange(n) % k)
        features = np.empty((n, d), np.float32)
        for rows in slabs.slabs(n, d):
            features[rows] = _rows(rows, labels, d, k)
    start = time.perf_counter()
    bank = part(features, normalize=Normalizer.fit("zscore", features))
    if head == "logistic":
        path = LogisticPath(working_precision(bank), labels, k, max_iterations=iterations)
        fit = path.fit(1e-3)
        what = f"{fit.iterations} iterations, {fit.stopped}, objective {fit.objective:.6g}"
    else:
        _, judged = fit_ridge(bank, labels, k, PENALTIES[-penalties:])
        best = max(judged, key=lambda each: each.accuracy)
        what = f"{len(judged)} penalties, leave-one-out top-1 {best.accuracy:.4f}"
    peak = _peak()
    return {
        "peak": peak - before,
        "process": peak,
        "what": what,
        "seconds": time.perf_counter() - start,
    }


def _peak() -> int:
    """Bytes of the largest resident set of this process so far."""
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


def _rows(rows: slice, labels: np.ndarray, d: int, k: int) -> np.ndarray:
    """Class means and noise, whose variances fall as embeddings' do."""
    rng = np.random.default_rng([1, rows.start])
    means = np.random.default_rng(2).normal(0, 0.6, (k, d)).astype(np.float32)
    noise = rng.standard_normal((rows.stop - rows.start, d), dtype=np.float32)
    return (means[labels[rows]] + noise) * np.logspace(0, -1.5, d, dtype=np.float32)


def _write(folder: Path, n: int, d: int, k: int) -> None:
    labels = np.random.default_rng(0).permutation(np.arange(n) % k)
    address = CellAddress(folder / "made.zarr", "train")
    ids = [f"{row}" for row in range(n)]
    with CellWriter(address, key={"n": n}, ids=ids, labels=labels, columns=d) as writer:
        for chunk in writer.missing:
            rows = writer.rows_of(chunk)
            writer.write(chunk, _rows(rows, labels, d, k), seconds=0.0)
        writer.commit()


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


if __name__ == "__main__":
    main()
