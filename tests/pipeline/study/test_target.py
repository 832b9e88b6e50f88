"""The target: how it is chosen, what is refused; other data sets change no answer on it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr
from made_cubes import make_cube, make_evidence
from made_inputs import make_inputs
from planted import outcomes
from projects import REPOSITORY
from ruamel.yaml import YAML
from scipy import stats

from cache.errors import ProbelineError
from pipeline.report.choice import choose
from pipeline.report.choice_words import statements
from pipeline.statistics.class_errors import class_accuracy
from pipeline.statistics.mean_scores import TARGET, mean_scores, mean_tests
from pipeline.statistics.single_images import Said, SingleImages
from pipeline.statistics.target_checks import deciding, target_checks
from pipeline.study.schema import Report
from pipeline.study.target import check_target, target_of

VARIANTS = ["knn/study", "linear/ridge_none", "predictors/rankme"]


@pytest.mark.parametrize(
    ("roles", "datasets", "chosen"),
    [
        ({"a": "in_domain"}, ("a",), "the only data set"),
        ({"a": "in_domain", "b": "out_of_domain"}, ("b",), "the only out-of-domain data set"),
        ({"a": "out_of_domain", "b": "out_of_domain"}, ("a",), "the first out-of-domain data set"),
        ({"a": "in_domain", "b": ""}, ("a",),
         "the first data set, as none has the role out-of-domain"),
        ({}, (), ""),
    ],
)  # fmt: skip
def test_the_target_that_nobody_named(roles, datasets, chosen):
    found = target_of([], roles)
    assert (found.datasets, found.chosen) == (datasets, chosen)


def test_named_targets_are_said_and_kept_in_order():
    found = target_of(["b", "a", "b"], dict.fromkeys("abc", "in_domain"))
    assert (found.datasets, found.chosen, found.words) == (("b", "a"), "", "b and a")
    assert target_of(["c", "a", "b"], dict.fromkeys("abc", "")).words == "c, a and b"


def test_a_target_that_is_not_there_is_refused_with_the_nearest_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_inputs().study.model_copy(update={"report": Report(target="my_image")})
    with pytest.raises(ProbelineError, match=r"report\.target: there is no such data set") as error:
        target_of(study.report.target, {"my_images": "", "photos": ""})
    assert "did you mean `my_images`?" in str(error.value)
    with pytest.raises(ProbelineError, match="there is no such data set"):
        check_target(study)
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "paper.csv").touch()
    check_target(study)  # it may be imported: `target_of` decides, later


def test_a_change_of_the_target_runs_no_probe():
    stages = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
    of = {name: stage.get("deps", []) for name, stage in stages.items()}
    asked = {"data/study", "data/study/report.json"}
    asking = {name for name, deps in of.items() if asked.intersection(deps)}
    assert asking == {"correlate", "report"}  # and the stage `study`, which checks all of it


def test_a_name_is_a_list_of_one():
    assert Report(target="a").target == ["a"]
    assert Report(target=["a", "b"]).target == ["a", "b"]
    assert Report().target == Report(target=None).target == []


def test_the_linear_probe_decides_where_it_was_run():
    assert deciding(["knn", "linear", "finetune"]) == "linear"
    assert deciding(["finetune", "fewshot", "knn"]) == "knn"
    assert deciding(["finetune"]) == "finetune"
    assert deciding([]) == ""


class Answers(SingleImages):
    """Predictions with planted outcomes: a wrong answer is the next class."""

    def __init__(self, evidence, hits):
        self.tests, self.hits = evidence.tests, hits
        self.models = tuple(evidence.models)

    def said(self, variant, dataset):
        if (variant.full_name, dataset) not in self.hits:
            return super().said(variant, dataset)
        labels = self.tests[dataset].labels
        wrong = (labels + 1) % self.tests[dataset].n_classes
        found = np.where(self.hits[variant.full_name, dataset], labels, wrong)
        return Said(self.models, found.astype(np.int32), np.full(found.shape, np.nan, np.float32))

    def classes(self, dataset):
        return tuple(map(str, range(self.tests[dataset].n_classes)))

    def digests(self, dataset):
        return [f"{i:08x}" for i in range(len(self.tests[dataset].labels))]


def planted(datasets, models=9, images=120):
    """Evidence of some of three data sets; each has the same outcomes whoever else is there."""
    names = ["d0", "d1", "d2"]
    rates = np.linspace(0.5, 0.85, models)
    hits = {
        (variant, name): outcomes(rates, images, np.random.default_rng([d, v]), 0.5)
        for d, name in enumerate(names)
        for v, variant in enumerate(VARIANTS[:2])
    }
    accuracy = np.stack(
        [np.stack([hits[v, d].mean(axis=1) for v in VARIANTS[:2]] + [rates[::-1]], axis=-1)
         for d in names],
        axis=1,
    )  # fmt: skip
    cube = make_cube(accuracy, VARIANTS, n_test=images,
                     role=["out_of_domain", "in_domain", "out_of_domain"])  # fmt: skip
    cube = cube.isel(dataset=[names.index(name) for name in datasets])
    kept = {key: of for key, of in hits.items() if key[1] in datasets}
    evidence = make_evidence(cube, hits=kept)
    return dataclasses.replace(evidence, images=Answers(evidence, kept)), hits


def answered(evidence):
    """The statistics of the answer, and what is said of the model."""
    found = {f.__name__: f(evidence) for f in (mean_scores, target_checks, class_accuracy)}
    inputs = make_inputs(found)
    cube = evidence.cube.assign_coords(parameters=("model", np.arange(1.0, 10) * 1e6),
                                       dimension=("model", np.full(9, 64.0)))  # fmt: skip
    unknown = (("model", "dataset"), np.full((9, cube.sizes["dataset"]), np.nan))
    cube = cube.assign(images=unknown, extraction_seconds=unknown)
    return found, choose(dataclasses.replace(inputs, cube=cube))


def test_other_data_sets_do_not_change_the_answer():
    alone, choice = answered(planted(["d0"])[0])
    # In front of it, too, and with another role.
    beside, other = answered(planted(["d1", "d0", "d2"])[0])
    assert other.target.datasets == choice.target.datasets == ("d0",)
    assert statements(other, "top1") == statements(choice, "top1")
    assert repr(other.offers) == repr(choice.offers)  # NaN is no time, on either side
    xr.testing.assert_identical(
        beside["mean_scores"].sel(scope=TARGET).drop_attrs(),
        alone["mean_scores"].sel(scope=TARGET).drop_attrs(),
    )
    xr.testing.assert_identical(beside["class_accuracy"], alone["class_accuracy"])
    mine = alone["target_checks"]
    xr.testing.assert_identical(beside["target_checks"].sel(check=mine["check"]), mine)
    assert beside["target_checks"].sizes["check"] > mine.sizes["check"]


def test_a_check_costs_what_its_choice_lies_behind():
    evidence, hits = planted(["d0", "d1"])
    found = target_checks(evidence)
    truth = hits["linear/ridge_none", "d0"].mean(axis=1)
    tests = mean_tests(evidence)["linear", TARGET]
    for name, proxy, own in (
        ("knn/study@d0", hits["knn/study", "d0"].mean(axis=1), 1),
        ("knn/study@d1", hits["knn/study", "d1"].mean(axis=1), 0),
        ("linear/ridge_none@d1", hits["linear/ridge_none", "d1"].mean(axis=1), 0),
        ("predictors/rankme@d0", np.linspace(0.85, 0.5, 9), 1),
    ):
        row = found.sel(check=name)
        first = np.flatnonzero(proxy == proxy.max())
        assert float(row["behind"]) == pytest.approx(truth.max() - truth[first].mean(), abs=1e-6)
        assert float(row["behind_high"]) == pytest.approx(tests.behind_high[first].max())
        assert float(row["on_target"]) == own
        if len(first) == 1:
            assert row["picked"].item() == f"m{first[0]}"
    assert "linear/ridge_none@d0" not in found["check"].values  # it decides


def test_right_answers_by_class_are_counted():
    evidence, hits = planted(["d0"])
    found = class_accuracy(evidence).to_dataframe()
    near = mean_tests(evidence)["linear", TARGET].within_chance
    accuracy = hits["linear/ridge_none", "d0"].mean(axis=1)
    best_two = np.argsort(-accuracy, kind="stable")[:2]
    assert set(found["model"]) == {f"m{i}" for i in {*np.flatnonzero(near), *best_two}}
    assert set(found.loc[found["compared"] == 1, "model"]) == {f"m{i}" for i in best_two}
    labels = evidence.tests["d0"].labels
    for model, of in found.groupby("model"):
        right = hits["linear/ridge_none", "d0"][int(model[1:])]
        for row in of.to_dict("records"):
            here = labels == int(row["class"])
            k, n = right[here].sum(), here.sum()
            assert (row["right"], row["n"]) == (k, n)
            high = 1.0 if k == n else stats.beta.ppf(1 - 0.05 / 10, k + 1, n - k)
            assert row["limit"] == pytest.approx(high)
            assert bool(row["weak"]) == (high < right.mean())


def test_no_outcomes_no_checks():
    cube = make_cube(np.random.default_rng(0).random((4, 2, 2)), VARIANTS[:2])
    for statistic in (target_checks, class_accuracy):
        found = statistic(make_evidence(cube))
        assert not found.data_vars
        assert found.attrs["withheld"]
