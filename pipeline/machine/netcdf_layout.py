"""How labelled data sets lie in a netCDF-4 file, written by h5py itself.

h5netcdf looks up a variable's neighbours again for each property of each dimension: of 535
variables in 54 groups it took ten times as long. netCDF4 writes the time into the file, and equal
tables are to be equal files.

What makes an HDF5 file a netCDF-4 one (netCDF's "File Format Specification", NetCDF-4): each
dimension is a dimension scale with a number that no other one of the file has, each variable names
the scales of its axes, and the order of creation is kept. A dimension without a variable of its
name is a scale without data, under a name that says so.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.conventions import encode_cf_variable, encode_dataset_coordinates

_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable."
_TEXT = h5py.string_dtype()
_LIBRARY_BOUNDS = ("v108", "v108")
"""Of HDF5's format: the oldest that keeps the order of creation."""


def netcdf_bytes(root: xr.Dataset, groups: Mapping[str, xr.Dataset]) -> bytes:
    """A whole netCDF-4 file; equal data sets give equal bytes.

    Parameters
    ----------
    root : Dataset
        What lies at the file's root.
    groups : mapping of str to Dataset
        Further data sets, by the name of their group; each has dimensions of its own.
    """
    whole = io.BytesIO()
    numbers = itertools.count()
    with h5py.File(whole, "w", libver=_LIBRARY_BOUNDS, track_order=True) as file:
        _fill(file, root, numbers)
        for name, dataset in groups.items():
            _fill(file.create_group(name, track_order=True), dataset, numbers)
    return whole.getvalue()


def _fill(group: h5py.Group, dataset: xr.Dataset, numbers: Iterator[int]) -> None:
    # What a file that it was read from was like is no part of it.
    variables, attributes = encode_dataset_coordinates(dataset.drop_encoding())
    for name, value in attributes.items():
        _set_attribute(group, str(name), value)
    scales = {
        dim: _scale_alone(group, str(dim), size)
        for dim, size in dataset.sizes.items()
        if dim not in variables
    }
    written = {name: _write(group, str(name), of) for name, of in variables.items()}
    for dim in dataset.sizes:
        if dim in written:
            scales[dim] = written[dim]
            scales[dim].make_scale(str(dim))
        scales[dim].attrs.create("_Netcdf4Dimid", next(numbers), dtype=np.int32)
    for name, variable in variables.items():
        if name not in scales:
            for axis, dim in enumerate(variable.dims):
                h5py.h5ds.attach_scale(written[name].id, scales[dim].id, axis)


def _scale_alone(group: h5py.Group, dim: str, size: int) -> h5py.Dataset:
    """A dimension that no variable is called like: a scale whose numbers are never written."""
    scale = group.create_dataset(dim, shape=(size,), dtype=">f4", track_order=True)
    scale.make_scale(f"{_NO_VARIABLE}{size:10}")
    return scale


def _write(group: h5py.Group, name: str, variable: xr.Variable) -> h5py.Dataset:
    encoded = encode_cf_variable(variable, name=name)
    values, dtype = _stored(encoded.values)
    attributes = dict(encoded.attrs)
    fill = attributes.pop("_FillValue", None)
    written = group.create_dataset(name, data=values, dtype=dtype, fillvalue=fill, track_order=True)
    if fill is not None:
        written.attrs.create("_FillValue", np.array([fill], dtype))
    for key, value in attributes.items():
        _set_attribute(written, key, value)
    return written


def _set_attribute(of: h5py.Group | h5py.Dataset, name: str, value: object) -> None:
    """A text as a text, everything else as a row of its numbers or texts."""
    if isinstance(value, str):
        of.attrs[name] = value
        return
    values, dtype = _stored(np.atleast_1d(np.asarray(value)))
    of.attrs.create(name, values, dtype=dtype)


def _stored(values: NDArray[Any]) -> tuple[NDArray[Any], np.dtype[Any]]:
    """Numbers as they are; texts as objects, of which a missing one is empty."""
    if values.dtype.kind not in "OU":
        return values, values.dtype
    texts = np.empty(values.shape, object)
    texts.ravel()[:] = [text if isinstance(text, str) else "" for text in values.ravel().tolist()]
    return texts, _TEXT
