"""The map of CKA between models: each pair once, only of this study's models."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import xarray as xr
from made_inputs import drawn, make_inputs, partial

from pipeline.machine.netcdf import write_netcdf
from pipeline.models.settings import Model
from pipeline.probes.similarity_maps import SIMILARITY_NC
from pipeline.report.similarity import figures, section

MODELS = ["a", "b", "c", "d"]


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def of_study(models=MODELS):
    inputs = make_inputs(models=models)
    entry = Model(architecture="none", weights="random(0)")
    study = inputs.study.model_copy(update={"models": dict.fromkeys(models, entry)})
    return dataclasses.replace(inputs, study=study)


def store(models=MODELS, without=()):
    rng = np.random.default_rng(0)
    cka = rng.uniform(0, 1, (2, len(models), len(models)))
    cka = (cka + cka.swapaxes(1, 2)) / 2
    for d, m in without:
        cka[d, m] = cka[d, :, m] = np.nan
    write_netcdf(
        xr.Dataset(
            {"cka": (("dataset", "model", "other"), cka), "images": ("dataset", [40, 1024])},
            coords={"dataset": ["in0", "out0"], "model": models, "other": models},
        ),
        SIMILARITY_NC,
    )
    return cka


def test_every_pair_once():
    cka = store()
    pair = figures(of_study())["cka_map"]
    found = {(r["dataset"], frozenset((r["model"], r["other"]))): r["cka"] for r in pair[1]}
    assert len(found) == len(pair[1]) == 2 * 6
    for (d, dataset), (i, j) in itertools.product(
        enumerate(["in0", "out0"]), itertools.combinations(range(4), 2)
    ):
        near = found[dataset, frozenset((MODELS[i], MODELS[j]))]
        assert near == pytest.approx(cka[d, i, j], rel=1e-4)
    for dataset in ("in0", "out0"):
        marks = [kind for kind, _ in drawn(pair, dataset=dataset)]
        assert marks.count("rect mark") == 6
    assert "40 to 1,024" in partial("similarity", section(of_study()))


def test_a_model_without_a_number_is_named():
    store(without=[(1, 2)])
    assert section(of_study()).undefined == ("c",)
    assert len(figures(of_study())["cka_map"][1]) == 6 + 3


def test_an_absent_map_names_its_stage():
    text = partial("similarity", section(of_study()))
    assert "Run the stage similarity." in text
    assert figures(of_study()) == {}


def test_a_map_of_other_models_is_not_shown():
    store(["a", "b", "c", "x"])
    assert "of other models" in section(of_study()).withheld
    assert figures(of_study()) == {}


def test_one_model_has_none_beside_it():
    store(["a"])
    assert "two models" in section(of_study(["a"])).withheld


def test_nothing_comparable():
    store(without=[(d, m) for d in range(2) for m in range(4)])
    assert "no two models" in section(of_study()).withheld
    assert figures(of_study()) == {}
