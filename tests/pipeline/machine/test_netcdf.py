"""netCDF files come back as they were, whatever the names in them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from cache.errors import ProbelineError
from pipeline.machine.netcdf import read_netcdf, read_netcdf_groups, write_netcdf

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
    assert set(found) == {"", "one", "nothing"}
    for name, group in found.items():
        expected = xr.load_dataset(path, engine="netcdf4", group=name or None)
        xr.testing.assert_identical(group, expected)
        assert {n: v.dtype.kind for n, v in group.variables.items()} == {
            n: v.dtype.kind for n, v in expected.variables.items()
        }
    xr.testing.assert_identical(read_netcdf(path), found[""])
    assert found["one"]["model"].values.tolist() == NAMES


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "t.nc"
    write_netcdf(table(0), path)
    path.write_bytes(path.read_bytes()[:10_000])
    for read in (read_netcdf, read_netcdf_groups):
        with pytest.raises(ProbelineError, match="is damaged, or no netCDF file"):
            read(path)
    path.unlink()
    with pytest.raises(ProbelineError, match="is not made yet"):
        read_netcdf_groups(path)


def test_a_file_that_was_cut_off_is_named_or_lost_nothing_but_padding(tmp_path):
    path = tmp_path / "t.nc"
    write_netcdf(table(0), path)
    whole, data = read_netcdf(path), path.read_bytes()
    named = 0
    for length in range(0, len(data), 1_000):
        path.write_bytes(data[:length])
        try:
            assert read_netcdf(path).identical(whole)
        except ProbelineError:
            named += 1
    assert named > 5


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


def test_what_is_written_comes_back_and_equal_tables_are_equal_files(tmp_path):
    """Dimensions with and without labels, of length 0, alike in two groups; texts and numbers."""
    alone = xr.Dataset(
        {"text": "ü", "number": 3, "rows": ("row", np.arange(3.0)), "n": ("row", [1, 2, 3])},
        coords={"label": ("row", ["a", "", "ß"])},
        attrs={"shape": [3, 4], "half": 0.5},
    )
    empty = xr.Dataset({"none": (("row", "empty"), np.zeros((2, 0)))}, coords={"row": ["x", "y"]})
    square = xr.Dataset({"v": (("a", "b"), np.eye(3, 4, dtype=np.float32))}, {"b": [4, 3, 2, 1]})
    groups = {"alone": alone, "empty": empty, "square": square}
    paths = [tmp_path / "one.nc", tmp_path / "two.nc"]
    write_netcdf(xr.Dataset(), paths[0], groups)
    found = read_netcdf_groups(paths[0])
    for name, table in groups.items():
        xr.testing.assert_equal(found[name], table)
        assert list(found[name].variables) == list(table.variables)
        assert {n: v.dtype for n, v in found[name].variables.items()} == {
            n: v.dtype for n, v in table.variables.items()
        }
    assert found["alone"].attrs["shape"].tolist() == [3, 4]
    write_netcdf(found.pop(""), paths[1], found)  # what it was read from leaves no trace
    assert paths[0].read_bytes() == paths[1].read_bytes()
