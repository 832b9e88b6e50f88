"""`probeline figures`: files that other programs open, with the report's data in them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from report_study import make_study, store

from cache.errors import ProbelineError
from pipeline.report.figure_files import draw, points_of, standalone
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


def test_a_figure_for_a_column_of_a_paper(reported):
    """84 mm wide in every format, with a caption; text of 8 pt where it can be laid out anew."""
    points = 84 / 25.4 * 72
    only = [word for name in ("scatter_knn", "correlation") for word in ("--only", name)]
    for kind in ("pdf", "svg", "png"):
        options = ("--format", kind, "--width", "84mm", "--out", "drawn", "--latex", *only)
        reported.run("cli", "figures", *options).succeeded()
    for name in ("scatter_knn", "correlation"):
        box = re.search(rb"/MediaBox ?\[ ?0 0 ([0-9.]+) ", Path(f"drawn/{name}.pdf").read_bytes())
        assert float(box[1]) == pytest.approx(points, rel=0.01)
        size = re.search(r'<svg[^>]* width="([0-9.]+)pt"', Path(f"drawn/{name}.svg").read_text())
        assert float(size[1]) == pytest.approx(points, rel=0.01)
        with Image.open(f"drawn/{name}.png") as image:
            assert image.width == pytest.approx(84 / 25.4 * 300, rel=0.01)
        said = Path(f"drawn/{name}.caption.txt").read_text(encoding="utf-8")
        assert "6 models" in said
        assert said.count("\n") == 1
        assert said.rstrip().endswith(".")
        tex = Path(f"drawn/{name}.tex").read_text(encoding="utf-8")
        assert r"\includegraphics[width=84mm]" in tex
    assert "jackknife" in Path("drawn/correlation.caption.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", ["84", "0mm", "-3cm", "84 km", "1e9pt"])
def test_a_width_that_is_none_is_refused(width):
    with pytest.raises(ProbelineError, match="is no width of a figure"):
        points_of(width)


def test_tables_for_papers(reported):
    said = reported.run("cli", "tables", "--out", "tex").succeeded()
    assert {Path(line).name for line in said.splitlines()} >= {
        "scores_knn.tex",
        "scores_linear.tex",
    }
    text = Path("tex/scores_linear.tex").read_text(encoding="utf-8")
    body = text.partition("\\midrule")[2].partition("\\bottomrule")[0]
    rows = [line.strip() for line in body.splitlines() if line.strip()]
    assert len(rows) == 6
    scores = pd.read_csv("results/scores.csv").query("protocol == 'linear' and metric == 'top1'")
    means = scores.pivot_table(index="model", columns="dataset", values="value")
    best = means.mean(axis=1).idxmax()
    assert rows[0].startswith(best)  # names without anything to escape
    for row in rows:
        name, *cells = row.removesuffix("\\\\").split("&")
        assert f"{100 * means.loc[name.strip(), 'in0']:.1f}" in cells[0]
        assert f"{100 * means.loc[name.strip()].mean():.1f}" in cells[-1]
    assert "40 test images" in text


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
