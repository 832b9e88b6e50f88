"""Stage finetune: what is trained and what is not, what is kept, and where its scores arrive."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import made_finetuned
import numpy as np
import pandas as pd
import pytest
from made_finetuned import CALLS, PAUSE, calls, train_nothing
from projects import REPOSITORY, RESNET, VIT

from cache.errors import ProbelineError
from cache.records import read_record
from pipeline.finetuning.cells import _card
from pipeline.machine.netcdf import read_netcdf, read_netcdf_groups
from pipeline.models.card import Card
from pipeline.project.paths import FINETUNE_PLOT, record_path
from pipeline.results.gathering import gather
from pipeline.study.params import load_study
from pipeline.study.records import protocols_of

RUN = {"recipe": "modern", "epochs": 4, "warmup_epochs": 1}


@pytest.fixture
def tuned(project, monkeypatch):
    """Two models on two data sets, one run, a training that takes no time, and no embeddings."""

    def card(study, dataset, model):
        return Card(study.models[model].weights, {}, 0, 0)

    monkeypatch.setattr("pipeline.finetuning.cells._card", card)
    monkeypatch.setattr("pipeline.finetuning.storing.finetune_cell", train_nothing)
    shutil.copytree(project.folder / "images", project.folder / "others")
    project.params["datasets"]["others"] = {
        "source": "folder", "path": "others", "role": "out_of_domain"
    }  # fmt: skip
    project.params["models"] = {"tiny": {**VIT}, "net": {**RESNET}}
    project.params["finetune"] = {"enabled": True, "runs": {"full": {**RUN}}}
    project.write()
    for dataset in ("pets", "others"):
        project.run("index", dataset).succeeded()
    return project


@pytest.fixture
def extracted(tuned, monkeypatch):
    """The same with embeddings, whose extraction says which weights the models have."""
    monkeypatch.setattr("pipeline.finetuning.cells._card", _card)
    for dataset in ("pets", "others"):
        tuned.run("extract", dataset).succeeded()
    return tuned


def rewritten(project, **changes):
    project.params["finetune"] |= changes
    project.write()
    CALLS.unlink(missing_ok=True)
    return project.run("finetune")


def rows_of(dataset: str, model: str) -> pd.DataFrame:
    record = read_record(record_path("finetune", dataset, model))
    assert record is not None
    return pd.DataFrame(record.scores)


def test_off_it_is_a_no_op_without_torch(project):
    project.params["finetune"] = {"runs": {"full": {**RUN}}}
    project.write()
    code = (
        "import sys, stages.protocol as s; s.main(['finetune'], standalone_mode=False); "
        "print(sorted({'torch', 'timm', 'sklearn', 'scipy', 'pandas', 'zarr'} & set(sys.modules)))"
    )
    said = project.shell("-c", code).succeeded("finetune: 0 cached, 0 computed", "[]")
    assert "not run: all cells (`finetune.enabled` is false)" in said
    kept = (project.folder / "results" / "finetune").iterdir()
    assert [path.name for path in kept] == [".folder"]
    assert json.loads(FINETUNE_PLOT.read_text()) == [
        {"epoch": None, "train_loss": None, "holdout_top1": None, "run": None}
    ]


def test_all_cells_once_then_none_and_nothing_heavy(extracted):
    extracted.run("finetune").succeeded("0 cached, 4 computed")
    assert len(calls()) == 4
    before = extracted.files("results/finetune")
    extracted.run("finetune").succeeded("4 cached, 0 computed")
    assert len(calls()) == 4
    assert extracted.files("results/finetune") == before
    assert extracted.left_overs() == []
    code = (
        "import sys, stages.protocol as s; s.main(['finetune'], standalone_mode=False); "
        "print(sorted({'torch', 'timm', 'sklearn'} & set(sys.modules)))"
    )
    extracted.shell("-c", code).succeeded("4 cached, 0 computed", "[]")


def test_only_what_is_named_runs(tuned):
    said = rewritten(tuned, models=["net"], datasets=["others"]).succeeded("0 cached, 1 computed")
    assert calls() == ["others net full"]
    assert "tiny on all data sets (not named in `finetune.models`)" in said
    assert "all models on pets (not named in `finetune.datasets`)" in said
    rewritten(tuned, models=[]).succeeded("1 cached, 1 computed")
    assert calls() == ["others tiny full"]


def test_one_more_run_trains_itself_alone_and_stands_in_its_place(tuned):
    tuned.run("finetune").succeeded()
    few = {**RUN, "shots": 2}
    rewritten(tuned, runs={"few": few, "full": {**RUN}}).succeeded("4 cached, 4 computed")
    assert {c.split()[-1] for c in calls()} == {"few"}
    assert list(dict.fromkeys(rows_of("pets", "net")["variant"])) == ["few", "full"]
    # Renamed, in another order, taken out and put back: nothing is trained again.
    rewritten(tuned, runs={"whole": {**RUN}, "few": few}).succeeded("8 cached, 0 computed")
    assert list(dict.fromkeys(rows_of("pets", "net")["variant"])) == ["whole", "few"]
    record = read_record(record_path("finetune", "pets", "net"))
    assert set(record.outcomes()["variant"].to_pylist()) == {"whole", "few"}
    rewritten(tuned, runs={"whole": {**RUN}}).succeeded("4 cached, 0 computed")
    rewritten(tuned, runs={"full": {**RUN}, "few": few}).succeeded("8 cached, 0 computed")
    assert not CALLS.exists()


CHANGES = {
    "a value of the recipe": {"runs": {"full": {**RUN, "epochs": 5}}},
    "what is trained": {"runs": {"full": {**RUN, "train": "head"}}},
    "the seed": {"seed": 1},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_numbers_trains_again(tuned, what):
    tuned.run("finetune").succeeded("4 computed")
    rewritten(tuned, **CHANGES[what]).succeeded("0 cached, 4 computed")


def test_what_changes_no_number_does_not(tuned):
    tuned.run("finetune").succeeded("4 computed")
    tuned.params["fewshot"] = {"shots": [1], "seed": 9}  # the run has all of train, and no draws
    tuned.params["models"]["net"]["family"] = "another word"
    tuned.params["extraction"]["storage"] = "float32"
    rewritten(tuned).succeeded("4 cached, 0 computed")
    few = {"few": {**RUN, "shots": 1}}
    rewritten(tuned, runs=few).succeeded("0 cached, 4 computed")
    tuned.params["fewshot"]["seed"] = 10
    rewritten(tuned).succeeded("0 cached, 4 computed")


def test_imported_models_are_left_out_and_named(tuned):
    tuned.params["models"]["mine"] = {"architecture": "theirs", "weights": "imported"}
    said = rewritten(tuned, models=["mine", "net"]).succeeded("2 computed")
    assert "mine on all data sets (of imported embeddings there is no network to train)" in said
    assert {c.split()[1] for c in calls()} == {"net"}
    tuned.params["models"] = {"mine": tuned.params["models"]["mine"]}
    rewritten(tuned, models=["mine"]).succeeded("there is no network", "0 cached, 0 computed")
    assert "finetune" not in protocols_of(load_study())


REFUSED = {
    "a model": ({"models": ["tiny", "nett"]}, ("finetune.models", "did you mean net?")),
    "a data set": ({"datasets": ["pet"]}, ("finetune.datasets", "did you mean pets?")),
    "no run": ({"runs": {}}, ("finetune.runs", "at least one run")),
    "a word": ({"runs": {"full": {**RUN, "epoch": 3}}}, ("finetune.runs.full", "`epochs`")),
    "a recipe": ({"runs": {"full": {"recipe": "studi"}}}, ("finetune.runs.full.recipe", "paper")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_sections_that_can_not_be(project, what):
    change, words = REFUSED[what]
    project.params["models"] = {"tiny": {**VIT}, "net": {**RESNET}}
    project.params["finetune"] = {"enabled": True, "runs": {"full": {**RUN}}}
    rewritten(project, **change).refused(*words)


def test_one_that_fails_leaves_the_others(tuned, monkeypatch):
    def fails(study, dataset, model, run, **how):
        if model == "tiny":
            raise ProbelineError(f"{run} of {model}", "the loss is not a finite number")
        return train_nothing(study, dataset, model, run, **how)

    monkeypatch.setattr("pipeline.finetuning.storing.finetune_cell", fails)
    tuned.run("finetune").refused("2 of 4 runs failed", "full of tiny", "not a finite number")
    assert len(rows_of("pets", "net"))
    monkeypatch.setattr("pipeline.finetuning.storing.finetune_cell", train_nothing)
    rewritten(tuned).succeeded("2 cached, 2 computed")
    assert {c.split()[1] for c in calls()} == {"tiny"}


def test_a_damaged_run_is_trained_again(tuned):
    tuned.run("finetune").succeeded()
    (kept,) = (tuned.folder / "results/finetune/pets/net").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    rewritten(tuned).succeeded("3 cached, 1 computed")
    whole = tuned.folder / "results/finetune/pets/tiny.parquet"
    good = whole.read_bytes()
    whole.write_bytes(b"nothing")
    rewritten(tuned).succeeded("4 cached, 0 computed")
    assert whole.read_bytes() == good


def test_scores_reach_the_table_the_cube_and_the_statistics(extracted):
    rewritten(extracted, datasets=["others"]).succeeded("2 computed")
    extracted.knn().succeeded()
    extracted.run("linear").succeeded()
    said = extracted.run("collect").succeeded("0 cells missing")
    assert "not scored" not in said
    table = pd.read_csv("results/scores.csv")
    mine = table[table["protocol"] == "finetune"]
    assert set(mine["dataset"]) == {"others"}
    assert "history" not in "".join(mine["details"])
    cube = read_netcdf(extracted.folder / "results/scores.nc")
    asked = cube["asked"].sel(variant="finetune/full")
    assert asked.sel(dataset="others").values.tolist() == [1, 1]
    assert asked.sel(dataset="pets").values.tolist() == [0, 0]
    assert (cube["asked"].sel(variant=cube["protocol"] != "finetune") == 1).all()
    extracted.run("correlate").succeeded()
    metrics = json.loads((extracted.folder / "results" / "metrics.json").read_text())
    assert metrics["missing_cells"] == 0
    # The linear probe decides; fine-tuning is ranked beside it.
    assert metrics["target"] == "others"
    here = table.query("protocol == 'linear' and dataset == 'others' and metric == 'top1'")
    assert (
        metrics["accuracy"] in here.loc[here["model"] == metrics["model"], "value"].round(6).values
    )
    means = read_netcdf_groups(extracted.folder / "results/correlation.nc")["mean_scores"]
    tuned = means["mean"].sel(protocol="finetune", scope="target").to_series()
    top1 = mine[mine["metric"] == "top1"].set_index("model")["value"]
    pd.testing.assert_series_equal(tuned, top1, check_names=False, check_like=True)


def test_a_record_of_a_cell_that_is_no_longer_asked_for_counts_no_more(tuned):
    tuned.run("finetune").succeeded("4 computed")
    rewritten(tuned, datasets=["pets"]).succeeded()
    scores, missing = gather(load_study())
    assert set(scores.loc[scores["protocol"] == "finetune", "dataset"]) == {"pets"}
    assert not [m for m in missing if m.protocol == "finetune"]
    rewritten(tuned, enabled=False).succeeded("0 cached, 0 computed")
    scores, missing = gather(load_study())
    assert "finetune" not in {*scores["protocol"], *(m.protocol for m in missing)}


def test_status_and_plan_count_it(extracted):
    rewritten(extracted, datasets=["pets"], runs={"full": {**RUN}, "few": {**RUN, "shots": 2}})
    rewritten(extracted, seed=3, models=["net"]).succeeded("0 cached, 2 computed")
    said = rewritten(extracted, models=[]).succeeded("2 cached, 2 computed")
    said = extracted.run("cli", "status").succeeded("2/2", "not run", "all models on others")
    assert "finetune not scored" not in said
    rewritten(extracted, runs={"full": {**RUN}, "few": {**RUN, "shots": 1}, "half": {**RUN,
              "fraction": 0.5}}, models=["net"])  # fmt: skip
    extracted.params["finetune"] |= {"models": []}
    extracted.write()
    extracted.run("cli", "status").succeeded("1/2", "pets/tiny: finetune not scored")
    # Of two runs, 4 epochs each: 2 classes of 1 image, and half of 8 images.
    extracted.run("cli", "plan").succeeded("2 runs of fine-tuning, 8 epochs of 24 images in all")


def test_curves_are_means_over_models_for_dvc(tuned):
    tuned.run("finetune").succeeded()
    rows = pd.DataFrame(json.loads(FINETUNE_PLOT.read_text()))
    assert set(rows["run"]) == {"full on pets", "full on others"}
    pets = rows[rows["run"] == "full on pets"]
    assert pets["epoch"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(pets["holdout_top1"], 0.5 + np.arange(1, 5) / 100)


@pytest.mark.slow
def test_a_killed_stage_keeps_what_it_finished_and_goes_on_with_the_rest(extracted):
    """Kill -9 in the middle of the second run."""
    code = (
        f"import sys; sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / 'tests')!r}]\n"
        "import pipeline.finetuning.storing as storing, pipeline.machine.process_pool as pool\n"
        "import made_finetuned\n"
        "storing.finetune_cell = made_finetuned.train_nothing\n"
        "pool.cpu_count = lambda: 1\n"
        "import stages.protocol; stages.protocol.main(['finetune'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=extracted.folder, env={**os.environ, PAUSE: "0.3"}
    )
    deadline = time.monotonic() + 60
    while len(made_finetuned.calls()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first, second = calls()
    assert not (extracted.folder / "results/finetune/pets/tiny.parquet").exists()
    extracted.run("finetune").succeeded("1 cached, 3 computed")
    lines = CALLS.read_text().splitlines()
    assert [line for line in lines if line.startswith(first)] == [
        f"{first} {n}" for n in range(1, 5)
    ]
    again = [line for line in lines if line.startswith(second)]
    # At most the epoch that was cut off was done twice; those before it were not.
    assert 4 <= len(again) <= 5
    assert len(set(again)) == 4
    assert again[0] != again[-1]
    assert extracted.left_overs() == []
