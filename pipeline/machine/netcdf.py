"""Labelled data sets as netCDF files that are whole or absent."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5netcdf
import h5py
import xarray as xr
from xarray.backends import H5NetCDFStore

from cache.errors import ProbelineError
from cache.seals import read_sealed, write_sealed
from pipeline.machine.plain_groups import dimensions_of, is_plain, read_plain, write_plain


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
    whole = io.BytesIO()
    if all(map(is_plain, (dataset, *(groups or {}).values()))):
        with h5py.File(whole, "w", track_order=True) as file:
            number = write_plain(file, dataset, 0)
            for name, group in (groups or {}).items():
                number = write_plain(file.create_group(name, track_order=True), group, number)
        write_sealed(path, whole.getvalue())
        return
    # By `to_netcdf` the file would be opened, and all of it visited, for each group anew.
    with h5netcdf.File(whole, "w") as file:
        dataset.dump_to_store(H5NetCDFStore(file))
        for name, group in (groups or {}).items():
            group.dump_to_store(H5NetCDFStore(file.create_group(name)))
    write_sealed(path, whole.getvalue())


def read_netcdf(path: Path) -> xr.Dataset:
    """Read the root of a netCDF file.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    with _opened(path) as file:
        return _read(file, "/")


def read_netcdf_groups(path: Path) -> dict[str, xr.Dataset]:
    """Read a whole netCDF file: its groups by name, the root as ``""``.

    Raises
    ------
    ProbelineError
        When it is absent or damaged.
    """
    with _opened(path) as file:
        groups = [name for name, item in file.items() if isinstance(item, h5py.Group)]
        shared = dimensions_of(file)
        return {"": _read(file, "/")} | {name: _read(file, name, shared) for name in groups}


def _read(file: h5py.File, name: str, shared: Mapping[int, str] | None = None) -> xr.Dataset:
    plain = read_plain(file[name], shared)
    if plain is not None:
        return plain
    whole = h5netcdf.File(file, "r", decode_vlen_strings=True)
    return xr.open_dataset(H5NetCDFStore(whole if name == "/" else whole.groups[name])).load()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, read whole and compared with its digest; HDF5 itself sees few flipped bits."""
    try:
        whole = io.BytesIO(read_sealed(path))
        with h5py.File(whole, "r") as file:
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
