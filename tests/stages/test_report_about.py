"""What a statistic says of itself reaches the page, whatever it is called."""

import dataclasses
import html
import re

import pytest
import xarray as xr
from report_study import make_study, store

from pipeline.report.about import _NAMES, About
from pipeline.report.inputs import load_inputs
from pipeline.report.page import render
from pipeline.study.params import load_study


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store(make_study(models=6))
    return load_inputs(load_study())


def words_of(page):
    body = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    body = re.sub(r"</?code>", "", body)  # within a sentence
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_every_attribute_of_every_statistic_is_shown(inputs):
    new = xr.Dataset({"share": 0.5}, attrs={"definition": "a new one", "caveat": "of few <models>"})
    more = dict(inputs.statistics) | {"novelty": new}
    more["ranks"] = more["ranks"].assign_attrs(smoothing="none at all", interval="of another kind")
    words = words_of(render(dataclasses.replace(inputs, statistics=more)))
    shown = {name: table for name, table in more.items() if table.data_vars}
    assert len(shown) > 10
    for name, table in shown.items():
        assert f"results/statistics/{name}.csv" in words
        for key, value in table.attrs.items():
            text = _NAMES[key](inputs, str(value)) if key in _NAMES else str(value)
            assert " ".join(text.replace("`", "").split()) in words, (name, key)
    assert "Also computed: novelty What it is a new one Caveat of few <models>" in words
    assert "Smoothing none at all" in words


def test_no_attribute_is_a_bare_number_or_a_name_of_the_records(inputs):
    about = About(inputs)
    known = {*inputs.variants, *inputs.columns}
    for name in inputs.statistics:
        for heading, text in about(name):
            assert re.search("[a-zρ]", text), (name, heading, text)
            assert not known & set(re.split(r"[,;]? ", text)), (name, heading, text)
            assert not re.search(r"\b1 (models|points|images|classes)\b", text), (name, text)
    unpaired = xr.Dataset({"x": 1.0}, attrs={"unpaired": "knn, linear/logistic_none"})
    made = About(dataclasses.replace(inputs, statistics={"made": unpaired}))
    label = inputs.variants["linear/logistic_none"].label
    assert made("made") == [("Compared without per-image outcomes", f"kNN, {label}")]


def test_nothing_is_told_twice_and_names_are_put_into_words(inputs):
    words = words_of(render(inputs))
    for name in inputs.statistics:
        assert words.count(f"results/statistics/{name}.csv and the group") <= 1
    about = About(inputs)
    assert dict(about("predictor_differences"))["Reference"] == "linear probe on in0"
    assert "predictor_differences" not in about.rest()
    assert "ranks" in about.rest()
