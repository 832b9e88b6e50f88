"""A metric that somebody adds: one object in one place, and it is everywhere."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from known_columns import check_columns
from made_finetuned import calls, train_nothing
from metric_contract import MetricContract
from projects import RESNET, VIT, fill_folder

from cache.records import read_record
from pipeline.machine.netcdf import read_netcdf, read_netcdf_groups
from pipeline.project.paths import CORRELATION_NC, record_path
from pipeline.statistics.registry import STATISTICS
from pipeline.study import metrics
from pipeline.study.metric import Metric

TOY = Metric(
    "balanced_error",
    "balanced error",
    lambda p: 1 - metrics.metric_named("mean_per_class").value(p),
    higher_is_better=False,
    mean_of_hits="classes",
)
PROTOCOLS = ("knn", "linear", "fewshot", "transfer", "finetune")
MODELS = [f"m{n}" for n in range(5)]


class TestToy(MetricContract):
    @pytest.fixture
    def metric(self):
        return TOY


@pytest.fixture
def finished(project, monkeypatch):
    """Five models on two data sets, scored by every protocol; fine-tuning only counts."""
    monkeypatch.setattr("pipeline.finetuning.storing.finetune_cell", train_nothing)
    for folder, seed in (("images", 1), ("others", 2)):
        fill_folder(project.folder / folder, {"cat": 30, "dog": 24}, seed=seed)
    project.params |= {
        "models": {
            name: {
                **(VIT if n % 2 else RESNET),
                "weights": f"random({n})",
                "family": f"f{n}",
                "supervision": "supervised" if n < 3 else "self_supervised",
            }
            for n, name in enumerate(MODELS)
        },
        "fewshot": {"shots": [1, 2], "episodes": 3, "heads": ["prototypes"]},
        "transfer": {"sources": ["pets"]},
        "transferability": {"names": ["rankme"]},
        "finetune": {
            "enabled": True,
            "models": ["m0"],
            "runs": {"full": {"recipe": "modern", "epochs": 3, "warmup_epochs": 1}},
        },
    }
    project.prepare_others()
    for stage in (*PROTOCOLS, "predictors"):
        project.run(stage).succeeded("0 cached")
    return project


def correlated(project, metric: str) -> dict[str, pd.DataFrame]:
    """The statistics of a study that correlates a metric."""
    project.params["correlation"] = {"metric": metric}
    project.write()
    for stage in ("collect", "correlate"):
        project.run(stage).succeeded()
    groups = read_netcdf_groups(CORRELATION_NC)
    check_columns({name: table for name, table in groups.items() if name in STATISTICS})
    return {n: t.to_dataframe() for n, t in groups.items() if n in STATISTICS and t.data_vars}


def read_page(project) -> str:
    project.run("report").succeeded()
    return Path("report/index.html").read_text(encoding="utf-8")


def words_of(page: str) -> str:
    body = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    body = re.sub(r"</?code>", "", body)  # within a sentence
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.mark.slow
def test_it_reaches_every_record_table_statistic_and_the_page(finished, monkeypatch):
    project = finished
    for stage in (*PROTOCOLS, "predictors"):
        project.run(stage).succeeded("0 computed")
    trained = calls()

    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, TOY))
    said = project.run("cli", "status", "--all").succeeded()
    for protocol in PROTOCOLS:  # records without it are noticed
        assert f"others/m0: {protocol} not scored with these settings" in said
    for stage in ("knn", "linear", "fewshot"):
        project.run(stage).succeeded("0 cached, 10 computed")
    project.run("transfer").succeeded("0 cached")
    project.run("finetune").succeeded("2 cached, 0 computed")
    assert calls() == trained  # nobody trains again for a metric
    project.run("predictors").succeeded("0 computed")  # no image is predicted
    for protocol in PROTOCOLS:
        record = read_record(record_path(protocol, "others", "m0"))
        scores = pd.DataFrame(record.scores).pivot_table("value", "variant", "metric")
        np.testing.assert_allclose(
            scores["balanced_error"], 1 - scores["mean_per_class"], atol=1e-12
        )
        assert len(scores)

    accuracy = correlated(project, "mean_per_class")
    error = correlated(project, "balanced_error")
    table = pd.read_csv("results/scores.csv")
    assert set(table.loc[table["metric"] == TOY.name, "protocol"]) == set(PROTOCOLS)
    assert "balanced_error" in read_netcdf(Path("results/scores.nc"))["metric"].values
    cube = read_netcdf(Path("results/scores.nc"))
    assert cube["higher_is_better"].sel(metric=["balanced_error", "top1"]).values.tolist() == [0, 1]

    # Every statistic of the error says what it says of the accuracy: none takes the worst for best.
    assert {"trust", "choosing", "ranks", "mean_scores", "label_curves"} < set(accuracy)
    assert set(error) == set(accuracy)
    for name, expected in accuracy.items():
        pd.testing.assert_frame_equal(error[name], expected, check_exact=False, rtol=1e-4,
                                      atol=1e-4, obj=name)  # fmt: skip

    tracked = json.loads(Path("results/metrics.json").read_text())
    assert tracked["target"] == "others"
    decides = table.query(
        "metric == 'balanced_error' and dataset == 'others' and protocol == 'linear'"
    )
    errors = decides[decides["variant"] == decides["variant"].iloc[0]].set_index("model")["value"]
    assert tracked["accuracy"] == pytest.approx(1 - errors[tracked["model"]], abs=1e-6)
    assert errors[tracked["model"]] == errors.min() < errors.max()
    page = read_page(project)
    words = words_of(page)
    assert "This page speaks of 1 − balanced error unless" in words
    packed = re.search(r'id="data">(.*?)</script>', page)[1]
    data = json.loads(gzip.decompress(base64.b64decode(packed)))["table"]
    assert data["of_metrics"]["balanced_error"] == {
        "label": "balanced error", "lower": True, "percent": True, "digits": 1
    }  # fmt: skip
    shown = data["cells"][0][data["metrics"].index("balanced_error")][0][0][0]
    assert shown == pytest.approx(
        table.query("metric == 'balanced_error' and model == 'm0' and dataset == 'pets'")
        ["value"].iloc[0], abs=1e-5
    )  # fmt: skip

    # The page tells all that the statistics say of themselves.
    for name, group in read_netcdf_groups(CORRELATION_NC).items():
        if name and group.data_vars:
            for key in ("definition", "interval", "source", "corrected"):
                told = str(group.attrs.get(key, "")).replace("`", "")  # shown as code
                assert " ".join(told.split()) in words, (name, key)
    assert "it was not computed" not in words
    assert "Corrected for chance (accuracy - 1/classes) / (1 - 1/classes)" in words


def test_it_is_imported_only_where_it_is_known(project, monkeypatch):
    Path("t.csv").write_text(
        "model,dataset,protocol,metric,value\nm,d,knn,balanced_error,0.25\n", encoding="utf-8"
    )
    project.run("cli", "scores", "import", "t.csv").refused("unknown metric", "balanced_error")
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, TOY))
    project.run("cli", "scores", "import", "t.csv").succeeded("1 score ")
    Path("t.csv").write_text(
        "model,dataset,protocol,metric,value\nm,d,knn,balanced_error,25\n", encoding="utf-8"
    )
    project.run("cli", "scores", "import", "t.csv").refused("--percent")
