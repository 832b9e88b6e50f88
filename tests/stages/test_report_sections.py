"""Sections of the report: one list is the order of the page; its parts are the navigation."""

from __future__ import annotations

import html
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from report_study import make_study, store

from pipeline.project.paths import REPORT
from pipeline.report import page, sections
from pipeline.report.columns import Head
from pipeline.report.panels import Cell, Table, Tables, as_it_is
from pipeline.report.section import GROUPS, Section
from pipeline.statistics import registry
from pipeline.statistics.column import Column
from stages.correlate import main as correlate
from stages.report import main as report


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*stages):
    for stage in (*stages, report):
        result = CliRunner().invoke(stage, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    text = REPORT.read_text(encoding="utf-8")
    return re.sub(r"<(script|style)[^>]*>.*?</\1>", "", text, flags=re.DOTALL)


def words_of(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def parts_of(markup):
    """Places and words of the navigation: the page's parts."""
    start = markup.index("<nav")
    links = re.findall(r'<a href="#([^"]+)">(.*?)</a>', markup[start : markup.index("</nav>")])
    return [(place, html.unescape(words)) for place, words in links]


def links_of(markup):
    """Places and words of what each part links to at its head; Decide needs none."""
    return [
        (place, html.unescape(words))
        for listed in re.findall(r'<ul class="inside".*?</ul>', markup, re.DOTALL)
        for place, words in re.findall(r'<a href="#([^"]+)">(.*?)</a>', listed)
    ]


def headings_of(markup):
    """Places and headings of the sections, in the page's order."""
    found = re.findall(r'<section id="([^"]+)"[^>]*>\s*<h3[^>]*>(.*?)</h3>', markup)
    return [(place, html.unescape(words)) for place, words in found]


def lines_of(markup):
    """What the page says of the sections that are not there: heading and reason, by place."""
    if (start := markup.find('<section id="absent"')) < 0:
        return {}
    rest = markup[start : markup.index("</section>", start)]
    found = {}
    for line in re.findall(r"<li>(.*?)</li>", rest, re.DOTALL):
        named = re.findall(r'<b id="([^"]+)">(.*?)</b>', line)
        reason = line.rpartition("</b> ")[2]
        found |= {place: (heading, reason) for place, heading in named}
    reasons = [line.rpartition("</b> ")[2] for line in re.findall(r"<li>(.*?)</li>", rest)]
    assert len(set(reasons)) == len(reasons)  # each is told once
    return found


def check_contents(markup):
    """The words of the navigation are the headings, and every link leads somewhere."""
    parts = re.findall(r'<div class="part[^"]*" id="([^"]+)">\s*<h2>(.*?)</h2>', markup)
    assert parts_of(markup) == [(place, html.unescape(words)) for place, words in parts]
    assert markup.count("<h2") == len(parts)
    headings = dict(headings_of(markup))
    for place, words in links_of(markup):
        assert headings[place] == words
    ids = re.findall(r'\bid="([^"]+)"', markup)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', markup)) <= set(ids)
    places = re.findall(r'<section id="([^"]+)"', markup)
    shown = [place for place in places if place != "absent"]
    assert sorted([*shown, *lines_of(markup)]) == sorted(s.place for s in sections.SECTIONS)
    order = list(GROUPS)
    expected = sorted(sections.SECTIONS, key=lambda s: order.index(s.group))
    assert shown == [s.place for s in expected if s.place in shown]
    levels = [int(level) for level in re.findall(r"<h([1-6])", markup)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("models", [1, 3])
def test_navigation_and_headings_agree_where_much_is_withheld(models):
    store(make_study(models=models), statistics=False)
    markup = run()
    check_contents(markup)
    assert ("absent", "Not in this report") in links_of(markup)
    assert len(lines_of(markup)) > 5


@pytest.mark.slow
def test_navigation_and_headings_agree_where_all_is_computed():
    store(make_study(models=8, inside=2, outside=3))
    markup = run()
    check_contents(markup)
    assert len(headings_of(markup)) > 12


def test_sections_are_told_apart():
    assert len({s.place for s in sections.SECTIONS}) == len(sections.SECTIONS)
    assert len({s.heading for s in sections.SECTIONS}) == len(sections.SECTIONS)
    folder = Path(page.__file__).parent
    assert {s.group for s in sections.SECTIONS} <= set(GROUPS)
    used = {s.template for s in sections.SECTIONS}
    assert {name for name in used if not (folder / name).is_file()} == set()
    for name in used:  # the page makes section and heading, from the object
        text = (folder / name).read_text(encoding="utf-8")
        assert not re.search(r"<section|<h2|<h1", text), name


def test_the_page_itself_names_no_section():
    text = (Path(page.__file__).parent / "page.html.j2").read_text(encoding="utf-8")
    assert [s.place for s in sections.SECTIONS if f'id="{s.place}"' in text] == []
    assert [s.template for s in sections.SECTIONS if s.template in text] == []


def toy(withheld=""):
    rows = ((Cell("model <0>"), Cell("0.25")),)
    table = Table("All toys", "toys", (Head("Model"), Head("Share")), rows, withheld)
    return Section("toys", "Toys & more", "tables.html.j2", lambda _: Tables([table], intro="New."))


def with_toy(monkeypatch, section, place=3):
    listed = list(sections.SECTIONS)
    listed.insert(place, section)
    monkeypatch.setattr(sections, "SECTIONS", tuple(listed))


def test_a_section_more_is_in_the_page_and_in_the_navigation(monkeypatch):
    with_toy(monkeypatch, toy())
    store(make_study(models=2), statistics=False)
    markup = run()
    check_contents(markup)
    assert ("toys", "Toys & more") in headings_of(markup)
    assert ("toys", "Toys & more") in links_of(markup)
    assert "Toys & more New. All toys Model Share model <0> 0.25" in words_of(markup)


def test_a_section_with_nothing_to_say_is_one_line_with_its_reason(monkeypatch):
    with_toy(monkeypatch, toy("Withheld: no toys & no <shares>."))
    store(make_study(models=2), statistics=False)
    markup = run()
    check_contents(markup)
    assert lines_of(markup)["toys"] == (
        "Toys &amp; more", "Withheld: no toys &amp; no &lt;shares&gt;."
    )  # fmt: skip
    assert "toys" not in dict(links_of(markup))
    assert "New." not in words_of(markup)  # no shell of it is left
    assert all(reason for _, reason in lines_of(markup).values())


def test_what_others_add_has_its_part(monkeypatch):
    """A part is there with its first section, at the end; links to that are there with it."""
    others = [
        Section(place, heading, "tables.html.j2", toy().content, group=group)
        for place, heading, group in (
            ("fails", "Where it fails", "Data"),
            ("use", "Use it", "Use it"),
        )
    ]
    places = [section.place for section in others]
    kept = tuple(section for section in sections.SECTIONS if section.place not in places)
    monkeypatch.setattr(sections, "SECTIONS", kept)
    store(make_study(models=2), statistics=False)
    markup = run()
    assert 'href="#use"' not in markup
    assert ("use-group", "Use it") not in parts_of(markup)
    for section in others:
        with_toy(monkeypatch, section, place=0)
    markup = run()
    check_contents(markup)
    assert parts_of(markup)[-1] == ("use-group", "Use it")
    assert 'href="#use"' in markup
    assert ("fails", "Where it fails") in links_of(markup)


COLUMNS = {"spread": Column("standard deviation over models", "share", head="Spread, points")}


def spread(evidence):
    """A statistic that somebody adds: one function of the evidence, one tidy table."""
    scores = evidence.cube["value"].sel(metric="top1", drop=True)
    return xr.Dataset(
        {"spread": scores.std("model"), "models": scores.count("model")},
        attrs={"definition": "Standard deviation of the scores over models"},
    )


def test_a_statistic_and_its_section_are_a_module_and_two_lines(monkeypatch):
    """The three files of CONTRIBUTING, Adding a statistic: this function, a line in two others."""
    monkeypatch.setattr(registry, "STATISTICS", {"spread": spread})
    content = as_it_is("spread", "Spread over models", "How far models differ.")
    with_toy(monkeypatch, Section("spread", "Spread of scores", "tables.html.j2", content))
    store(make_study(models=4, outside=1), missing=[("knn", "out0", f"model{m}") for m in range(4)])
    markup = run(correlate)
    check_contents(markup)
    assert ("spread", "Spread of scores") in links_of(markup)
    stored = pd.read_csv("results/statistics/spread.csv")
    assert {registry.column_of("spread", name).unit for name in ("spread", "models")} == {
        "share", "models"
    }  # fmt: skip
    row = stored[(stored["dataset"] == "in0") & stored["variant"].str.startswith("linear")]
    assert np.isfinite(row["spread"]).all()
    words = words_of(markup)
    assert "Spread of scores How far models differ. Spread over models" in words
    label = "linear probe: logistic regression, plain"  # not the name that records have
    assert f"{row['spread'].item():,.4g} 4" in words.split(f"in0, {label}")[1][:20]
    assert "Spread, points Standard deviation over models. " in words  # told as its object says
    assert "What it is Standard deviation of the scores over models" in words
    assert "nan" not in words.split("Spread of scores")[-1].split("All numbers")[0]
