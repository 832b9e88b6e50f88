"""The block "Reproduce this": digests by their definitions, and nothing of this machine."""

from __future__ import annotations

import hashlib
import html
import re

import pandas as pd
from report_study import make_study, store

from pipeline.datasets.index import read_index
from pipeline.project.paths import REPORT, SCORES, provenance_path
from pipeline.report.inputs import load_inputs
from pipeline.report.reproduce import section
from pipeline.results.exporting import exported
from pipeline.study.params import parse_study


def block():
    text = REPORT.read_text(encoding="utf-8")
    found = text.partition('<section id="reproduce"')[2].partition("</section>")[0]
    return html.unescape(re.sub(r"<[^>]+>", "\n", found)), found


def test_everything_that_the_numbers_depend_on_is_told(project, monkeypatch):
    reported = make_study(models=2)
    store(reported, statistics=False)
    project.run("report").succeeded()
    words, markup = block()
    for name in reported.datasets:
        rows = pd.DataFrame(read_index(name).rows.to_pylist())
        for split, of in rows.groupby("split"):
            listed = "\n".join(sorted(of["sha256"])).encode()
            assert hashlib.sha256(listed).hexdigest() in words, split
        assert name in words
    for model in reported.models:
        assert model in words
        assert '"weights": "' in provenance_path("in0", model).read_text(encoding="utf-8")
    assert "abcdef0123456789" * 4 in words
    assert "Python" in words
    assert "in no git repository" in words
    assert "git checkout" not in words  # nobody knows which
    assert "dvc repro" in words
    told = re.search(r'<pre[^>]* id="study-text">(.*?)</pre>', markup, re.DOTALL)[1]
    assert parse_study(html.unescape(told)) == reported
    table = exported(reported)  # what others compare with
    assert set(table["test_images_sha256"]) <= set(re.findall(r"\b[0-9a-f]{64}\b", words))
    assert set(table["weights_sha256"]) <= set(re.findall(r"\b[0-9a-f]{64}\b", words))

    # imported tables: here one without any score, as only the file counts
    SCORES.mkdir(exist_ok=True)
    path = SCORES / "paper.csv"
    path.write_text("model,dataset,protocol,metric,value\n", encoding="utf-8")
    (SCORES / "paper.baseline.txt").write_text("model0\n", encoding="utf-8")
    nothing = pd.DataFrame({"model": [], "dataset": []})
    monkeypatch.setattr("pipeline.report.inputs.load_foreign", lambda _: nothing)
    found = dict(section(load_inputs(reported)).files)
    assert found == {
        name.as_posix(): hashlib.sha256(name.read_bytes()).hexdigest()
        for name in (path, SCORES / "paper.baseline.txt")
    }
