"""Outcomes for the report: one value an image, whatever the protocol's records look like."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xarray as xr
from named_variants import variants_named

from cache.errors import ProbelineError
from cache.records import read_record, write_record
from pipeline.results.cube import cheap_predictors, comparable, headline_variants
from pipeline.results.variant_table import variant_coords
from pipeline.statistics.evidence import _shares


def record_of(folder, samples, ranks):
    table = pa.table({"sample": np.array(samples, np.int32), "rank": np.array(ranks, np.int32)})
    write_record(folder / "r.parquet", key={}, scores=[], outcomes=table)
    record = read_record(folder / "r.parquet")
    assert record is not None
    return record, record.outcomes()


def test_the_share_of_an_images_draws_that_are_right(tmp_path):
    samples, ranks = [2, 0, 1, 1, 2, 0], [1, 1, 3, 2, 2, 1]
    found = _shares(*record_of(tmp_path, samples, ranks), 3, partly=False)
    np.testing.assert_array_equal(found, [1, 0, 0.5])


def test_images_left_out_are_nan_and_refused_where_all_must_be_judged(tmp_path):
    record, table = record_of(tmp_path, [0, 2], [1, 4])
    np.testing.assert_array_equal(_shares(record, table, 4, partly=True), [1, np.nan, 0, np.nan])
    with pytest.raises(ProbelineError, match="other test images"):
        _shares(record, table, 4, partly=False)
    with pytest.raises(ProbelineError, match="up to number 2"):
        _shares(record, table, 2, partly=True)


@pytest.fixture
def cube():
    """Three models on two data sets, by two protocols and a predictor."""
    variants = ["transfer/groups", "transfer/from_a", "linear/x", "predictors/logme"]
    value = np.full((3, 2, 4, 3), np.nan)
    value[:, 0, 0, 0] = 0.5  # the first variant is scored on one data set only
    value[:, :, 1, 0] = [[0.1, 0.2]] * 3
    value[:, :, 2, 0] = 0.7
    value[:, :, 3, 1:] = [3.0, -3.0]
    return xr.Dataset(
        {"value": (("model", "dataset", "variant", "metric"), value)},
        coords={
            "model": list("pqr"), "dataset": list("ab"), "variant": variants,
            "metric": ["top1", "value", "promise"],
            **variant_coords(variants_named(variants)),
        },
    )  # fmt: skip


def test_a_protocols_headline_covers_most_data_sets_and_predictors_have_none(cube):
    assert headline_variants(cube) == {"transfer": "transfer/from_a", "linear": "linear/x"}
    assert cheap_predictors(cube) == ["predictors/logme"]


def test_predictors_are_compared_by_their_promise(cube):
    scores = comparable(cube, "top1")
    assert scores.dims == ("model", "dataset", "variant")
    assert (scores.sel(variant="predictors/logme") == -3).all()
    assert (scores.sel(variant="linear/x") == 0.7).all()
    lacking = comparable(cube.sel(metric=["top1"]), "top1")
    assert np.isnan(lacking.sel(variant="predictors/logme")).all()
