"""The paper's claims beside a study that says so, one that says otherwise, and one that can't."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_inputs import make_inputs, table, withheld

from pipeline.report import claims
from pipeline.report.claims import ASKED, OPEN, OTHER, SAME, section
from pipeline.report.predictors import Predictor
from pipeline.study.column import Column
from pipeline.study.variant import Variant

NAN = float("nan")


def predictor(protocol, mean, **said):
    column = Column(Variant(protocol=protocol, head="ridge"), "in0")
    numbers = dict.fromkeys(Predictor.__dataclass_fields__, NAN)
    words = {"column": column, "by_protocol": {}, "only_target": "", "mean": mean}
    return Predictor(
        **numbers | words | {"models": 12, "targets": 3, "low": 0.1, "high": 0.9} | said
    )


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([predictor("linear", 0.7), predictor("fewshot", 0.6)], SAME),
        ([predictor("knn", 0.7), predictor("linear", 0.6)], SAME),
        # ahead, and known to be
        ([predictor("fewshot", 0.9, difference=0.2, p=0.01), predictor("linear", 0.6)], OTHER),
        ([predictor("fewshot", 0.9, difference=0.2, p=0.2), predictor("linear", 0.6)], OPEN),
        ([predictor("linear", 0.7, models=5), predictor("fewshot", 0.6)], OPEN),
        ([predictor("linear", 0.7, low=NAN), predictor("fewshot", 0.6)], OPEN),
    ],
)
def test_which_protocol_predicts(monkeypatch, found, verdict):
    monkeypatch.setattr(claims, "predictors", lambda _: tuple(found))
    assert claims.probing(make_inputs()).verdict == verdict


def test_one_protocol_alone_asks_nothing(monkeypatch):
    monkeypatch.setattr(claims, "predictors", lambda _: (predictor("linear", 0.7),))
    assert claims.probing(make_inputs()) is None
    monkeypatch.setattr(claims, "predictors", lambda _: ())
    assert claims.probing(make_inputs()) is None


def gap(name, differences, task="budget", group=("all backbones",)):
    """Planted differences with intervals of ± 2 points, over data sets."""
    values = np.broadcast_to(differences, (1, len(group), 1, len(differences))).astype(float)
    labels = np.broadcast_to(np.arange(1.0, len(differences) + 1), values.shape)
    names = [f"{i}_shots" for i in range(len(differences))]
    if task == "task":
        names = ["2_classes", "all_classes - 2_classes"][: len(differences)]
    return {
        name: table(
            ("head", "group", "dataset", task),
            (["ridge"], list(group), ["mean"], names),
            {
                "difference": values, "low": values - 0.02, "high": values + 0.02,
                "labels": labels, "supervised": values * 0 + 2, "self_supervised": values * 0 + 9,
            },
        )
    }  # fmt: skip


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([-0.1, 0.0, 0.1], SAME), ([0.1, 0.1], OTHER), ([-0.1, -0.1], OTHER), ([-0.1, 0.01], OPEN)],
)
def test_who_is_ahead_with_few_labels(differences, verdict):
    found = claims.few_labels(make_inputs(gap("label_gap", differences)))
    assert found.verdict == verdict
    assert "9 self-supervised" in found.rests_on


@pytest.mark.parametrize(
    ("group", "difference", "verdict"),
    [("vit_b16 - resnet50", -0.1, SAME), ("resnet50 - vit_b16", 0.1, SAME),
     ("vit_b16 - resnet50", 0.1, OTHER), ("vit_b16 - resnet50", 0.01, OPEN)],
)  # fmt: skip
def test_whether_vits_gain_more(group, difference, verdict):
    made = gap("label_gap", [difference], group=("all backbones", group))
    assert claims.backbones_differ(make_inputs(made)).verdict == verdict


@pytest.mark.parametrize(("change", "verdict"), [(0.1, SAME), (-0.1, SAME), (0.01, OPEN)])
def test_whether_complexity_matters(change, verdict):
    found = claims.complexity(make_inputs(gap("complexity_gap", [0.0, change], "task")))
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("share", "verdict"),
    [((0.8, 0.6, 0.95), SAME), ((0.2, 0.0, 0.4), OTHER), ((0.6, 0.2, 0.9), OPEN),
     ((NAN, NAN, NAN), OPEN)],
)  # fmt: skip
def test_what_backbones_explain(share, verdict):
    numbers = dict(zip(("share", "share_low", "share_high"), share, strict=True))
    made = table(
        ("protocol", "dataset"), (["linear"], ["mean"]),
        {name: [[value]] for name, value in {**numbers, "gap": -0.5, "n": 12.0}.items()}
        | {"verdict": [["" if share[0] == share[0] else "not estimable: confounded"]]},
    )  # fmt: skip
    found = claims.backbone(make_inputs({"objective_share": made}))
    assert found.verdict == verdict
    assert "12 models" in found.rests_on


@pytest.mark.parametrize(("p", "verdict"), [(0.01, SAME), (0.4, OPEN)])
def test_whether_normalization_changes_anything(p, verdict):
    numbers = {"difference": -0.2, "low": -0.3, "high": -0.1, "p_max_t": p, "detectable": 0.15}
    made = table(
        ("predictor", "targets"), (["linear/ridge_zscore@in0"], ["all"]),
        {name: [[value]] for name, value in numbers.items()},
    )  # fmt: skip
    found = claims.normalization(make_inputs({"normalization_tests": made}))
    assert found.verdict == verdict
    assert "0.15" in found.rests_on


def test_a_study_that_asks_nothing_of_this_says_so():
    found = section(make_inputs({"label_gap": withheld("no few-shot scores")}))
    assert "2407.12210" in found.withheld
    assert all(ask(make_inputs()) is None for ask in ASKED.values())


def test_what_is_not_asked_is_named():
    found = section(make_inputs(gap("label_gap", [-0.1, 0.1])))
    [row] = found.rows
    assert row.ours.verdict == SAME
    assert len(found.missing) == len(ASKED) - 1
    assert "26 models on 11 data sets" in found.intro
    assert set(claims._published()["claims"]) == set(ASKED)


def test_a_tenth_of_the_labels(monkeypatch):
    of = predictor("finetune", 0.6)
    run = replace(of, column=Column(Variant(protocol="finetune", called="few"), "in0"))
    monkeypatch.setattr(claims, "predictors", lambda _: (run,))
    inputs = make_inputs()
    assert claims.tenth(inputs) is None  # no such run
    runs = {"few": {"recipe": "modern", "fraction": 0.1}}
    study = inputs.study.model_validate(inputs.study.model_dump() | {"finetune": {"runs": runs}})
    assert claims.tenth(replace(inputs, study=study)).verdict == SAME
