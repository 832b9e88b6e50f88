"""The studies of published tables: each is a study, and its tables go through to a report.

The tables are cut, so that this is quick; benchmarks/published_tables.py runs them whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from projects import REPOSITORY

from pipeline.results.profiles import PROFILES
from pipeline.study.params import parse_study
from stages.import_options import PROFILES as NAMES

STUDIES = ("timm", "imagenet_testbed", "clip_benchmark", "torchgeo_bench", "biobench")

SHIFTS = ["imagenet-a", "imagenet-r", "imagenet-sketch", "objectnet-1.0-beta", "val",
          "val-on-imagenet-a-classes", "val-on-imagenet-r-classes"]  # fmt: skip


def test_every_profile_can_be_asked_for():
    assert tuple(PROFILES) == NAMES


@pytest.mark.parametrize("name", STUDIES)
def test_it_is_a_study_and_says_which_profile_to_take(name):
    text = (REPOSITORY / "studies" / f"{name}.yaml").read_text()
    assert parse_study(text).correlation.metric == "top1"
    assert f"--profile {name}" in text
    assert f"probeline use studies/{name}.yaml" in text
    assert "hat to expect" in text


@pytest.fixture
def published(project):
    """A project with a published study."""

    def enter(name):
        shutil.copy(REPOSITORY / "studies" / f"{name}.yaml", "params.yaml")
        shutil.rmtree("images", ignore_errors=True)
        return project

    return enter


def all_stages(project):
    for stage in ("collect", "correlate", "report"):
        project.run(stage).succeeded()
    return Path("report/index.html").read_text()


@pytest.mark.slow
def test_the_testbed_to_its_report(shared_data, published):
    project, tables = published("imagenet_testbed"), shared_data / "tables"
    names = (tables / "imagenet_testbed_baseline.txt").read_text().split()[:12]
    table = pd.read_csv(tables / "imagenet_testbed.csv")
    names[-1] = "resnet50"  # the pivot of ImageNet-A
    kept = table["model"].isin([*names, "resnet50_clip_zeroshot"])
    table[kept][["model", *SHIFTS]].to_csv("cut.csv", index=False)
    Path("names.txt").write_text("\n".join(names))
    project.run(
        "cli", "scores", "import", "cut.csv", "--profile", "imagenet_testbed",
        "--baseline", "names.txt",
    ).succeeded("13 models on 7 data sets")  # fmt: skip
    page = all_stages(project)
    found = pd.read_csv("results/statistics/effective_robustness.csv")
    clip = found[(found["model"] == "resnet50_clip_zeroshot") & (found["dataset"] == "imagenet-a")]
    # From all of ImageNet, and from the same classes; for two lines these models are too few.
    clip = clip[clip["expected"].notna()]
    assert len(clip) == 2
    assert (clip["outside"] == 1).all()
    assert (clip["expected"] < 0.05).all()
    for heading in ("To settle it", "Three ways of averaging", "conservative"):
        assert heading in page
    Path("names.txt").write_text("efficientnet_b7\n")
    project.run(
        "cli", "scores", "import", "cut.csv", "--profile", "imagenet_testbed",
        "--baseline", "names.txt",
    ).refused("1 of 1 baseline models", "nearest")  # fmt: skip


@pytest.mark.slow
def test_torchgeo_to_its_report_and_out_again(shared_data, published):
    project = published("torchgeo_bench")
    table = str(shared_data / "tables" / "torchgeo_bench.csv")
    project.run("cli", "scores", "import", table, "--profile", "torchgeo_bench").succeeded()
    project.run("cli", "power").succeeded("To settle it", "power with so many")
    project.run("cli", "scores", "export", "out.csv").succeeded("726 scores of 41 models")
    first = pd.read_csv("scores/torchgeo_bench.csv")
    project.run("cli", "scores", "remove", "torchgeo_bench").succeeded()
    project.run("cli", "scores", "import", "out.csv").succeeded("726 scores of 41 models")
    again = pd.read_csv("scores/out.csv")
    pd.testing.assert_frame_equal(again[first.columns], first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "pattern", "words"),
    [
        ("clip_benchmark", "clip_benchmark_zeroshot.csv", ("34 models on 38", "voc2007")),
        ("clip_benchmark_probes", "clip_benchmark_probes.csv", ("12 models on 21", "too high")),
        ("biobench", "biobench.csv", ("85 models on 13",)),
    ],
)
def test_the_others_come_in_by_one_command(shared_data, published, profile, pattern, words):
    project = published("clip_benchmark")
    path = str(shared_data / "tables" / pattern)
    project.run("cli", "scores", "import", path, "--profile", profile).succeeded(*words)
