"""Untrained and collapsed models are in no headline, and are not told by their accuracy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr
from made_cubes import make_cube
from made_evidence import make_evidence
from named_variants import variants_named

from pipeline.results.variant_table import variant_coords
from pipeline.statistics.comparison import comparison
from pipeline.statistics.evidence import ValSplit
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.trained import left_out

ROLES = ["in_domain", "out_of_domain", "out_of_domain", "out_of_domain"]


def scores(seed, models=16, untrained=2):
    """No order of the trained ones carries over; the untrained are far behind everywhere."""
    rng = np.random.default_rng(seed)
    values = {n: 0.7 + 0.05 * rng.normal(0, 1, (models, 4)) for n in ("knn/a", "linear/b")}
    for table in values.values():
        table[:untrained] -= 0.5
    return values


def evidence_of(values, **words):
    return make_evidence(make_cube(values, role=ROLES, **words))


def test_untrained_models_do_not_raise_a_rho_of_0():
    without, within = [], []
    for seed in range(40):
        supervision = ["none"] * 2 + ["supervised"] * 14
        found = comparison(evidence_of(scores(seed), supervision=supervision))
        row = found.sel(predictor="knn/a@d0", targets="all")
        without.append(float(row["mean"]))
        within.append(float(row["with_all"]))
        assert (row["n"], row["with_all_n"]) == (14, 16)
    assert abs(np.mean(without)) < 0.1
    assert 0.25 < np.mean(within) < 0.45
    assert found.attrs["untrained"] == "m0, m1"


@pytest.mark.parametrize("words", [{"method": ["random"] * 2 + ["a"] * 14}, {}])
def test_untrained_is_what_words_or_params_say(words):
    evidence = evidence_of(scores(0), **words)
    if not words:
        evidence = dataclasses.replace(evidence, untrained=frozenset({"m0", "m1"}))
    assert left_out(evidence).untrained == ("m0", "m1")
    found = fidelity(evidence)
    assert found.found.models == tuple(f"m{i}" for i in range(2, 16))
    assert len(found.families) == 14


def test_nobody_is_left_out_where_too_few_others_are_left():
    evidence = evidence_of(scores(0, 6), supervision=["none"] * 3 + ["supervised"] * 3)
    told = left_out(evidence)
    assert len(told.untrained) == 3
    assert not told.mask.any()
    assert comparison(evidence).attrs["left_out"] == 0


def with_ranks(ranks, width=64, images=200):
    """Evidence in which RankMe was measured, of shape (n_models, n_datasets)."""
    models = len(ranks)
    cube = make_cube(scores(0, models, 0), role=ROLES, supervision="supervised")
    names = ["knn/a", "linear/b", "predictors/rankme"]
    cube = cube.drop_vars([c for c in cube.coords if "variant" in cube[c].dims])
    cube = cube.pad(variant=(0, 1)).assign_coords(variant=names)
    cube = cube.assign_coords(variant_coords(variants_named(names)))
    cube = cube.reindex(metric=["top1", "promise", "value"])
    value = cube["value"].copy()
    value.loc[{"variant": "predictors/rankme", "metric": "value"}] = ranks
    cube = cube.assign(value=value).assign_coords(dimension=("model", [float(width)] * models))
    test = ValSplit((), np.zeros(0, np.int64), images, 4, ())
    tests = {str(d): test for d in cube["dataset"].values}
    return dataclasses.replace(make_evidence(cube), tests=tests)


def test_collapsed_is_a_rank_below_the_limit_on_every_data_set():
    ranks = np.full((10, 4), 20.0)
    ranks[3] = 1.9  # of 64 possible: 3% is 1.92
    ranks[4, :3] = 1.0  # not on the last
    ranks[5] = [np.nan, 1.2, np.nan, 1.0]
    ranks[6] = np.nan  # not measured
    told = left_out(with_ranks(ranks))
    assert told.collapsed == ("m3", "m5")
    assert told.ranked == 9


def test_the_limit_is_of_the_images_where_these_are_fewer_than_features():
    ranks = np.full((10, 4), 2.9)
    assert left_out(with_ranks(ranks, width=100, images=1000)).collapsed != ()
    assert left_out(with_ranks(ranks, width=100, images=20)).collapsed == ()


def test_accuracy_leaves_nobody_out():
    values = scores(0)
    for table in values.values():
        table[5] = 0.01
    assert not left_out(evidence_of(values)).mask.any()
    assert isinstance(comparison(evidence_of(values)), xr.Dataset)
