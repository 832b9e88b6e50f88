"""`probeline figures`: files that other programs open, with the report's data in them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from report_study import make_study, store

from pipeline.report.figure_files import draw, standalone
from pipeline.report.figures import Figure, report_figures
from pipeline.report.inputs import load_inputs


@pytest.fixture
def reported(project):
    study = make_study(models=6, outside=2)
    store(study)
    return project


def test_every_figure_of_the_report_is_a_file(reported):
    names = set(report_figures(load_inputs(make_study(models=6, outside=2))))
    assert names >= {"correlation", "scatter_knn", "scatter_linear"}
    said = reported.run("cli", "figures", "--format", "svg", "--out", "drawn").succeeded()
    paths = list(Path("drawn").glob("*.svg"))
    assert {path.stem for path in paths} == names
    assert {Path(line).name for line in said.splitlines()} == {path.name for path in paths}
    assert all(path.read_bytes().startswith(b"<svg") for path in paths)
    for kind, head in {"pdf": b"%PDF-", "png": b"\x89PNG"}.items():
        options = ("--format", kind, "--out", "drawn", "--only", "correlation")
        reported.run("cli", "figures", *options).succeeded()
        [path] = Path("drawn").glob(f"*.{kind}")
        assert path.read_bytes().startswith(head)
    words = re.findall(r">([^<>]+)</text>", Path("drawn/scatter_knn.svg").read_text())
    assert {"family0", "family5", "In-domain score", "Out-of-domain score"} <= set(words)
    numbers = re.findall(r">([^<>]+)</text>", Path("drawn/correlation.svg").read_text())
    assert any("out1" in word for word in numbers)
    with Image.open("drawn/correlation.png") as image:
        assert image.width > 800


def test_the_folder_is_where_the_user_is(reported, monkeypatch):
    folder = reported.folder / "paper"
    folder.mkdir()
    monkeypatch.chdir(folder)
    reported.run("cli", "figures", "--format", "svg", "--only", "correlation").succeeded()
    assert list((folder / "figures").glob("*.svg"))
    reported.run("cli", "figures", "--only", "corelation").refused("did you mean `correlation`")


def test_before_there_are_results(project):
    project.run("cli", "figures").refused("scores.nc", "dvc repro")


def test_figures_fetch_nothing_and_names_stay_text():
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"name": "rows"},
        "width": "container",
        "height": 50,
        "mark": "point",
        "encoding": {"y": {"field": "name", "type": "nominal"}},
        "config": {},
    }
    figure = Figure(spec, [{"name": "<script>alert(1)</script>"}])
    drawn = draw(standalone(figure), "svg").decode()
    assert "<script" not in drawn
    assert "alert(1)" in drawn
    assert 'width="container"' not in drawn
    assert spec["width"] == "container"  # the report's own is untouched
    linked = {**standalone(figure), "data": {"url": "https://example.org/x.csv"}}
    with pytest.raises(ValueError, match=r"example\.org|allowed"):
        draw(linked, "png")
    assert Image.open(io.BytesIO(draw(standalone(figure), "png"))).width > 1000
