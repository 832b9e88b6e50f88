"""How much would settle it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_cubes import make_cube
from made_evidence import make_evidence
from scipy import stats

from pipeline.statistics.pilots import Pilot, pilot_of, questions
from pipeline.statistics.power import power, power_curves
from pipeline.statistics.power_words import settling, to_settle_it
from pipeline.statistics.t_power import needed, power_of


@pytest.mark.parametrize(
    ("difference", "spread", "n"), [(0.5, 1.0, 34), (1.0, 1.0, 10), (0.2, 1.0, 199)]
)
def test_the_textbook_numbers_of_a_paired_t_test(difference, spread, n):
    """Cohen 1988, two-sided 5%, 80%: d = .5 takes 34 pairs, .2 takes 199."""
    assert needed(difference, spread, 0.05) == n


@given(st.floats(0.05, 2), st.integers(2, 300))
def test_power_is_what_a_simulation_of_t_says(effect, n):
    rng = np.random.default_rng(0)
    t = (rng.standard_normal(4_000) + effect * np.sqrt(n)) / np.sqrt(
        rng.chisquare(n - 1, 4_000) / (n - 1)
    )
    share = np.mean(np.abs(t) > stats.t.isf(0.025, n - 1))
    assert power_of(effect, 1.0, n, 0.05) == pytest.approx(share, abs=0.04)


def test_no_number_is_enough_for_nothing():
    assert np.isinf(needed(1e-6, 1.0, 0.05))
    assert needed(0.1, 0.0, 0.05) == 3


def test_jackknife_values_of_a_mean_are_the_values():
    values = np.random.default_rng(1).normal(size=(9, 3))
    units = np.arange(9).astype(str)
    pilot = pilot_of(lambda kept: values[kept].mean(axis=0), units)
    assert np.sort(pilot.values, axis=0) == pytest.approx(np.sort(values, axis=0))
    assert pilot.spread() == pytest.approx(values.mean(axis=1).std(ddof=1))
    covariance = np.cov(values, rowvar=False)
    own, shared = np.trace(covariance) / 3, (covariance.sum() - np.trace(covariance)) / 6
    assert pilot.spread(3) == pytest.approx(np.sqrt(max(shared + (own - shared) / 3, 0)))
    assert pilot.spread(3) == pytest.approx(pilot.spread())  # the pilot's own targets


def test_the_pilots_interval_holds_its_spread():
    pilot = Pilot(np.random.default_rng(2).normal(size=(40, 2)))
    low, high = pilot.interval()
    assert low < pilot.spread() < high


@pytest.fixture(scope="module")
def evidence():
    rng = np.random.default_rng(4)
    skill = rng.normal(size=16)
    values = {
        name: 1 / (1 + np.exp(-(skill[:, None] + noise * rng.normal(size=(16, 6)))))
        for name, noise in (("knn/x", 0.8), ("linear/x", 0.4))
    }
    roles = ["in_domain", *["out_of_domain"] * 5]
    return make_evidence(make_cube(values, role=roles))


def test_questions_of_a_pilot(evidence):
    asked = {question.name: question for question in questions(evidence)}
    assert {"models", "data sets/knn", "data sets/linear"} <= set(asked)
    assert asked["models"].now == 16
    more, fewer = (
        {q.name: q for q in questions(evidence, targets=n)}["models"].spread for n in (50, 2)
    )
    assert more < fewer  # more targets, fewer models
    table = power(evidence)
    assert (table["needed_low"] <= table["needed"]).where(table["needed_low"].notnull()).all()
    curves = power_curves(evidence)["power"].sel(question="models").values
    assert (np.diff(curves) >= -1e-9).all()
    said = to_settle_it({"power": table})
    assert len(said) == table.sizes["question"]
    assert all("tell" in line for line in said)


def test_nothing_to_tell_apart():
    one = make_evidence(make_cube(np.full((1, 2, 1), 0.5), ["linear/x"]))
    assert "withheld" in power(one).attrs
    assert to_settle_it({"power": power(one)}) == ()


def test_words():
    of = {"now": 5.0, "needed": 31.0, "needed_low": 18.0, "needed_high": np.inf,
          "difference": 0.01, "targets": np.nan}  # fmt: skip
    said = settling("data sets", "a", "b", of, "knn")
    assert "31 data sets" in said
    assert "1 point in 80%" in said
    assert "has 5 data sets" in said
    none = settling("models", "a", "b", {**of, "needed": np.inf, "targets": 3.0})
    assert none.startswith("No number of models")
