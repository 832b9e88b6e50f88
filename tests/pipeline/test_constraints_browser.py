"""The choice under constraints in a real browser, against a search in plain Python."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
from made_inputs import make_inputs, partial, table

from pipeline.report import page as report
from pipeline.report.constraints import section

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="chromium and chromedriver are not installed (Debian: chromium, chromium-driver)",
    ),
]
MODELS = ["alpha", "<b>beta</b>", "=gamma()", "delta", "epsilon"]
SUPERVISION = ["supervised", "self_supervised", "supervised", "none", "self_supervised"]
FAMILIES = ["x", "x", '"><img src=x>', "y", "y"]
PARAMETERS = [86e6, 25.6e6, 5e6, np.nan, 300e6]
MILLISECONDS = [12.0, 4.0, 1.0, 30.0, 2.0]
DATASETS = ["in0", "out0", "out1"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def values():
    scores = np.random.default_rng(5).uniform(0.3, 0.9, (5, 3, 2))
    scores[4, 2, 0] = np.nan  # epsilon has no kNN score on out1
    scores[:, 0, 1] = np.nan  # nobody was transferred to in0
    return scores


def pairs():
    """kNN on out0: only pairs that hold the first model are told apart."""
    low = np.full((1, 1, 5, 5), np.nan)
    low[0, 0][np.triu_indices(5, 1)] = -0.1
    low[0, 0, 0, 1:] = 0.1
    high = low + 0.15
    labels = (["knn/study"], ["out0"], MODELS, MODELS)
    return table(("variant", "dataset", "model", "rival"), labels, {"low": low, "high": high})


def means():
    """kNN out of domain: the best of all models is not told apart from the second."""
    mean = values()[:, 1:, 0].mean(axis=1)
    order = np.argsort(-mean)  # epsilon, without a mean, is last
    p = np.full(len(MODELS), np.nan)
    p[order[:4]] = [1.0, 0.3, 0.04, 0.01]
    found = {"mean": mean, "p_best": p}
    return table(
        ("protocol", "scope", "model"),
        (["knn", "transfer"], ["all", "out_of_domain"], MODELS),
        {name: [[row * np.nan, row], [row * np.nan, row * np.nan]] for name, row in found.items()},
    )


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    images = np.full((5, 3), 100.0)
    inputs = make_inputs(
        {"model_pairs": pairs(), "mean_scores": means()},
        models=MODELS,
        datasets=DATASETS,
        variants=("knn/study", "transfer/from_in0_ridge_none"),
        values=values(),
        supervision=SUPERVISION,
        family=FAMILIES,
        parameters=PARAMETERS,
        images=images,
        extraction_seconds=images * np.array(MILLISECONDS)[:, np.newaxis] / 1000,
    )
    body = partial("constraints", section(inputs))
    script = report._text("constraints.js")
    path = tmp_path_factory.mktemp("page") / "index.html"
    text = f"<!doctype html><meta charset=utf-8><body>{body}<script>{script}</script>"
    path.write_text(text, encoding="utf-8")
    browser.get(path.as_uri())
    return browser


def show(page, **limits):
    """Reset, then set fields by name; returns the shown models and their remarks."""
    page.execute_script(
        "const form = document.getElementById('limits'); form.reset();"
        "return new Promise(done => setTimeout(done, 20))"
    )
    for name, value in limits.items():
        page.execute_script(
            "const field = document.getElementById('limits').elements[arguments[0]];"
            "const options = [...(field.options ?? [])].find(o => o.text === arguments[1]);"
            "field.value = options ? options.value : arguments[1];"
            "field.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            str(value),
        )
    return page.execute_script(
        "return [...document.querySelectorAll('#within tr')].map(row =>"
        " [row.children[0].firstChild.textContent, row.children[1].firstChild.textContent,"
        "  row.children[2].textContent])"
    )


def expected(protocol, places, **limits):
    """The same by brute force: names and scores, best first."""
    scores, found = values()[:, :, protocol], []
    for m, name in enumerate(MODELS):
        score = scores[m, places].mean()
        fits = all(
            (of[m] == limit if isinstance(limit, str) else of[m] <= limit)
            for limit, of in (
                (limits.get("parameters"), [p / 1e6 for p in PARAMETERS]),
                (limits.get("milliseconds"), MILLISECONDS),
                (limits.get("supervision"), SUPERVISION),
                (limits.get("family"), FAMILIES),
            )
            if limit is not None
        )
        if np.isfinite(score) and fits:
            found.append((score, name))
    return [(name, f"{100 * score:.1f}") for score, name in sorted(found, reverse=True)]


SCOPES = {
    "mean over all data sets": [0, 1, 2],
    "mean over out-of-domain data sets": [1, 2],
    "in0": [0],
    "out0": [1],
    "out1": [2],
}


def test_every_choice_is_that_of_a_plain_search(page):
    limits = [
        {},
        {"parameters": 86},
        {"milliseconds": 4.0},
        {"parameters": 30, "milliseconds": 3},
        {"family": FAMILIES[2]},
        {"parameters": 1},
    ]
    for (scope, places), asked in itertools.product(SCOPES.items(), limits):
        shown = show(page, scope=scope, **asked)
        assert [tuple(row[:2]) for row in shown] == expected(0, places, **asked)
    shown = show(page, supervision="self-supervised")
    assert [tuple(r[:2]) for r in shown] == expected(0, [0, 1, 2], supervision="self_supervised")
    assert page.get_log("browser") == []


def test_another_protocol_offers_its_own_data_sets(page):
    shown = show(page, protocol="transferred probe")
    offered = page.execute_script(
        "return [...document.getElementById('limits').elements.scope.options].map(o => o.text)"
    )
    assert offered == ["mean over all data sets", "out0", "out1"]
    assert [tuple(row[:2]) for row in shown] == expected(1, [1, 2])


def test_who_is_told_apart(page):
    shown = show(page, scope="out0")
    best = shown[0][0]
    assert shown[0][2] == "the best"
    for name, _, told in shown[1:]:
        assert told == ("told apart" if MODELS[0] in (best, name) else "not told apart")
    assert {told for *_, told in show(page, scope="in0")[1:]} == {"not tested"}
    assert {told for *_, told in show(page)[1:]} == {"not tested"}


def test_means_are_compared_with_the_best_of_all_models(page):
    scope = "mean over out-of-domain data sets"
    shown = show(page, scope=scope)
    assert [told for *_, told in shown] == [
        "the best", "not told apart", "told apart", "told apart"
    ]  # fmt: skip
    best = MODELS.index(shown[0][0])
    limits = {"milliseconds": MILLISECONDS[best] - 0.5}  # the best of all is out
    left = show(page, scope=scope, **limits)
    assert {told for *_, told in left[1:]} <= {"not tested"}
    assert left[0][0] != shown[0][0]


def test_unknown_sizes_are_said(page):
    show(page, parameters=1000)
    said = page.find_element("id", "chosen").text
    assert "Left out as their number of parameters is not known: 1." in said
    show(page, parameters=0.001)
    assert "No model" in page.find_element("id", "chosen").text
    assert not page.find_element("css selector", "[name=dimension]").is_displayed()
