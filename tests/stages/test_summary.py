"""report/summary.md: what it says, and that names in it are no markup."""

from __future__ import annotations

import pytest
import xarray as xr
from report_study import make_study, store

from pipeline.report.inputs import load_inputs
from pipeline.report.summary import _code, _text, summarise
from pipeline.statistics.advice import advices
from pipeline.statistics.written import rho

HOSTILE = "</script><b>`x`|y"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_best_models_and_what_predicts(tmp_path):
    study = make_study(models=6, outside=2, title="Cats *and* <dogs>")
    store(study)
    inputs = load_inputs(study)
    text = summarise(inputs)
    assert text == summarise(inputs)
    assert text.startswith("# Cats \\*and\\* \\<dogs\\>\n\n6 models, 3 data sets, ")
    means = inputs.cube["value"].sel(variant="linear/logistic_none", metric="top1").mean("dataset")
    best, mean = str(means.idxmax().item()), 100 * float(means.max())
    assert f"| linear probe | `{best}` | {mean:.1f}% (" in text
    table = inputs.statistics["comparison"]
    of = table.sel(predictor="linear/logistic_none@in0", targets=table.attrs["headline_targets"])
    ends = [rho(float(of[name])) for name in ("mean", "joint_low", "joint_high")]
    assert f"| linear probe on `in0` | {ends[0]} ({ends[1]} to {ends[2]}) | – | 4 | 6 |" in text
    said = [advice.text for advice in advices(inputs.statistics, inputs.columns)]
    assert len(said) == 3
    for statement in said:
        assert f"- {_text(statement)}" in text
        assert "6 models in common are too few" in statement
    assert "cell is missing" not in text
    assert "cells are missing" not in text
    assert "models with one have no mean" not in text
    assert "has no score" not in text


def test_gaps_and_what_is_withheld_are_said():
    study = make_study(models=3)
    store(study, missing=[("knn", "out0", "model1")])
    inputs = load_inputs(study)
    nothing = xr.Dataset(attrs={"definition": "x", "withheld": "fewer than *four* models"})
    inputs.statistics["ranks_of_models"] = nothing  # type: ignore[index]
    text = summarise(inputs)
    assert "1 cell is missing" in text
    assert "1 of 18 cells has no score" in text
    assert "3 models are too few to rank checks by" in text
    assert "a rank correlation over 3 models says nothing" in text
    assert "- ranks of models: fewer than \\*four\\* models" in text


def test_names_are_no_markup():
    assert _code(HOSTILE) == "`</script><b>ʼxʼ¦y`"
    assert "<b" not in _text(HOSTILE).replace("\\<", "")
    assert _text("a_b\nc") == "a\\_b c"
