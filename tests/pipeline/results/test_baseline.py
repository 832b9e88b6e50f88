"""Who the declared baseline is, and effective robustness of one classifier tested everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats
from scipy.special import expit

from cache.errors import ProbelineError
from pipeline.results.baseline import declared_baseline, keep_baseline
from pipeline.statistics.baseline_fit import bend
from pipeline.statistics.panel import logit
from pipeline.statistics.robustness import effective_robustness, transfer_residual

MODELS = ["a1", "a2", "clip", "b"]
WORDS = {"supervision": ["supervised", "supervised", "unknown", "unknown"]}


def test_names_patterns_and_words():
    assert declared_baseline(["b", "a*"], MODELS, WORDS) == ("a1", "a2", "b")
    assert declared_baseline(["supervision=supervised"], MODELS, WORDS) == ("a1", "a2")


def test_nobody_or_a_file_beside_the_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert declared_baseline([], MODELS, WORDS) is None
    (tmp_path / "names.txt").write_text("b\n\na2\n")
    keep_baseline(tmp_path / "names.txt", tmp_path / "scores" / "t.csv", MODELS)
    assert declared_baseline([], MODELS, WORDS) == ("a2", "b")


@pytest.mark.parametrize(
    ("asked", "expect"),
    [
        (["a1", "clipp", "zzz"], ("2 of 3 baseline models", "clipp (nearest: clip)")),
        (["x*"], ("no model has a name like x*",)),
        (["supervision=none"], ("no model has supervision none", "supervised")),
    ],
)
def test_names_that_are_not_there(asked, expect):
    with pytest.raises(ProbelineError) as caught:
        declared_baseline(asked, MODELS, WORDS)
    assert all(word in str(caught.value) for word in expect), str(caught.value)


def test_a_file_of_other_names_is_refused_and_nothing_kept(tmp_path):
    (tmp_path / "names.txt").write_text("nobody\n")
    with pytest.raises(ProbelineError, match="1 of 1 baseline models"):
        keep_baseline(tmp_path / "names.txt", tmp_path / "t.csv", MODELS)
    assert not (tmp_path / "t.baseline.txt").exists()


def classifier(**settings):
    """Twelve models of one classifier on home, a subset of it, and away; the last one is robust."""
    rng = np.random.default_rng(0)
    x = rng.normal(0.5, 0.6, 12)
    y = 0.9 * x - 1 + rng.normal(0, 0.05, 12)
    y[11] += 1.5
    values = expit(np.stack([x, x + 0.3, y], axis=1))[:, :, np.newaxis]
    roles = ["in_domain", "in_domain", "out_of_domain"]
    evidence = make_evidence(make_cube(values, ["classifier/x"], role=roles, n_test=10_000))
    more = {"baseline": tuple(f"m{i}" for i in range(10))}
    return replace(evidence, settings=evidence.settings.model_copy(update=settings), **more), values


def test_one_classifier_against_a_declared_baseline():
    evidence, values = classifier(home={"d2": "d1"})
    found = effective_robustness(evidence)
    assert found.sizes["head"] == 2
    for head, home in zip(found["head"].values, (0, 1), strict=True):
        of = found.sel(head=head, dataset="d2")
        n = np.array(10_000)
        px, py = logit(values[:10, home, 0], n), logit(values[:10, 2, 0], n)
        line = stats.linregress(px, py)
        expected = line.intercept + line.slope * logit(values[11, home, 0], n)
        assert of["expected"].sel(model="m11").item() == pytest.approx(expit(expected))
        assert of["outside"].sel(model="m11") == 1
        assert of["n"].sel(model="m11") == 10
    assert np.isnan(found["value"].sel(dataset="d1")).all()  # a subset of home is not away
    assert "own on each data set" in transfer_residual(evidence).attrs["withheld"]


def test_models_near_chance_are_in_no_line_and_not_judged():
    evidence, values = classifier(chance={"d2": float(np.sort(values_away())[1])})
    found = effective_robustness(evidence).isel(head=0).sel(dataset="d2")
    low = values[:, 2, 0] <= np.sort(values_away())[1]
    assert low.sum() >= 2
    assert np.isnan(found["value"].values[low]).all()
    assert (found["near_chance"].values[low] == 1).all()
    assert found["n"].values[11] == 10 - found["near_chance"].values[:10].sum()


def values_away():
    return classifier()[1][:, 2, 0]


def test_without_a_classifier_there_is_no_head():
    evidence, _ = classifier(classifiers=["another"])
    assert "no head was tested" in effective_robustness(evidence).attrs["withheld"]


def test_a_bend_is_the_t_test_of_a_square():
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    everyone = np.ones(30, bool)
    straight, bent = x + rng.normal(0, 0.2, 30), x + 0.5 * x**2 + rng.normal(0, 0.2, 30)
    design = np.stack([np.ones(30), x, x**2], axis=1)
    for y, is_bent in ((straight, False), (bent, True)):
        solved = np.linalg.lstsq(design, y, rcond=None)[0]
        rest = y - design @ solved
        error = np.sqrt(rest @ rest / 27 * np.linalg.inv(design.T @ design)[2, 2])
        assert bend(x, y, everyone) == pytest.approx(2 * stats.t.sf(abs(solved[2]) / error, 27))
        assert (bend(x, y, everyone) < 0.001) == is_bent
    assert np.isnan(bend(x[:7], x[:7], everyone[:7]))
