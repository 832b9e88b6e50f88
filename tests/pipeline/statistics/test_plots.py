"""Tables of `dvc plots`: means and correlations recomputed by hand, and DVC's templates."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from dvc_render.vega import VegaRenderer
from named_variants import variants_named
from projects import REPOSITORY
from ruamel.yaml import YAML
from scipy import stats

from pipeline.results.variant_table import variant_coords
from pipeline.statistics.analysis import analyse
from pipeline.statistics.plots import _COLUMNS, plot_tables
from pipeline.study.schema import Correlation

MODELS, DATASETS = 7, ("in", "out_a", "out_b")


@pytest.fixture
def cube():
    rng = np.random.default_rng(0)
    variants = ["linear/a", "linear/b", "predictors/rankme"]
    value = rng.random((MODELS, len(DATASETS), len(variants), 2))
    value[0, 2, 0] = np.nan  # one cell is missing
    return xr.Dataset(
        {
            "value": (("model", "dataset", "variant", "metric"), value),
            "n_test": ("dataset", [100] * 3),
        },
        coords={
            "model": [f"<m{i}>" for i in range(MODELS)],
            "family": ("model", [f"f{i}" for i in range(MODELS)]),
            "dataset": list(DATASETS),
            "role": ("dataset", ["in_domain", "out_of_domain", "out_of_domain"]),
            "cluster": ("dataset", [""] * 3),
            "variant": variants,
            **variant_coords(variants_named(variants)),
            "metric": ["top1", "promise"],
        },
    )


def test_rows_are_what_they_say(cube):
    tables = plot_tables(cube, analyse(cube, Correlation()))
    scores = cube["value"].sel(variant="linear/a", metric="top1").values
    assert [row["model"] for row in tables["scores"]] == [f"‹m{i}>" for i in range(1, MODELS)]
    np.testing.assert_allclose(
        [row["score"] for row in tables["scores"]], scores[1:].mean(axis=1), atol=1e-6
    )
    np.testing.assert_allclose(
        [(row["in_domain"], row["out_of_domain"]) for row in tables["domains"]],
        np.stack([scores[1:, 0], scores[1:, 1:].mean(axis=1)], axis=1),
        atol=1e-6,
    )
    found = {(row["predictor"], row["target"]): row for row in tables["correlation"]}
    assert len(found) == 6  # three headline columns, each against the two others
    row = found["in · linear", "out_b · linear"]
    assert row["rho"] == pytest.approx(stats.spearmanr(scores[1:, 0], scores[1:, 2])[0], abs=1e-6)
    assert row["models"] == MODELS - 1
    assert row["low"] < row["rho"] < row["high"]
    json.dumps(tables, allow_nan=False)
    for name, rows in tables.items():
        assert all(tuple(row) == _COLUMNS[name] for row in rows)


def test_a_study_without_roles_has_no_domains(cube):
    cube["role"] = ("dataset", ["", "", ""])
    (row,) = plot_tables(cube, analyse(cube, Correlation()))["domains"]
    assert set(row) == {"model", "family", "protocol", "in_domain", "out_of_domain"}
    assert set(row.values()) == {None}


def test_every_plot_of_the_pipeline_has_its_columns_and_a_template(cube):
    tables = plot_tables(cube, analyse(cube, Correlation()))
    with open(REPOSITORY / "dvc.yaml", encoding="utf-8") as file:
        plots = YAML(typ="safe").load(file)["stages"]["correlate"]["plots"]
    assert len(plots) == len(tables)
    for plot in plots:
        ((path, settings),) = plot.items()
        rows = [{**r, "rev": rev} for r in tables[path.split("/")[-1][:-5]] for rev in ("a", "b")]
        renderer = VegaRenderer(
            rows, path, template_dir=str(REPOSITORY / ".dvc" / "plots"), **settings
        )
        spec = json.dumps(renderer.get_filled_template())
        assert "DVC_METRIC" not in spec
        assert all(settings[axis] in rows[0] for axis in ("x", "y"))
        fields = {f for f in ("protocol", "family", "rho", "models") if f'"field": "{f}"' in spec}
        assert fields <= set(rows[0])
