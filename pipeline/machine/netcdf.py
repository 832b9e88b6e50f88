"""Labelled data sets as netCDF files that are whole or absent."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import netCDF4
import xarray as xr
from xarray.backends import NetCDF4DataStore

from cache.errors import ProbelineError
from cache.seals import read_sealed, write_sealed
from pipeline.machine.netcdf_layout import netcdf_bytes


def have_no_dask_arrays() -> None:
    """Let xarray find, once and for this process, that no array can be one of Dask's.

    It would import all of dask.array to ask that of its first variable: a third of a second. For
    processes of our own that read and write tables, not for one that has imported this package.
    """
    if "dask" not in sys.modules:
        sys.modules["dask"] = None  # type: ignore[assignment]  # Python: it can't be imported
        try:
            xr.Variable("x", [0.0])
        finally:
            del sys.modules["dask"]


def write_netcdf(
    dataset: xr.Dataset, path: Path, groups: Mapping[str, xr.Dataset] | None = None
) -> None:
    """Write a netCDF file that is whole or absent.

    Parameters
    ----------
    dataset : Dataset
        What lies at the file's root.
    path : Path
    groups : mapping of str to Dataset, optional
        Further data sets, by the name of their group.
    """
    # In memory first: where the disk is full, HDF5 ends the whole process by a segmentation fault.
    write_sealed(path, netcdf_bytes(dataset, groups or {}))


def read_netcdf(path: Path) -> xr.Dataset:
    """Read the root of a netCDF file.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    with _opened(path) as file:
        return xr.open_dataset(_store(file)).load()


def read_netcdf_groups(path: Path) -> dict[str, xr.Dataset]:
    """Read a whole netCDF file: its groups by name, the root as ``""``.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    # Faster than `open_groups`, which visits the whole file for each group.
    with _opened(path) as file:
        groups = {"": file} | {str(name): group for name, group in file.groups.items()}
        return {name: xr.open_dataset(_store(group)).load() for name, group in groups.items()}


def _store(group: netCDF4.Dataset) -> NetCDF4DataStore:
    return NetCDF4DataStore(group)  # type: ignore[no-untyped-call]  # not annotated in xarray


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[netCDF4.Dataset]:
    """The file, read whole and compared with its digest; HDF5 itself sees few flipped bits."""
    try:
        with netCDF4.Dataset(path.name, "r", memory=read_sealed(path)) as file:
            yield file
    except ProbelineError:
        raise
    except FileNotFoundError:
        raise ProbelineError(
            str(path), "is not made yet", remedy="run `dvc repro`, which makes it"
        ) from None
    except Exception as error:  # noqa: BLE001 - what HDF5 and xarray make of a damaged file
        raise ProbelineError(
            str(path),
            "is damaged, or no netCDF file",
            found=str(error).split("\n")[0][:200],
            remedy="delete it and run `dvc repro`",
        ) from None
