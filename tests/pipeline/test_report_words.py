"""Variants in words: every one that a study can have, none with underscores, all distinct."""

from __future__ import annotations

import pytest

from pipeline.report.formats import interval, p_value, points, rho
from pipeline.report.words import column_label, set_word, variant_label


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("knn/study", "kNN: the study’s preset (20 neighbours, 1/distance)"),
        ("knn/study_zscore", "kNN: the study’s preset (20 neighbours, 1/distance), z-scored"),
        ("knn/dino_k10", "kNN: DINO’s preset, 10 neighbours"),
        ("knn/tuned", "kNN: tuned by leave-one-out"),
        (
            "knn/k1_euclidean_distance_centered_l2",
            "kNN: 1 neighbour, euclidean, 1/distance, centred, unit length",
        ),
        ("linear/ridge_none", "linear probe: ridge, plain"),
        ("linear/sgd_bn_tuned", "linear probe: linear head by SGD, BatchNorm, tuned learning rate"),
        ("fewshot/ridge_1_shot", "few-shot: 1 image a class, ridge"),
        ("fewshot/prototypes_0.5_percent", "few-shot: 0.5% of train, class means"),
        (
            "transfer/from_my_data_ridge_target_zscore",
            "transferred probe: trained on my_data, ridge, z-scored by the target",
        ),
        ("predictors/label_cka", "CKA with labels"),
        ("finetune/lr_0.1", "fine-tuning: lr 0.1"),
        ("elsewhere/x_y", "elsewhere: x y"),
    ],
)
def test_variants_in_words(variant, words):
    assert variant_label(variant) == words


def test_columns_and_sets_in_words():
    assert column_label("linear/ridge_none@a_b") == "linear probe on a_b"
    assert column_label("predictors/rankme@each target") == "RankMe on each target"
    assert column_label("x/y@d@e") == "x on d@e"  # a data set's name may hold it
    assert set_word("finetune") == "fine-tuning"
    assert set_word("new") == "new"


def test_numbers():
    nan = float("nan")
    assert (rho(-0.456), points(-0.0001), rho(nan)) == ("−0.46", "0.0", "–")
    assert interval(-0.1, 0.25) == "−0.10 to 0.25"
    assert interval(nan, 0.25) == ""
    assert interval(0.1, 0.25, in_points=True) == "10.0 to 25.0"
    assert (p_value(0.0004), p_value(0.05)) == ("< 0.001", "0.050")
