"""A cell's Zarr arrays: everything of them but the embedding's chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def describe_arrays(
    ids: Sequence[str],
    labels: NDArray[np.integer],
    columns: int,
    chunk_rows: int,
    dtype: str,
    digests: NDArray[np.uint8] | None = None,
) -> dict[str, bytes]:
    """The arrays' metadata, labels and ids, as Zarr writes them: content by path in the cell.

    Made in memory: on a full disk, Zarr's own threads would go on writing after the error.

    Parameters
    ----------
    ids : sequence of str
    labels : ndarray of shape (n_samples,)
    columns : int
        Features per sample.
    chunk_rows : int
        Samples of one chunk of the embedding; a chunk spans all columns.
    dtype : str
        Of the embedding.
    digests : ndarray of shape (n_samples, ROW_BYTES), optional
        What each row was made of.
    """
    import zarr  # half a second: only who writes pays it

    files: dict[str, Any] = {}
    group = zarr.create_group(zarr.storage.MemoryStore(files), zarr_format=3)
    group.create_array(
        "embedding",
        shape=(len(ids), columns),
        chunks=(chunk_rows, columns),
        dtype=dtype,
        # Not compressed: mantissas are noise, and raw chunks read four times as fast.
        compressors=None,
        # An absent chunk must never read as zeros, which look like features.
        fill_value=np.nan,
        dimension_names=["sample", "feature"],
    )
    numbers = np.asarray(labels, dtype=np.int64)
    names = np.asarray(ids, dtype=np.dtypes.StringDType())
    # Nor must an absent label read as class 0.
    for name, values, fill in (("label", numbers, -1), ("id", names, "")):
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=(max(len(values), 1),),
            dtype=values.dtype,
            fill_value=fill,
            dimension_names=["sample"],
        )
        array[:] = values
    del files["zarr.json"]  # the group's own: the manifest takes its place
    described = {name: files[name].to_bytes() for name in sorted(files)}
    return described if digests is None else described | describe_digests(digests)


def describe_digests(digests: NDArray[np.uint8]) -> dict[str, bytes]:
    """The array of the rows' digests, likewise: one raw chunk, as digests are noise, too."""
    import zarr

    files: dict[str, Any] = {}
    zarr.create_array(
        zarr.storage.MemoryStore(files),
        name="digest",
        shape=digests.shape,
        chunks=digests.shape,
        dtype="uint8",
        compressors=None,
        fill_value=0,
        dimension_names=["sample", "byte"],
        zarr_format=3,
    )
    return {
        "digest/c/0/0": np.ascontiguousarray(digests, np.uint8).tobytes(),
        "digest/zarr.json": files["digest/zarr.json"].to_bytes(),
    }
