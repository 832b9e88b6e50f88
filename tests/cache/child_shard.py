"""Builds cells beside others: python child_shard.py STORE ROWS COLUMNS LOG DELAY [SCALE].

Computes what it can claim, until the cell is whole. Killed at any moment, others go on.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
from child_writer import values_of

LOOK = 0.02


def main(store: str, rows: int, columns: int, log: str, delay: float, scale: float = 1.0) -> None:
    from cache.cell import CellAddress
    from cache.shared_writer import SharedCellWriter, mutex_of

    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    values = values_of(rows, columns) * np.float32(scale)
    mutex = mutex_of(Path(store).parent)
    with SharedCellWriter(
        CellAddress(Path(store), "train"),
        mutex=mutex,
        key={"rows": rows, "columns": columns},
        ids=[f"image/{row}" for row in range(rows)],
        labels=np.arange(rows) % 10,
        columns=columns,
        wait=60.0,
    ) as writer:
        os.write(handle, b"joined\n")
        while not writer.finished:
            begun = [
                chunk for chunk in writer.missing if compute(writer, chunk, values, handle, delay)
            ]
            writer.refresh()
            if not writer.missing:
                with writer.in_turn():
                    if not writer.finished and not writer.missing:
                        os.write(handle, b"commit\n")
                        writer.commit()
            elif not begun:
                time.sleep(LOOK)
    os.write(handle, b"done\n")


def compute(writer, chunk: int, values: np.ndarray, handle: int, delay: float) -> bool:
    if not writer.claim(chunk):
        return False
    os.write(handle, f"compute {chunk}\n".encode())
    time.sleep(delay)
    writer.write(chunk, values[writer.rows_of(chunk)], seconds=1.0)
    return True


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], *map(float, sys.argv[5:]))
