"""Writes a cell slowly, and logs what it does: python child_writer.py STORE ROWS COLUMNS LOG DELAY.

Killed at any moment and started again, it goes on where it stopped.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np


def values_of(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """The features that every process agrees on."""
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def main(store: str, rows: int, columns: int, log: str, delay: float) -> None:
    from cache.cell import CellAddress
    from cache.writer import CellWriter

    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    values = values_of(rows, columns)
    with CellWriter(
        CellAddress(Path(store), "train"),
        key={"rows": rows, "columns": columns},
        ids=[f"image/{row}" for row in range(rows)],
        labels=np.arange(rows) % 10,
        columns=columns,
    ) as writer:
        for chunk in writer.missing:
            os.write(handle, f"compute {chunk}\n".encode())
            time.sleep(delay)
            writer.write(chunk, values[writer.rows_of(chunk)], seconds=1.0)
        os.write(handle, b"commit\n")
        writer.commit()
    os.write(handle, b"done\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
