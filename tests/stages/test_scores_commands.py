"""`probeline scores …`, and the stages after it on imported scores alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from projects import REPOSITORY
from scipy import stats

from pipeline.machine.netcdf import read_netcdf

HEADER = "model,dataset,protocol,metric,value,family,role"


@pytest.fixture
def scores_only(project):
    """A project that names no data set and no model."""
    shutil.copy(REPOSITORY / "studies" / "scores.yaml", "params.yaml")
    shutil.rmtree("images")
    project.run("study").succeeded()
    return project


def write(path, models=6, datasets=("d", "e", "f"), seed=0, protocols=("linear", "knn")):
    """Random scores; the first data set is in-domain."""
    rng = np.random.default_rng(seed)
    lines = [
        f"{model},{dataset},{protocol},top1,{rng.random():.4f},{model}f,"
        + ("in_domain" if dataset == datasets[0] else "out_of_domain")
        for model in (f"m{i}" for i in range(models))
        for dataset in datasets
        for protocol in protocols
    ]
    Path(path).write_text("\n".join([HEADER, *lines, ""]))
    return pd.read_csv(path)


def test_import_list_and_remove(scores_only):
    write("my table.csv")
    scores_only.run("cli", "scores", "import", "my table.csv").refused("--as `my_table`")
    said = scores_only.run("cli", "scores", "import", "my table.csv", "--as", "table").succeeded(
        "36 scores of 6 models on 3 data sets", "kept as scores/table.csv", "note: no n_test"
    )
    assert "former" not in said
    scores_only.run("cli", "scores", "import", "my table.csv", "--as", "table").succeeded(
        "in place of the former"
    )
    scores_only.run("cli", "scores", "list").succeeded("table", "36", "linear, knn")
    scores_only.run("collect").succeeded("36 scores, 0 cells missing")
    scores_only.run("cli", "scores", "remove", "table").succeeded("scores/table.csv deleted")
    scores_only.run("collect").refused("params.yaml", "no scores are imported", "scores import")
    scores_only.run("cli", "scores", "remove", "table").refused("no such imported scores")


def test_paths_start_where_the_user_is(scores_only, monkeypatch):
    folder = scores_only.folder / "sub"
    folder.mkdir()
    write(folder / "mine.csv")
    monkeypatch.chdir(folder)
    scores_only.run("cli", "scores", "import", "mine.csv").succeeded("kept as scores/mine.csv")
    assert Path.cwd() == scores_only.folder
    assert Path("scores/mine.csv").is_file()


def test_faults_end_in_one_message_and_keep_nothing(scores_only):
    Path("bad.csv").write_text(f"{HEADER}\nm,d,linear,top1,85,f,in_domain\n")
    scores_only.run("cli", "scores", "import", "bad.csv").refused("--percent")
    assert not Path("scores/bad.csv").exists()
    scores_only.run("cli", "scores", "import", "bad.csv", "--percent").succeeded("1 score ")


def test_statistics_of_imported_scores_alone(scores_only):
    table = write("t.csv")
    scores_only.run("cli", "scores", "import", "t.csv").succeeded()
    for stage in ("neighbors", "knn", "linear", "fewshot", "transfer", "predictors"):
        scores_only.run(stage).succeeded("0 cached, 0 computed")
        folder = "data/neighbors" if stage == "neighbors" else f"results/{stage}"
        assert Path(folder).is_dir()  # DVC asks for it
    scores_only.run("collect").succeeded("36 scores, 0 cells missing")
    scores_only.run("correlate").succeeded("over 6 models")
    found = read_netcdf(Path("results/correlation.nc"))
    wide = table.pivot_table(index="model", columns=["protocol", "dataset"], values="value")
    for first in wide.columns:
        for second in wide.columns:
            at = {
                axis: f"{protocol}/imported@{dataset}"
                for axis, (protocol, dataset) in (("predictor", first), ("target", second))
            }
            expected = stats.spearmanr(wide[first], wide[second]).statistic
            value = found["value"].sel(coefficient="spearman", **at)
            np.testing.assert_allclose(value, expected, atol=1e-12)
    assert np.isfinite(found["low"].sel(coefficient="spearman")).any()  # six families
    plots = {p.stem: json.loads(p.read_text()) for p in Path("results/plots").glob("*.json")}
    assert {len(plots[name]) for name in ("scores", "domains")} == {12}
    first = next(r for r in plots["scores"] if (r["model"], r["protocol"]) == ("m0", "linear"))
    mean = table.query("model == 'm0' and protocol == 'linear'")["value"].mean()
    assert first["score"] == pytest.approx(mean, abs=1e-6)


def test_the_report_of_imported_scores_alone(scores_only):
    write("t.csv")
    scores_only.run("cli", "scores", "import", "t.csv").succeeded()
    for stage in ("collect", "correlate", "report"):
        scores_only.run(stage).succeeded()
    assert "m5" in Path("report/index.html").read_text()
    summary = Path("report/summary.md").read_text()
    assert "6 models, 3 data sets, 36 scores" in summary
    assert "| linear probe on `d` | " in summary
    scores_only.run("cli", "figures", "--format", "svg").succeeded("correlation.svg")


@pytest.mark.parametrize(
    ("lines", "models"),
    [
        (["m,d,linear,top1,0.5,f,in_domain", "m,e,linear,top1,0.6,f,out_of_domain"], 1),
        (["m,d,linear,top1,0.5,,", "n,d,linear,top1,0.6,,", "o,d,linear,top1,0.6,,"], 3),
        ([f"m{i},{d},linear,top1,0.5,f{i},{r}" for i in range(6)
          for d, r in (("d", "in_domain"), ("e", "out_of_domain"))], 6),
        ([f"m{i},{d},{p},top1,{v},f{i},{r}" for i in range(6) for p in ("knn", "linear")
          for d, r, v in (("d", "in_domain", i / 7), ("e", "out_of_domain", ""))], 6),
        ([f"<b>=m{i}</b>,=1+1,a<b>,top1,{i / 7},@f{i}," for i in range(6)], 6),
    ],
    ids=["one model", "three models", "constant", "nothing out of domain", "hostile names"],
)  # fmt: skip
def test_scores_that_say_little_are_collected_and_correlated(scores_only, lines, models):
    Path("t.csv").write_text("\n".join([HEADER, *lines, ""]))
    scores_only.run("cli", "scores", "import", "t.csv").succeeded()
    scores_only.run("collect").succeeded()
    scores_only.run("correlate").succeeded(f"over {models} models")
    for path in [Path("results/scores.csv"), *Path("results/statistics").glob("*.csv")]:
        text = path.read_text()
        assert not [line for line in text.splitlines() if line.startswith(("=", "@"))], path
        assert ",=" not in text, path
        assert ",@" not in text, path
    for path in Path("results/plots").glob("*.json"):
        assert "<" not in path.read_text()
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_fifteen_hundred_models(scores_only):
    table = write("t.csv", models=1500, datasets=tuple("abcdefgh"))
    assert len(table) == 24_000
    scores_only.run("cli", "scores", "import", "t.csv").succeeded("24,000 scores of 1,500 models")
    scores_only.run("collect").succeeded("24,000 scores")
    cube = read_netcdf(Path("results/scores.nc"))
    assert cube["value"].shape == (1500, 8, 2, 1)
    assert int(np.isfinite(cube["value"]).sum()) == 24_000
