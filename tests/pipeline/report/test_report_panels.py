"""Tables of statistics: the numbers that they hold, and words where there is no number."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import xarray as xr
from named_variants import AnyColumns, AnyVariants

from pipeline.report import noise, trust, why
from pipeline.report.panels import MOST_ROWS

NAN = float("nan")


def inputs_of(**statistics):
    """Inputs that hold some statistics alone."""
    nothing = xr.Dataset(attrs={"withheld": "fewer than 4 models"})
    return SimpleNamespace(
        told=lambda name: statistics.get(name, nothing),
        variants=AnyVariants(),
        columns=AnyColumns(),
        roles={"a": "in_domain", "b": "out_of_domain"},
        study=SimpleNamespace(correlation=SimpleNamespace(confidence=0.95)),
    )


def table_of(axes, attrs=None, **variables):
    """A statistic; each variable a number, or an array of the axes' shape."""
    shape = tuple(map(len, axes.values()))
    return xr.Dataset(
        {n: (tuple(axes), np.broadcast_to(v, shape).copy()) for n, v in variables.items()},
        coords=axes,
        attrs=attrs or {},
    )


def table_named(name, section, inputs):
    """The table of a statistic, of a section that has it."""
    [found] = (table for table in section(inputs).all if table.name == name)
    return found


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_what_is_withheld_says_why():
    nothing = inputs_of()
    every = [
        *trust.section(nothing).all,
        *why.section(nothing).all,
        *noise.pairs_section(nothing).all,
        *noise.noise_tables(nothing),
        noise.overall_table(nothing),
    ]
    assert {table.withheld for table in every} == {"Withheld: fewer than 4 models."}
    assert not any(table.rows for table in every)


def test_predictors_stand_by_their_mean_on_the_targets_spoken_of_first():
    axes = {
        "coefficient": ["pearson", "spearman"],
        "predictor": ["knn/x@a", "predictors/rankme@each target", "linear/y@a"],
        "targets": ["other_protocols", "all", "finetune"],
    }
    mean = np.zeros((2, 3, 3))
    mean[1, :, 2] = [0.2, NAN, 0.7]
    mean[1, :, 0] = [0.9, 0.5, 0.1]
    statistic = table_of(
        axes, {"headline_targets": "finetune"}, mean=mean, low=mean - 0.1, high=mean + 0.1,
        fisher=mean, fisher_low=NAN, fisher_high=NAN, lowest=0.0, highest=1.0, n=8.0,
        new_low=NAN, new_high=NAN, n_targets=5.0,
    )  # fmt: skip
    table = table_named("trust", trust.section, inputs_of(trust=statistic))
    assert [row[0].text for row in table.rows] == [
        "linear probe on a", "kNN on a", "RankMe on each target",
    ]  # fmt: skip
    assert table.head[1].text == "Mean ρ, fine-tuning"
    assert table.rows[0][1] == ("0.70", "0.60 to 0.80")
    assert table.rows[2][1] == ("–", "")
    assert table.rows[1][4] == ("0.90", "0.80 to 1.00")  # other protocols


def test_differences_are_those_from_the_reference():
    labels = ["knn/x@a", "linear/y@a"]
    difference = np.array([[[NAN], [0.25]], [[-0.25], [NAN]]])
    statistic = table_of(
        {"predictor": labels, "reference": labels, "targets": ["all"]},
        {"reference": "linear/y@a"}, difference=difference, low=0.1, high=0.4, p=0.0001,
        p_max_t=0.02, p_holm=0.03, detectable=0.12, joint_low=0.05, joint_high=0.45,
    )  # fmt: skip
    inputs = inputs_of(predictor_differences=statistic)
    table = table_named("predictor_differences", trust.section, inputs)
    assert texts(table) == [["kNN on a", "0.25", "0.020", "0.030", "< 0.001", "0.12"]]
    statistic.attrs["reference"] = ""
    table = table_named("predictor_differences", trust.section, inputs)
    assert "no in-domain linear probe" in table.withheld


def test_regret_is_two_estimates_or_a_bound():
    statistic = table_of(
        {"predictor": ["knn/x@a", "linear/y@a"], "targets": ["all"]},
        {"headline_targets": "all"}, regret_crossed=[[0.01], [NAN]], regret_naive=[[0.05], [0.02]],
        relative_crossed=[[0.1], [NAN]], relative_naive=[[0.5], [0.2]], top1=0.5, top3=1.0,
        decision_accuracy=0.9, decided_pairs=7.0, top_half=NAN, n_targets=2.0,
    )  # fmt: skip
    table = table_named("choosing", trust.section, inputs_of(choosing=statistic))
    assert texts(table) == [
        ["linear probe on a", "2.0", "0.20", "50.0%", "100.0%", "90.0%", "2"],
        ["kNN on a", "5.0", "0.50", "50.0%", "100.0%", "90.0%", "2"],
    ]
    assert [[cell.small for cell in row[1:3]] for row in table.rows] == [
        ["at most", "at most"], ["(1.0)", "(0.10)"],
    ]  # fmt: skip
    assert "top_half" not in [head.key for head in table.head]  # nobody has it


def test_a_confounded_design_is_not_estimable():
    reason = "not estimable: objective and backbone are confounded (0 generative resnet)"
    axes = {"protocol": ["knn"], "dataset": ["a", "mean"]}
    share = table_of(
        axes, gap=0.3, gap_low=0.1, gap_high=0.5, adjusted=NAN, adjusted_low=NAN,
        adjusted_high=NAN, share=NAN, share_low=NAN, share_high=NAN,
    )  # fmt: skip
    share["verdict"] = (tuple(axes), np.full((1, 2), reason, object))
    gap_axes = {"contrast": ["x - y"], "scale": ["accuracy"], **axes}
    gaps = table_of(
        gap_axes, value=NAN, low=NAN, high=NAN, p=NAN, p_smallest=NAN, n_left=1, n_right=4
    )
    gaps["verdict"] = (tuple(gap_axes), np.full((1, 1, 1, 2), "withheld: few", object))
    found = why.section(inputs_of(objective_share=share, gaps=gaps)).all
    assert (found[0].rows, found[0].withheld) == ((), "Not estimable: few.")
    assert texts(found[1]) == [["kNN", "0.30", reason]]


def test_sensitivity_tells_the_range_over_single_models_and_families():
    changes = ["none", "ibot recoded", "without family f", "without model m", "without model n"]
    statistic = table_of(
        {"contrast": ["x - y"], "protocol": ["knn"], "change": changes},
        value=[[[0.10, -0.02, 0.03, 0.05, 0.20]]],
    )
    table = table_named("gap_sensitivity", why.section, inputs_of(gap_sensitivity=statistic))
    assert texts(table) == [["x − y", "10.0", "−2.0", "3.0 to 3.0", "5.0 to 20.0"]]


def test_pairs_that_differ_are_counted():
    models = ["m0", "m1", "m2"]
    differs = np.full((1, 1, 3, 3), NAN)
    differs[0, 0, 0, 1], differs[0, 0, 0, 2], differs[0, 0, 1, 2] = 1, 1, 0
    statistic = table_of(
        {"variant": ["knn/study"], "dataset": ["a"], "model": models, "rival": models},
        differs=differs,
    )
    [table] = noise.pairs_section(inputs_of(model_pairs=statistic)).all
    assert texts(table) == [["a", "2 of 3"]]


def test_long_tables_are_cut_and_say_so():
    targets = [f"knn/x@{i}" for i in range(MOST_ROWS + 7)]
    statistic = table_of(
        {"backbone": ["all models"], "predictor": ["knn/x@a"], "target": targets},
        value=0.5, low=NAN, high=NAN, n=9,
    )  # fmt: skip
    table = why.section(inputs_of(within_backbones=statistic)).all[4]
    assert (len(table.rows), table.left_out) == (MOST_ROWS, 7)
    assert table.rows[0][1] == ("0.50", "9 models")


def test_only_pairs_into_the_other_domain_are_disattenuated():
    labels = ["knn/x@a", "knn/x@b"]
    statistic = table_of(
        {"predictor": labels, "target": labels}, value=0.9, low=0.8, high=0.95, observed=0.85,
        reliability_predictor=0.97, reliability_target=0.93, n=9.0, families=6.0,
    )  # fmt: skip
    (_, table) = noise.noise_tables(inputs_of(disattenuated_pearson=statistic))
    assert texts(table) == [["kNN on a", "0.85", "0.90", "0.97 and 0.93", "9"]]
    assert table.rows[0][0].small == "with kNN on b"
