"""Several named arrays in one file, as NumPy's ``.npz``, with the file's own digest.

What lies beside an unfinished cell may be damaged, or of a copied folder, whose maker can make a
digest as well as we can: so whatever is wrong with it is one error.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cache.errors import CellCorruptError
from cache.seals import damaged, read_sealed, write_sealed


def write_arrays(path: Path, **arrays: ArrayLike) -> None:
    """Write arrays by name, durably."""
    buffer = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(values) for name, values in arrays.items()}
    np.savez(buffer, **named)
    write_sealed(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote, or an older version without digest; all of it is in memory.

    Raises
    ------
    FileNotFoundError
    CellCorruptError
        When it is not what was written, or no such file.
    """
    data = read_sealed(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > len(data):
                raise ValueError("it says of itself that it is larger than it is")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return {name: np.asarray(stored[name]) for name in stored.files}
    except Exception as error:
        if isinstance(error, CellCorruptError):
            raise
        raise damaged(path, f"{type(error).__name__}: {error}"[:200]) from None
