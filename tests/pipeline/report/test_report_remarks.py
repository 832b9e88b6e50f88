"""Remarks beside the figures: each true of the numbers that it is made from."""

from __future__ import annotations

import numpy as np
import pytest
import vl_convert
import xarray as xr

from pipeline.report.gap import Gap
from pipeline.report.remarks import (
    families_behind,
    how_drawn,
    intervals_of_points,
    outside_band,
    pairs_tested,
    probability,
    rest_on,
    whose_scores,
)
from pipeline.report.stated import rho_text
from pipeline.statistics.written import rho


@pytest.mark.parametrize(
    ("fewest", "over_families", "over_models", "said"),
    [
        (0, 0, 0, "There are no intervals: at least 5 models in common are needed."),
        (8, 3, 0, ""),
        (7, 3, 0, "Intervals rest on few families (7 at the fewest)."),
        (0, 0, 2, "Intervals leave out one model at a time, as fewer than 5 families of these "
                  "models are known: they say nothing about models of other families."),
        (9, 1, 2, "Some intervals leave out one model at a time, as fewer than 5 families of these "
                  "models are known: they say nothing about models of other families."),
    ],
)  # fmt: skip
def test_what_intervals_rest_on(fewest, over_families, over_models, said):
    assert rest_on(fewest, over_families=over_families, over_models=over_models) == said


def test_families_are_those_behind_the_intervals_and_not_of_the_whole_study():
    """Twelve families in all; the only intervals over families rest on 6, one is over models."""
    table = xr.Dataset(
        {
            "low": ("pair", [0.1, np.nan, 0.2, 0.3]),
            "families": ("pair", [6.0, 12.0, 9.0, 3.0]),
            "over_models": ("pair", [0.0, np.nan, 0.0, 1.0]),
        }
    )
    assert families_behind(table) == (
        "Intervals rest on few families (6 at the fewest). Some intervals leave out one model at a "
        "time, as fewer than 5 families of these models are known: they say nothing about models "
        "of other families."
    )
    assert families_behind(table.isel(pair=[1])).startswith("There are no intervals")
    assert families_behind(table.isel(pair=[2])) == ""


def test_residuals_are_counted_and_nothing_is_said_of_chance():
    assert outside_band(1, 1).startswith("1 of 1 residual over all choices lies outside its band.")
    assert outside_band(0, 1200).startswith("0 of 1,200 residuals over all choices lie outside")
    assert "1 in 20" not in outside_band(3, 60)


def test_roles_points_and_pictures():
    assert whose_scores(1, 2) == ""
    assert whose_scores(0, 2).startswith("This study has no in-domain data set, so any two")
    assert "no in-domain and no out-of-domain data set" in whose_scores(0, 0)
    assert intervals_of_points(of_sets=False, of_means=False, confidence=0.9) == ""
    both = intervals_of_points(of_sets=True, of_means=True, confidence=0.9)
    assert both == (
        ", with 95% intervals over test images; 90% intervals of means over data sets from all "
        "their images (normal approximation)"
    )
    assert how_drawn(1) == "The test images are drawn by lot."
    assert "differ most" in how_drawn(2)
    assert pairs_tested(tested=False).startswith("No pair of models was tested")
    assert "tested together" in pairs_tested(tested=True)


@pytest.mark.parametrize(
    ("share", "written"), [(0.0, "< 0.01"), (1.0, "> 0.99"), (0.42, "0.42"), (np.nan, "–")]
)
def test_a_share_of_draws_is_never_certain(share, written):
    assert probability(share) == written


def test_tallies_count_what_was_looked_at():
    """Two remarks on one of three data sets are 1 of 3, not 2 of 3."""
    assert Gap("t", "w", ("a: x", "a: y"), 3, "data set", 1).tally == "1 of 3 data sets"
    assert Gap("t", "w", ("a",), 1).tally == "1 of 1 cell"
    assert Gap("t", "w", (), 1200, "fit").nowhere == "none in 1,200 fits"


VALUES = (0.9949, 0.995, 0.996, 0.9994, 0.9995, 0.99999, 1.0, -1.0, -0.9999, -0.997, 0.0, -0.3)


def test_no_correlation_is_drawn_as_1_that_is_not_1():
    rows = [{"i": i, "x": value} for i, value in enumerate(VALUES)]
    spec = {
        "data": {"values": rows},
        "transform": [{"calculate": rho_text("datum.x"), "as": "t"}],
        "mark": "text",
        "encoding": {
            "y": {"field": "i", "type": "ordinal", "axis": None},
            "text": {"field": "t", "type": "nominal"},
        },
    }
    svg = vl_convert.vegalite_to_svg(spec)
    for value in VALUES:
        assert f">{rho(value).replace('>', '&gt;').replace('<', '&lt;')}<" in svg
