"""The report's section on fine-tuning: not run, thinned curves, a run in words."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from named_variants import variants_named

from pipeline.report import finetuning
from pipeline.report.finetuning import MEASURES, curve_rows, figures, run_words, section
from pipeline.study.finetune import Finetune, Run

MODELS = ("a", "b")
VARIANTS = ("linear/ridge_none", "fewshot/ridge_10_percent", "finetune/few", "finetune/full")


def made_inputs(enabled=True, models=MODELS):
    """What the section reads of a study of two data sets, of which one is fine-tuned."""
    value = np.full((2, 2, 4), 0.5)
    value[:, 0] = [[0.6, 0.4, 0.7, 0.9], [0.8, 0.5, 0.75, np.nan]]
    value[:, 1, 2:] = np.nan
    coords = {"model": list(MODELS), "dataset": ["in", "out"], "variant": list(VARIANTS)}
    dims = tuple(coords)
    words = {w: ("model", ["x", "y"]) for w in ("family", "supervision")}
    scored = xr.Dataset({"value": (dims, value)}, coords=coords)
    cube = xr.Dataset(
        {"seconds": ((*dims, "metric"), np.full((2, 2, 4, 1), 3.0))},
        coords=coords | words | {"metric": ["top1"]},
    )
    runs = {"few": Run(recipe="modern", fraction=0.1), "full": Run(recipe="sgd")}
    study = SimpleNamespace(
        models=dict.fromkeys(models, SimpleNamespace(weights="random(0)")),
        datasets=dict.fromkeys(("in", "out"), SimpleNamespace(source="folder", test_only=False)),
        finetune=Finetune(enabled=enabled, datasets=["in"], runs=runs),
    )
    variants = dict(zip(VARIANTS, variants_named(VARIANTS), strict=True))
    return SimpleNamespace(
        study=study, variants=variants, cube=cube, scored=scored, metric="top1",
        models=list(MODELS),
        headline={"linear": VARIANTS[0], "finetune": VARIANTS[2]},
        datasets=lambda: ["in", "out"],
        words=lambda name: dict(zip(MODELS, cube[name].values.tolist(), strict=True)),
    )  # fmt: skip


def epochs(count, model="a", run="few", chosen=None):
    return [
        {
            "dataset": "in", "model": model, "run": run, "epoch": n, "chosen": n == chosen,
            "holdout_top1": None, "train_loss": 1 / n, "holdout_loss": None,
            "learning_rate": 0.1234567 / n,
        }
        for n in range(1, count + 1)
    ]  # fmt: skip


@pytest.fixture
def curves(monkeypatch):
    rows = []
    monkeypatch.setattr(finetuning, "read_curves", lambda study: rows)
    return rows


def test_off_it_says_so_and_shows_nothing(curves):
    said = section(made_inputs(enabled=False))
    assert said.withheld.startswith("Not run: `finetune.enabled` is false")
    assert figures(made_inputs(enabled=False)) == {}


def test_a_study_of_imported_scores_has_nothing_to_train(curves):
    assert "no model of its own" in section(made_inputs(models=())).withheld


def test_rows_are_means_over_the_models_that_a_run_has(curves):
    said = section(made_inputs())
    assert said.withheld == ""
    assert said.choices == ()
    few, full = said.table.rows
    assert few[0].small.startswith("10% of each class")
    assert [cell.text for cell in few[1:3]] == ["in", "b"]
    assert few[3] == ("72.5", "2 models")
    assert few[4] == ("45.0", "10% of the labels, ridge")
    assert few[5].text == "70.0"
    assert full[3] == ("90.0", "1 model")
    assert full[4].text == "–"  # no head saw as many labels
    assert full[5].text == "60.0"  # of the same model alone


def test_long_curves_are_thinned_to_their_ends_and_what_was_kept(curves, monkeypatch):
    curves += epochs(1000, chosen=123) + epochs(3, model="b")
    monkeypatch.setattr(finetuning, "MOST_POINTS", 14)
    rows = curve_rows(made_inputs())
    assert [r["epoch"] for r in rows if r["model"] == "b"] == [1, 2, 3]
    shown = [r["epoch"] for r in rows if r["model"] == "a"]
    assert shown[0] == 1
    assert shown[-1] == 1000
    assert 123 in shown
    assert len(shown) == 8
    assert [r["epoch"] for r in rows if r["chosen"]] == [123]
    assert rows[0]["learning_rate"] == 0.12346


def test_the_figure_offers_what_was_measured(curves):
    curves += epochs(3) + epochs(3, model="b")
    inputs = made_inputs()
    shows = next(c for c in section(inputs).choices if c.signal == "measure")
    assert [value for value, _ in shows.options] == ["train_loss", "learning_rate"]
    spec, rows = figures(inputs)["finetune_curves"]
    params = {p["name"]: p["value"] for p in spec["params"]}
    assert params["measure"] == "train_loss"
    assert set(MEASURES) <= set(rows[0])


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"recipe": "sgd"}, ("all of train, all weights, SGD for 100 epochs in batches of 256",)),
        ({"recipe": "modern", "shots": 5, "draw": 2}, ("5 images of each class (draw 2", "AdamW")),
        ({"recipe": "modern", "train": "lora"}, ("low-rank adapters", "best epoch by a hold-out")),
        (
            {"recipe": "sgd_swav", "selection": "last", "epochs": 7},
            ("7 epochs", "the last epoch"),
        ),
    ],
)
def test_a_run_in_words(run, words):
    said = run_words(Run.model_validate(run))
    assert all(word in said for word in words)
