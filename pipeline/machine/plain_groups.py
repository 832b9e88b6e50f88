"""Groups of a netCDF file that hold nothing but numbers and texts, read and written by h5py alone.

xarray and h5netcdf handle any netCDF file, and look for compression, chunks, calendars, scales and
the dimensions of all groups at each variable: 5 ms, which is 3 s for the statistics of a study,
once to write and once to read. These tables need none of it. Whoever reads them sees no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import xarray as xr

_STRUCTURE = frozenset(
    ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates")
)
"""Attributes by which dimensions are found."""

_EMPTY = b"This is a netCDF dimension but not a netCDF variable"


def read_plain(group: h5py.Group, inherited: Mapping[int, str] | None = None) -> xr.Dataset | None:
    """A group as xarray reads it; None where something is of a kind that only xarray reads.

    Parameters
    ----------
    group : Group
        Of a netCDF-4 file; its own groups are not read.
    inherited : mapping of int to str, optional
        Dimensions of the root, see `dimensions_of`, which its groups may use.
    """
    names = {**(inherited or {}), **dimensions_of(group)}
    variables: dict[str, Any] = {}
    coordinates = set(names.values())
    for name, item in group.items():
        if not isinstance(item, h5py.Dataset):
            continue
        of = dict(item.attrs)
        if of.get("NAME", b"").startswith(_EMPTY):
            continue
        dimensions, values = _dimensions(item, of, names), _values(item, of)
        if dimensions is None or values is None:
            return None
        coordinates.update(str(of.get("coordinates", "")).split())
        variables[name] = (dimensions, values)
    told = {name: _told(value) for name, value in group.attrs.items() if name[0] != "_"}
    if not all(isinstance(value, str | np.number) for value in told.values()):
        return None
    coordinates.update(str(told.pop("coordinates", "")).split())
    return xr.Dataset(
        {name: of for name, of in variables.items() if name not in coordinates},
        {name: of for name, of in variables.items() if name in coordinates},
        told,
    )


def dimensions_of(group: h5py.Group) -> dict[int, str]:
    """Names of a group's own dimensions by the numbers that variables have them by."""
    scales = {
        name: item.attrs
        for name, item in group.items()
        if isinstance(item, h5py.Dataset) and item.attrs.get("CLASS") == b"DIMENSION_SCALE"
    }
    return {int(of["_Netcdf4Dimid"]): name for name, of in scales.items() if "_Netcdf4Dimid" in of}


def is_plain(dataset: xr.Dataset) -> bool:
    """Whether `write_plain` can write it."""
    variables = {str(name): variable for name, variable in dataset.variables.items()}
    return (
        0 not in dataset.sizes.values()
        and all(
            isinstance(value, str | int | float | np.number) for value in dataset.attrs.values()
        )
        and all(_is_plain(name, variable) for name, variable in variables.items())
        and not any(" " in name or name in ("coordinates", "_FillValue") for name in variables)
    )


def write_plain(group: h5py.Group, dataset: xr.Dataset, first: int) -> int:
    """Write a data set into an empty group, as xarray would.

    Parameters
    ----------
    group : Group
    dataset : Dataset
        Which `is_plain`.
    first : int
        The number of its first dimension, different from all others of the file.

    Returns
    -------
    int
        The next number.
    """
    numbers = {str(name): first + place for place, name in enumerate(dataset.sizes)}
    made = {
        str(name): _created(group, str(name), variable.values)
        for name, variable in dataset.variables.items()
    }
    for name, size in dataset.sizes.items():
        if name in made:
            made[str(name)].make_scale(str(name))
        else:
            empty = group.create_dataset(str(name), (size,), ">f4")
            empty.make_scale(f"{_EMPTY.decode()}.{size:10}")
            empty.attrs["_Netcdf4Dimid"] = np.int32(numbers[str(name)])
    for name, item in made.items():
        dimensions = [str(dimension) for dimension in dataset.variables[name].dims]
        if dimensions:
            item.attrs["_Netcdf4Coordinates"] = np.array([numbers[d] for d in dimensions], "int32")
            item.attrs["_Netcdf4Dimid"] = np.int32(numbers[dimensions[0]])
        for axis, dimension in enumerate(dimensions):
            if dimension != name:
                item.dims[axis].attach_scale(group[dimension])
        if item.dtype == np.float64:
            item.attrs["_FillValue"] = np.array([np.nan])
    for name, value in dataset.attrs.items():
        group.attrs[str(name)] = value if isinstance(value, str) else np.atleast_1d(value)
    _name_coordinates(group, made, dataset)
    return first + len(numbers)


def _is_plain(name: str, variable: xr.Variable) -> bool:
    kind = variable.dtype.kind
    if variable.attrs or (name in variable.dims and variable.dims != (name,)):
        return False
    if kind == "O":
        return all(isinstance(value, str) for value in variable.values.ravel())
    return kind in "Uiu" or variable.dtype == np.float64


def _created(group: h5py.Group, name: str, values: Any) -> h5py.Dataset:
    if values.dtype.kind in "UO":
        return group.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
    return group.create_dataset(name, data=values)


def _name_coordinates(
    group: h5py.Group, made: Mapping[str, h5py.Dataset], dataset: xr.Dataset
) -> None:
    """Variables name the coordinates along them, the group those that no variable names."""
    left = {str(n): set(c.dims) for n, c in dataset.coords.items() if n not in dataset.sizes}
    alone = set(left)
    for name, variable in dataset.data_vars.items():
        named = sorted(n for n, dims in left.items() if dims <= set(variable.dims))
        alone -= set(named)
        if named:
            made[str(name)].attrs["coordinates"] = " ".join(named)
    if alone:
        group.attrs["coordinates"] = " ".join(sorted(alone))


def _told(value: Any) -> Any:
    """An attribute: of a list of one, what is in it."""
    return value[0] if isinstance(value, np.ndarray) and value.shape == (1,) else value


def _dimensions(
    item: h5py.Dataset, attributes: dict[str, Any], names: dict[int, str]
) -> tuple[str, ...] | None:
    """Names of a variable's dimensions; None where they are given in another way."""
    if not item.ndim:
        return ()
    numbers = [int(n) for n in attributes.get("_Netcdf4Coordinates", ())]
    if len(numbers) != item.ndim or not names.keys() >= set(numbers):
        return None
    return tuple(names[number] for number in numbers)


def _values(item: h5py.Dataset, attributes: dict[str, Any]) -> Any:
    """Float64, whole numbers and texts; None of all else, and of what is stored in another form."""
    more = attributes.keys() - _STRUCTURE - {"coordinates"}
    if h5py.check_string_dtype(item.dtype) is not None:
        return None if more else np.asarray(item.asstr()[()], object).astype(np.str_)
    if item.dtype == np.float64:
        fill = attributes.get("_FillValue")
        if more <= {"_FillValue"} and (fill is None or np.isnan(fill).all()):
            return item[()]
    return item[()] if item.dtype.kind in "iu" and not more else None
