"""Variants: every one that a study can make has one name, one label, and its data sets verbatim."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from made_cells import make_study
from named_variants import variant_named

from cache.errors import ProbelineError
from pipeline.machine.netcdf import read_netcdf, write_netcdf
from pipeline.report.formats import interval, p_value, points, rho
from pipeline.report.words import set_word
from pipeline.results.variant_table import asked_table, variant_coords, variants_in, variants_of
from pipeline.study.column import EACH_TARGET, Column
from pipeline.study.fewshot import Fewshot
from pipeline.study.params import load_study
from pipeline.study.protocol_list import asked_variants
from pipeline.study.schema import Study
from pipeline.study.variant import Variant

TRICKY = ("my_knn_set", "ridge", "cats_bnw", "x_bn", "5_shots", "10_percent", "from_ridge_none")
"""Names of data sets that look like parts of a variant's."""


def some(values, least=0):
    """Lists of some of them, in any order, each once."""
    return st.lists(st.sampled_from(values), min_size=least, unique=True)


@st.composite
def studies(draw):
    """Studies whose settings ask for anything, on data sets with awkward names."""
    entry = {"source": "folder", "path": "images", "role": "in_domain"}
    any_name = draw(st.from_regex(r"\A[A-Za-z0-9_]{1,9}\Z"))
    names = list(dict.fromkeys([*draw(some(TRICKY)), any_name]))
    shares = st.floats(1e-6, 0.999).map(lambda share: float(f"{share:.4g}"))
    shots = draw(st.lists(st.integers(1, 300), unique=True, max_size=3))
    section = {
        "datasets": dict.fromkeys(names, entry),
        "models": {"m": {"architecture": "resnet18", "weights": "random(0)"}},
        "extraction": {"views": draw(st.integers(0, 12))},
        "neighbors": {
            "n_neighbors": 300,
            "metric": ["euclidean", "cosine"],
            "normalization": ["none", "zscore", *draw(some(("l2", "centered_l2")))],
        },
        "knn": {
            "presets": draw(some(("paper", "dino"))),
            "k": draw(st.lists(st.integers(1, 300), unique=True, min_size=1, max_size=3)),
            "weighting": draw(some(("distance", "uniform", "softmax"), 1)),
            "temperature": draw(st.lists(st.floats(0.001, 9), unique=True, min_size=1, max_size=2)),
            "tuned": draw(st.booleans()),
        },
        "linear": {
            "heads": draw(some(("logistic", "ridge", "sgd", "mlp"), 1)),
            "normalization": draw(some(("none", "zscore", "l2"), 1)),
            "sgd": {"batch_norm": draw(some((False, True), 1))},
        },
        "fewshot": {
            "shots": shots,
            "fractions": draw(st.lists(shares, unique=True, max_size=3)),
            "heads": draw(some(("prototypes", "ridge", "logistic"), 1)),
            "ways": draw(some((2, 5, 10))) if shots else [],
            "coarse": {names[0]: {"a": ["x"], "b": ["y"]}} if shots and draw(st.booleans()) else {},
        },
        "transfer": {"sources": draw(some(names))},
        "transferability": {"names": draw(some(("rankme", "logme", "alignment")))},
        "correlation": {},
        "report": {},
        "pretrain": {},
        "finetune": {"runs": {run: {"recipe": "sgd"} for run in draw(some(("lr_1", "lr__1")))}},
    }
    return Study.model_validate(section)


@given(studies())
def test_names_and_labels_are_distinct_and_lead_back(study):
    variants = asked_variants(study)
    table = asked_table(study)
    assert [table[v.protocol, v.name] for v in variants] == variants
    assert len(table) == len({v.full_name for v in variants}) == len(variants)
    labels = [variant.label for variant in variants]
    assert len(set(labels)) == len(labels)
    # What the cube carries is the whole of it.
    cube = xr.Dataset(coords=variant_coords(variants))
    assert list(variants_of(cube).values()) == variants
    assert cube["label"].values.tolist() == labels


@given(studies())
def test_names_of_data_sets_stand_in_labels_as_they_are(study):
    trained_on = [v for v in asked_variants(study) if v.source]
    for variant in trained_on:
        assert f"trained on {variant.source}, " in variant.label
        assert variant.name.startswith(f"from_{variant.source}_")
        for dataset in study.datasets:
            assert Column(variant, dataset).label == f"transferred probe on {dataset}"
    words = {re.sub(f"trained on {v.source}, ", "", v.label) for v in trained_on}
    assert not any("_" in words_of for words_of in words)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("knn/study", "kNN: the paper’s preset (20 neighbours, 1/distance)"),
        ("knn/study_zscore", "kNN: the paper’s preset (20 neighbours, 1/distance), z-scored"),
        ("knn/dino_k10", "kNN: DINO’s preset, 10 neighbours"),
        ("knn/tuned", "kNN: tuned by leave-one-out"),
        (
            "knn/k1_euclidean_distance_centered_l2",
            "kNN: 1 neighbour, euclidean, 1/distance, centred, unit length",
        ),
        (
            "knn/k5_cosine_softmax0.07_none",
            "kNN: 5 neighbours, cosine, softmax 0.07, plain",
        ),
        ("linear/ridge_none", "linear probe: ridge, plain"),
        (
            "linear/sgd_cached_bn_tuned",
            "linear probe: linear head by SGD, cached, BatchNorm, tuned learning rate",
        ),
        ("linear/sgd_views_3", "linear probe: linear head by SGD, 3 views"),
        ("linear/mlp_tuned", "linear probe: MLP, tuned learning rate"),
        ("fewshot/ridge_1_shot", "few-shot: 1 image a class, ridge"),
        ("fewshot/prototypes_2p5_percent", "few-shot: 2.5% of the labels, class means"),
        (
            "fewshot/ridge_5_shots_10_classes",
            "few-shot: 5 images a class, ridge, 10 classes at a time",
        ),
        (
            "transfer/from_my_knn_set_knn_study",
            "transferred probe: trained on my_knn_set, kNN, the paper’s preset (20 neighbours, "
            "1/distance)",
        ),
        (
            "transfer/from_cats_bnw_ridge_target_zscore",
            "transferred probe: trained on cats_bnw, ridge, z-scored by the target",
        ),
        (
            "transfer/held_out_group_ridge_none",
            "transferred probe: tested on each group left out of training, ridge, plain",
        ),
    ],
)
def test_names_and_labels_of_todays_records(name, label):
    variant = variant_named(name)
    assert not variant.called
    assert (variant.full_name, variant.label) == (name, label)


def test_names_that_someone_chose_stay_as_they_are():
    assert Variant(protocol="finetune", called="lr_0_1").label == "fine-tuning: lr_0_1"
    assert Variant(protocol="predictors", called="label_cka").label == "CKA with labels"
    assert Variant(protocol="elsewhere", called="x_y").label == "elsewhere: x_y"
    assert Variant(protocol="elsewhere", called="x_y", said="My probe").label == "My probe"


def test_columns_in_words():
    ridge = variant_named("linear/ridge_none")
    assert Column(ridge, "a_b").label == "linear probe on a_b"
    # The name of an imported data set may hold it.
    assert Column(ridge, "a@b").name == "linear/ridge_none@a@b"
    assert Column(variant_named("predictors/rankme"), EACH_TARGET).label == "RankMe on each target"
    assert set_word("finetune") == "fine-tuning"
    assert set_word("new") == "new"


def test_nothing_is_read_into_imported_names(tmp_path):
    """A name that looks like a few-shot one is the study's, or no more than a name."""
    rows = {"protocol": "fewshot", "variant": ["ridge_5_shots", "ridge_7_shots", "mine"],
            "label": ["theirs", "Seven", ""]}  # fmt: skip
    scores = pd.DataFrame(rows)
    study = make_study({}, {"k": [1]}).model_copy(
        update={"fewshot": Fewshot(shots=[5], heads=["ridge"])}
    )
    five, seven, mine = variants_in(study, scores).values()
    assert (five.head, five.label) == ("ridge", "few-shot: 5 images a class, ridge")
    assert (seven.head, seven.budget, seven.label) == ("", None, "Seven")
    assert mine.label == "few-shot: mine"
    variants = [five, seven, mine]
    names = [variant.full_name for variant in variants]
    write_netcdf(
        xr.Dataset(coords={"variant": names} | variant_coords(variants)), tmp_path / "x.nc"
    )
    assert variants_of(read_netcdf(tmp_path / "x.nc")) == dict(zip(names, variants, strict=True))


def test_fractions_that_share_a_name_are_refused(project):
    project.params["fewshot"] = {"fractions": [0.1, 0.100000001], "heads": ["ridge"]}
    project.write()
    with pytest.raises(ProbelineError, match="first six digits"):
        load_study()


def test_numbers():
    nan = float("nan")
    assert (rho(-0.456), points(-0.0001), rho(nan)) == ("−0.46", "0.0", "–")
    assert interval(-0.1, 0.25) == "−0.10 to 0.25"
    assert interval(nan, 0.25) == ""
    assert interval(0.1, 0.25, in_points=True) == "10.0 to 25.0"
    assert (p_value(0.0004), p_value(0.05)) == ("< 0.001", "0.050")
