"""Metrics as objects: one place, one name each, a direction, and keys that notice new ones."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import all_statistics, make_evidence
from metric_contract import MetricContract
from named_variants import variant_named
from projects import REPOSITORY
from pydantic import ValidationError

from cache.errors import ProbelineError
from pipeline.probes.episode_scores import episode_rows
from pipeline.probes.episodes import Episodes
from pipeline.probes.problems import all_classes
from pipeline.results.cube import comparable, scored_by
from pipeline.results.foreign_file import read_foreign
from pipeline.study import metrics
from pipeline.study.metric import TRANSFERABILITY, Metric, Need, Predictions
from pipeline.study.records import protocols_of, record_key
from pipeline.study.schema import Correlation, Study

SOURCE = REPOSITORY / "pipeline" / "study" / "metrics.py"
TOY = Metric("balanced_error", "balanced error", lambda p: 0.25, higher_is_better=False)


@pytest.fixture
def with_toy(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, TOY))


class TestEach(MetricContract):
    @pytest.fixture(params=[m for m in metrics.METRICS if not m.is_imported], ids=lambda m: m.name)
    def metric(self, request):
        return request.param


def test_two_metrics_of_one_name_are_refused_when_they_are_imported():
    text = SOURCE.read_text(encoding="utf-8")
    exec(compile(text, str(SOURCE), "exec"), {"__name__": "whole"})
    assert text.count('"top5"') == 1
    twice = text.replace('"top5"', '"top1"')
    with pytest.raises(ValueError, match="Metric objects are called top1"):
        exec(compile(twice, str(SOURCE), "exec"), {"__name__": "twice"})


@pytest.mark.parametrize("name", ["", "Top1", "top 1", "a,b", *TRANSFERABILITY])
def test_names_that_files_or_predictors_need_otherwise_are_refused(name):
    with pytest.raises(ValueError, match="can't be the name"):
        Metric(name, "label", lambda p: 0.0)


def test_a_share_lies_between_0_and_1():
    with pytest.raises(ValueError, match="is a share"):
        Metric("gain", "gain", lambda p: 0.0, range=(-1.0, 1.0))


def test_a_metric_is_spelled_in_one_file():
    """So adding one opens one file: no list of names, no case for one, in Python, page or script.

    The first one is a default, and the name of a rate of right choices.
    """
    computed = [m for m in metrics.METRICS if Need.ELSEWHERE not in m.needs]
    names = {metric.name for metric in computed} - {"top1"}
    spelled = {}
    for path in sorted(p for f in ("pipeline", "stages") for p in (REPOSITORY / f).rglob("*")):
        if path.suffix == ".py":
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            said = {n.value for n in nodes if isinstance(n, ast.Constant)} & names
        elif path.suffix in (".js", ".j2", ".html"):
            said = names & set(re.findall(r"\w+", path.read_text(encoding="utf-8")))
        else:
            continue
        if said:
            spelled[str(path.relative_to(REPOSITORY))] = said
    # And of tables that other people publish, which metric their columns are.
    assert set(spelled) == {"pipeline/study/metrics.py", "pipeline/results/profiles.py"}


def test_keys_are_those_of_before_until_a_metric_is_added(project, monkeypatch):
    project.params["transfer"] = {"sources": ["pets"]}
    project.params["fewshot"] = {"shots": [1]}
    project.params["transferability"] = {"names": ["rankme"]}
    study = Study.model_validate(project.params)
    of = {"train": "a", "val": "b", "names": "c"}

    def keys():
        return {p: record_key(study, p, "pets", lambda _: of) for p in protocols_of(study)}

    before = keys()
    assert len(before) == 5
    assert not [protocol for protocol, key in before.items() if "metrics" in key]
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, TOY))
    after = keys()
    assert {p for p in before if before[p] != after[p]} == {"knn", "linear", "fewshot", "transfer"}
    assert after["knn"] == before["knn"] | {"metrics": ["balanced_error"]}


def test_what_is_correlated_is_a_share_that_every_data_set_has(with_toy):
    for name in ("top1", "mean_per_class", "macro_f1", "balanced_error"):
        assert Correlation(metric=name).metric == name
    for name in ("top5", "worst_group", "ece", "nll", "promise", "balanced_eror"):
        with pytest.raises(ValidationError, match=r"top1, mean_per_class.*balanced_error"):
            Correlation(metric=name)


@pytest.mark.parametrize("metric", metrics.METRICS, ids=lambda m: m.name)
def test_goodness_turns_the_order_of_errors_and_undoes_itself(metric):
    values = np.array([0.125, 0.5, 1.0])
    good = metric.goodness(values)
    assert (np.diff(good) > 0).all() == metric.higher_is_better
    np.testing.assert_array_equal(metric.goodness(good), values)
    if metric.is_share:
        assert (good >= 0).all()
        assert (good <= 1).all()


def test_the_cube_is_read_with_the_best_on_top(with_toy):
    cube = make_cube({"knn/a": np.array([[0.1], [0.4]]), "predictors/b": np.array([[3.0], [5.0]])},
                     role=["in_domain"])  # fmt: skip
    cube = cube.assign_coords(metric=["balanced_error", "promise"])
    cube["ci_low"], cube["ci_high"] = cube["value"] - 0.05, cube["value"] + 0.1
    found = comparable(cube, "balanced_error").squeeze("dataset")
    np.testing.assert_allclose(found.sel(variant="knn/a"), [0.9, 0.6])
    np.testing.assert_allclose(found.sel(variant="predictors/b"), [3, 5])
    first = scored_by(cube, "balanced_error").sel(variant="knn/a").isel(model=0, dataset=0)
    ends = [float(first[name]) for name in ("ci_low", "value", "ci_high")]
    np.testing.assert_allclose(ends, [0.8, 0.9, 0.95])


def test_without_a_mean_over_images_statistics_say_why_there_is_no_noise():
    rng = np.random.default_rng(0)
    hits = {("knn/a", "d0"): (rng.random((6, 30)) < 0.6).astype(np.float32)}
    scores = np.stack([h.mean(axis=1) for h in hits.values()], axis=1)
    cube = make_cube({"knn/a": scores}, role=["in_domain"])
    cube["ci_low"], cube["ci_high"] = cube["value"], cube["value"]
    of_top1 = all_statistics(make_evidence(cube, hits))
    assert of_top1["ranks"].data_vars
    cube = cube.assign_coords(metric=["macro_f1", "promise"])
    found = all_statistics(make_evidence(cube, hits, metric="macro_f1"))
    assert "macro F1 is not a mean over images" in found["ranks"].attrs["withheld"]


def test_needs_are_what_the_predictions_offer():
    nothing = np.full(2, np.nan)
    plain = Predictions(*[np.ones(2, int)] * 2, nothing, nothing, *[np.ones(2, int)] * 2, 3)
    assert plain.offers == {Need.FIVE_PLACES}
    assert replace(plain, places=4).offers == frozenset()
    sure = Predictions(
        plain.predicted, plain.rank, np.array([-1.0, -np.inf]), np.array([0.5, 0.5]), plain.truth,
        plain.labels, 6, np.array(["", "a"]), held_out=True,
    )  # fmt: skip
    assert sure.offers == set(Need) - {Need.POSITIVE_PROBABILITIES, Need.ELSEWHERE}


def test_few_shot_takes_images_without_a_group_for_none_as_all_protocols_do():
    rank = np.array([[1, 1, 2, 2]], np.uint8)
    nothing = np.full(rank.shape, np.nan, np.float32)
    episodes = Episodes(
        variant_named("fewshot/ridge_1_shot"), all_classes(2), rank - 1, rank, nothing, nothing,
        [2], (), 0.0, [{}],
    )  # fmt: skip
    labels, groups = np.zeros(4, np.int64), np.array(["a", "a", "a", ""])
    rows = {r["metric"]: r["value"] for r in episode_rows(episodes, labels, "ab", groups, seed=0)}
    assert rows["worst_group"] == pytest.approx(2 / 3)


def test_imported_scores_lie_where_their_metric_can(tmp_path):
    path = tmp_path / "scores.csv"
    header = "model,dataset,protocol,metric,value\n"
    path.write_text(f"{header}a,d,knn,nll,0.5\na,d,knn,mean_group,0.5\n")
    assert len(read_foreign(path).scores) == 2
    path.write_text(f"{header}a,d,knn,top1,0.5\na,d,knn,nll,-0.5\n")
    with pytest.raises(ProbelineError, match="nll is outside 0 to inf") as caught:
        read_foreign(path)
    assert ":3" in caught.value.place


@pytest.mark.parametrize(
    ("metric", "low", "high", "told"),
    [
        ("nll", -0.02, 0.5, (0.0, 0.5)),
        ("nll", 0.1, 7.0, (0.1, 7.0)),
        ("top1", -1e-9, 1.2, (0.0, 1.0)),
        ("ece", None, None, (None, None)),
        ("value", -3.0, 9.0, (-3.0, 9.0)),  # of a transferability metric
    ],
)
def test_no_interval_leaves_what_its_metric_can_be(metric, low, high, told):
    score = {"metric": metric, "value": 0.2, "ci_low": low, "ci_high": high}
    assert tuple(metrics.ends_of(score).values()) == told


def test_a_log_loss_of_surely_told_images_reaches_no_table_with_an_end_below_0():
    predictions = Predictions(
        *(np.zeros(9, np.int64), np.ones(9, np.int64)),
        np.log(np.array([0.999] * 8 + [0.5], np.float32)),
        *(np.full(9, 0.9), np.zeros(9, np.int64), np.zeros(9, np.int64), 2),
    )
    nll = metrics.metric_named("nll")
    assert nll.interval is not None
    low, high = nll.interval(predictions)
    assert low < 0
    ends = metrics.ends_of({"metric": "nll", "ci_low": low, "ci_high": high})
    assert ends == {"ci_low": 0, "ci_high": high}
