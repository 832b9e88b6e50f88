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
    """kNN on out0: only pairs that hold the first model differ."""
    score = values()[:, 1, 0]
    difference = (score[:, np.newaxis] - score)[np.newaxis, np.newaxis]
    upper = np.triu(np.ones((5, 5)), 1) > 0
    differs = np.where(upper, np.arange(5)[:, np.newaxis] == 0, np.nan)[np.newaxis, np.newaxis]
    labels = (["knn/study"], ["out0"], MODELS, MODELS)
    return table(
        ("variant", "dataset", "model", "rival"), labels,
        {"difference": difference, "differs": differs},
    )  # fmt: skip


def order():
    """Models by their mean out of domain, best first; epsilon has none."""
    return np.argsort(-values()[:4, 1:, 0].mean(axis=1)).tolist()


def means():
    """kNN out of domain: the best differs from the third and fourth, the second from the fourth."""
    mean = values()[:, 1:, 0].mean(axis=1)
    difference = mean[:, np.newaxis] - mean
    differs = np.where(np.isfinite(difference), 0.0, np.nan)
    for one, other in ((0, 2), (0, 3), (1, 3)):
        a, b = order()[one], order()[other]
        differs[a, b] = differs[b, a] = 1
    lower = np.tril(np.ones((5, 5))) > 0
    found = {"difference": difference, "differs": differs}
    return table(
        ("protocol", "scope", "model", "rival"),
        (["knn"], ["out_of_domain"], MODELS, MODELS),
        {name: np.where(lower, np.nan, of)[np.newaxis, np.newaxis] for name, of in found.items()},
    )


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    images = np.full((5, 3), 100.0)
    inputs = make_inputs(
        {"model_pairs": pairs(), "mean_pairs": means()},
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
    shown = show(page, scope="mean over all data sets", supervision="self-supervised")
    assert [tuple(r[:2]) for r in shown] == expected(0, [0, 1, 2], supervision="self_supervised")
    assert page.get_log("browser") == []


def test_another_protocol_offers_its_own_data_sets(page):
    shown = show(page, protocol="transferred probe", scope="mean over all data sets")
    offered = page.execute_script(
        "return [...document.getElementById('limits').elements.scope.options].map(o => o.text)"
    )
    assert offered == ["out0", "mean over all data sets", "out1"]  # it opens with the target
    assert [tuple(row[:2]) for row in shown] == expected(1, [1, 2])


def test_who_is_within_chance(page):
    """Only the first model differs from any: from better ones by being worse, and the reverse."""
    shown = [(name, told) for name, _, told in show(page, scope="out0")]
    names = [name for name, _ in shown]
    first = names.index(MODELS[0])
    for place, (_, told) in enumerate(shown):
        behind = place == first or (first < place)
        expected = "the best" if place == 0 else "differs" if behind else "within chance"
        assert told == expected
    assert {told for *_, told in show(page, scope="in0")[1:]} == {"not tested"}
    every = show(page, scope="mean over all data sets")
    assert {told for *_, told in every[1:]} == {"not tested"}


def test_within_chance_of_the_best_of_the_models_that_are_left(page):
    scope = "mean over out-of-domain data sets"
    shown = show(page, scope=scope)
    assert [told for *_, told in shown] == ["the best", "within chance", "differs", "differs"]
    best = order()[0]
    limits = {"milliseconds": MILLISECONDS[best] - 0.5}  # the best of all is out
    left = show(page, scope=scope, **limits)
    worse = {frozenset((MODELS[order()[1]], MODELS[order()[3]]))}
    names = [name for name, *_ in left]
    assert names
    assert MODELS[best] not in names
    for place, (name, _, told) in enumerate(left):
        beaten = any(frozenset((other, name)) in worse for other in names[:place])
        assert told == ("the best" if place == 0 else "differs" if beaten else "within chance")


def test_unknown_sizes_are_said(page):
    show(page, parameters=1000)
    said = page.find_element("id", "chosen").text
    assert "Left out as their number of parameters is not known: 1." in said
    show(page, parameters=0.001)
    assert "No model" in page.find_element("id", "chosen").text
    assert not page.find_element("css selector", "[name=dimension]").is_displayed()
