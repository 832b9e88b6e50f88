import numpy as np
import pytest
import xarray as xr
from scipy import stats

from pipeline.report_inputs import Hits, Inputs, ValSplit
from pipeline.report_paired import contest, mean_scores
from pipeline.study import Study


def inputs_of(hits, paths, labels=None, metric="top1"):
    """Inputs with one protocol; `hits` maps data sets to {model: outcomes}."""
    models = list(dict.fromkeys(m for by_model in hits.values() for m in by_model))
    entry = {"architecture": "resnet18", "weights": "pretrained"}
    study = Study.model_validate(
        {
            "datasets": {d: {"source": "builtin:digits", "role": "in_domain"} for d in hits},
            "models": dict.fromkeys(models, entry),
            "extraction": {}, "neighbors": {}, "knn": {"k": [3]}, "linear": {}, "fewshot": {},
            "transfer": {}, "predictors": {}, "correlation": {}, "report": {},
        }
    )  # fmt: skip
    splits = {
        d: ValSplit(
            tuple(paths[d]), np.zeros(len(paths[d]), int) if labels is None else labels, 1, 2, ()
        )
        for d in hits
    }
    outcomes = {("knn", d): Hits(tuple(h), np.array([*h.values()])) for d, h in hits.items()}
    correlations = xr.Dataset(attrs={"metric": metric})
    return Inputs(study, xr.Dataset(), correlations, None, {}, splits, outcomes)


def draws(n, *rates):
    rng = np.random.default_rng(0)
    common = rng.random(n)
    return [0.7 * common + 0.3 * rng.random(n) < rate for rate in rates]


def test_one_data_set_is_mcnemar():
    a, b = draws(400, 0.6, 0.5)
    found = contest(inputs_of({"d": {"a": a, "b": b}}, {"d": range(400)}), "knn")
    only_a, only_b = (a & ~b).sum(), (b & ~a).sum()
    assert found.best == "a"
    (other,) = found.others
    assert other.difference == pytest.approx((only_a - only_b) / 400)
    half = stats.norm.ppf(0.975) * np.sqrt(only_a + only_b) / 400
    assert (other.low, other.high) == pytest.approx(
        (other.difference - half, other.difference + half)
    )
    z = (only_a - only_b) / np.sqrt(only_a + only_b)
    assert other.apart == (z > stats.norm.ppf(0.975))


def test_same_images_in_two_data_sets_are_no_new_evidence():
    a, b = draws(200, 0.6, 0.5)
    hits = {"a": a, "b": b}
    one = contest(inputs_of({"d": hits}, {"d": range(200)}), "knn")
    same = contest(inputs_of({"d": hits, "e": hits}, {"d": range(200), "e": range(200)}), "knn")
    other = contest(inputs_of({"d": hits, "e": hits}, {"d": range(200), "e": range(9, 209)}), "knn")
    width = [c.others[0].high - c.others[0].low for c in (one, same, other)]
    assert width[1] == pytest.approx(width[0])
    assert width[2] == pytest.approx(width[0] / np.sqrt(2))


def test_more_models_widen_the_intervals():
    a, b, c = draws(200, 0.6, 0.5, 0.4)
    two = contest(inputs_of({"d": {"a": a, "b": b}}, {"d": range(200)}), "knn")
    three = contest(inputs_of({"d": {"a": a, "b": b, "c": c}}, {"d": range(200)}), "knn")
    assert three.others[0].low < two.others[0].low


def test_identical_models_are_not_told_apart():
    (a,) = draws(50, 0.5)
    found = contest(inputs_of({"d": {"a": a, "b": a}}, {"d": range(50)}), "knn")
    assert not found.others[0].apart


def test_perfect_model_has_no_interval():
    a = np.ones(50, bool)
    mean, low, high = mean_scores(inputs_of({"d": {"a": a}}, {"d": range(50)}), "knn", ["d"])["a"]
    assert mean == 1
    assert np.isnan([low, high]).all()


def test_mean_per_class_weighs_classes_equally():
    labels = np.array([0] * 90 + [1] * 10)
    hits = {"d": {"a": labels == 0}}
    found = mean_scores(inputs_of(hits, {"d": range(100)}, labels, "mean_per_class"), "knn", ["d"])
    assert found["a"][0] == pytest.approx(0.5)


def test_interval_covers_the_truth():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        shared = {f"d{i}": {"a": rng.random(300) < 0.3 + 0.2 * i} for i in range(2)}
        paths = {"d0": range(300), "d1": range(300)}
        _, low, high = mean_scores(inputs_of(shared, paths), "knn", ["d0", "d1"])["a"]
        covered += low <= 0.4 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_draws_of_an_image_count_once_and_unjudged_images_not_at_all():
    shares = np.random.default_rng(0).integers(0, 6, (2, 300)) / 5  # of five draws
    hits = dict(zip("ab", shares, strict=True))
    found = contest(inputs_of({"d": hits}, {"d": range(300)}), "knn")
    gap = abs(shares[0].mean() - shares[1].mean())
    (other,) = found.others
    assert other.difference == pytest.approx(gap)
    half = stats.norm.ppf(0.975) * np.sqrt(np.square(shares[0] - shares[1]).sum()) / 300
    assert other.high - other.difference == pytest.approx(half)
    judged = np.arange(300) % 3 > 0
    partly = {k: np.where(judged, v, np.nan) for k, v in hits.items()}
    left = {k: v[judged] for k, v in hits.items()}
    for metric in ("top1", "mean_per_class"):
        labels = np.arange(300) % 4
        some = contest(inputs_of({"d": partly}, {"d": range(300)}, labels, metric), "knn")
        these = contest(
            inputs_of({"d": left}, {"d": np.flatnonzero(judged)}, labels[judged], metric), "knn"
        )
        assert some == these
