"""netCDF files come back as they were, whatever the names in them."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray as xr

from cache.errors import ProbelineError
from pipeline.machine.netcdf import read_netcdf, read_netcdf_groups, write_netcdf
from pipeline.machine.plain_groups import dimensions_of, is_plain, read_plain

NAMES = ["modèle π", "模型 😀", "<b>a</b>", "=1+1", ""]


def table(shift: float) -> xr.Dataset:
    """Every kind of variable that the statistics have."""
    return xr.Dataset(
        {
            "value": (("model", "set"), np.arange(10.0).reshape(5, 2) + shift),
            "n": ("model", np.arange(5)),
            "withheld": ("model", np.array(NAMES[::-1], object)),
            "known": ("model", np.arange(5) % 2 == 0),
            "total": shift,
            "none": (("model", "empty"), np.zeros((5, 0))),
        },
        coords={"model": NAMES, "set": ["in_domain", "ümlaut"], "role": ("set", ["x", "y"])},
        attrs={"definition": "Σ of π", "families": 3, "share": 0.5, "names": ["a", "ß"]},
    ).where(lambda t: t["n"] != 1)


def test_groups_are_read_as_xarray_reads_them_one_by_one(tmp_path):
    path = tmp_path / "t.nc"
    write_netcdf(table(0), path, {"one": table(1), "nothing": xr.Dataset(attrs={"withheld": "é"})})
    found = read_netcdf_groups(path)
    assert list(found) == ["", "one", "nothing"]
    for name, group in found.items():
        expected = xr.load_dataset(path, engine="h5netcdf", group=name or None)
        xr.testing.assert_identical(group, expected)
        assert {n: v.dtype.kind for n, v in group.variables.items()} == {
            n: v.dtype.kind for n, v in expected.variables.items()
        }
    xr.testing.assert_identical(read_netcdf(path), found[""])
    assert found["one"]["model"].values.tolist() == NAMES


def plain(numbers: int, size: int = 3) -> xr.Dataset:
    """As statistics are: numbers, counts and texts, along their own dimensions."""
    made = np.random.default_rng(numbers)
    values = made.normal(size=(size, 2))
    values[0, 1] = np.nan
    return xr.Dataset(
        {
            "value": (("model", "set"), values),
            "n": ("model", made.integers(0, 9, size)),
            "few": ("set", np.array([1, 0], np.int8)),
            "words": (("set", "model"), np.array([["é", ""] + ["x" * numbers] * (size - 2)] * 2)),
            "whole": 3.5,
        },
        coords={
            "model": [f"模型 {n}" for n in range(size)],
            "role": ("set", np.array(["x", "ß"], object)),
            "both": (("model", "set"), np.arange(2.0 * size).reshape(size, 2)),
            "version": "1",
        },
        attrs={"definition": "Σ", "families": 3, "share": 0.5},
    )


def test_plain_tables_are_those_of_xarray_whoever_writes_and_reads(tmp_path):
    """By h5py alone, or by xarray and h5netcdf: the same files, and the same tables of them."""
    tables = {"": plain(1), "one": plain(2, 5), "empty": xr.Dataset(attrs={"withheld": "why"})}
    assert all(map(is_plain, tables.values()))
    ours, theirs = tmp_path / "ours.nc", tmp_path / "theirs.nc"
    write_netcdf(tables[""], ours, {n: t for n, t in tables.items() if n})
    for name, made in tables.items():
        made.to_netcdf(theirs, group=name or None, mode="a" if name else "w", engine="h5netcdf")
    expected = {n: xr.load_dataset(theirs, engine="h5netcdf", group=n or None) for n in tables}
    with h5py.File(theirs) as file:
        of_theirs = {n: read_plain(file[n or "/"], dimensions_of(file)) for n in tables}
    for found in (
        read_netcdf_groups(ours),
        of_theirs,
        {n: xr.load_dataset(ours, engine="h5netcdf", group=n or None) for n in tables},
    ):
        assert list(found) == list(tables)
        for name, group in found.items():
            xr.testing.assert_identical(group, expected[name])
            assert list(group.variables) == list(expected[name].variables)
            assert list(group.sizes) == list(expected[name].sizes)
            for variable in group.variables:
                assert group[variable].dtype == expected[name][variable].dtype, (name, variable)


@pytest.mark.parametrize(
    "odd",
    [
        {"known": ("n", [True, False])},
        {"day": ("n", np.array(["2026-11-28", "2026-11-29"], "datetime64[ns]"))},
        {"small": ("n", np.array([1, 2], np.float32))},
        {"mixed": ("n", np.array(["a", 1], object))},
        {"none": (("n", "empty"), np.zeros((2, 0)))},
        {"z": ("n", np.array([1j, 2]))},
        {"told": ("n", [1.0, 2.0], {"unit": "m"})},
        {"of a kind": ("n", [1.0, 2.0])},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_all_else_is_left_to_xarray(odd):
    assert not is_plain(xr.Dataset(odd))
    assert not is_plain(xr.Dataset({"x": 1.0}, attrs={"names": ["a", "b"]}))


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "t.nc"
    write_netcdf(table(0), path)
    path.write_bytes(path.read_bytes()[:-500])
    for read in (read_netcdf, read_netcdf_groups):
        with pytest.raises(ProbelineError, match="is damaged, or no netCDF file"):
            read(path)
    path.unlink()
    with pytest.raises(ProbelineError, match="is not made yet"):
        read_netcdf_groups(path)


def test_a_file_that_the_disk_does_not_take_is_an_error_and_no_crash(tmp_path):
    """HDF5 on a full disk ends the process by a segmentation fault: it writes into memory."""
    code = (
        "import resource, sys; from pathlib import Path; import numpy as np, xarray as xr\n"
        "from cache.errors import ProbelineError\n"
        "from pipeline.machine.netcdf import write_netcdf\n"
        "data = xr.Dataset({'x': ('n', np.random.default_rng(0).normal(size=50_000))})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: write_netcdf(data, Path(sys.argv[1]))\n"
        "except ProbelineError as error: print(error); sys.exit(7)"
    )
    path = tmp_path / "scores.nc"
    path.write_bytes(b"former")
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 7, ran
    assert "is larger than a file may be here" in ran.stdout
    assert path.read_bytes() == b"former"
    assert [p.name for p in tmp_path.iterdir()] == ["scores.nc"]
