"""The transfer stage from images to rows: what it says, computes, keeps and leaves alone."""

from __future__ import annotations

import pandas as pd
import pytest
from projects import draw, fill_folder

from cache.records import read_record
from pipeline.planning.overview import study_overview
from pipeline.project.paths import record_path
from pipeline.results.gathering import gather
from pipeline.study.params import load_study


@pytest.fixture
def three(project):
    """Pets, sketches of them with another class before, and birds; extracted."""
    fill_folder(project.folder / "sketches", {"axolotl": 5, "cat": 5, "dog": 5}, seed=7)
    fill_folder(project.folder / "birds", {"jay": 5, "owl": 5}, seed=70)
    project.params["datasets"] |= {
        name: {"source": "folder", "path": name, "role": "out_of_domain"}
        for name in ("sketches", "birds")
    }
    project.params["transfer"] = {"sources": ["pets"]}
    project.params["linear"] |= {"heads": ["logistic", "ridge"], "normalization": ["none"]}
    for name in project.params["datasets"]:
        project.prepare(name)
    return project


def variants(dataset):
    record = read_record(record_path("transfer", dataset, "tiny"))
    return {row["variant"] for row in record.scores}


def test_pairs_are_said_scored_kept_and_made_again_when_their_source_changes(three):
    done = three.run("transfer").succeeded(
        "pets -> sketches: 2 shared classes, 1 val images of other classes left out",
        "pets -> birds: not tested, 0 classes of the same name",
        "transfer: 0 cached, 3 computed",
    )
    assert "pets -> pets" not in done
    assert variants("pets") == variants("birds") == set()
    assert variants("sketches") == {
        "from_pets_knn_k3_euclidean_distance_none",
        "from_pets_logistic_none",
        "from_pets_ridge_none",
    }
    three.run("transfer").succeeded("3 cached, 0 computed")
    study = load_study()
    scores, missing = gather(study)
    assert not [m for m in missing if m.protocol == "transfer"]
    assert set(scores.loc[scores["protocol"] == "transfer", "dataset"]) == {"sketches"}
    assert [d.records["transfer"] for d in study_overview(study).datasets] == [1, 1, 1]

    first = three.files("results/transfer")
    draw(4242).save(three.folder / "images" / "cat" / "000.png")
    three.run("index", "pets").succeeded()
    three.run("extract", "pets").succeeded("1 computed")
    assert [d.records["transfer"] for d in study_overview(study).datasets] == [0, 0, 0]
    three.run("transfer").succeeded("0 cached, 3 computed")
    assert three.files("results/transfer") != first


def test_a_change_of_the_target_leaves_the_other_targets_alone(three):
    three.run("transfer").succeeded()
    draw(4242).save(three.folder / "birds" / "jay" / "000.png")
    three.run("index", "birds").succeeded()
    three.run("extract", "birds").succeeded("1 computed")
    three.run("transfer").succeeded("2 cached, 1 computed")


def test_without_sources_the_stage_only_leaves_its_folder(three):
    three.run("transfer").succeeded()
    kept = three.files("results/transfer")
    three.params["transfer"] = {}
    three.write()
    done = three.shell("-X", "importtime", "-m", "stages.protocol", "transfer")
    done.succeeded("transfer: 0 cached, 0 computed")
    loaded = {line.split("|")[-1].strip() for line in done.err.splitlines()}
    assert loaded.isdisjoint({"torch", "sklearn", "scipy", "pandas"})
    assert three.files("results/transfer") == kept


def test_a_fresh_project_without_sources_gets_the_folder(project):
    project.run("transfer").succeeded()
    assert (project.folder / "results" / "transfer").is_dir()


def test_an_unknown_source_is_refused(project):
    project.params["transfer"] = {"sources": ["petz"]}
    project.write()
    project.run("transfer").refused("transfer.sources", "pets")


def test_groups_from_the_manifest_to_the_scores(project):
    images = fill_folder(project.folder / "images", {"cat": 16, "dog": 16})
    table = pd.DataFrame(
        {
            "path": [p.relative_to(project.folder / "images").as_posix() for p in images],
            "label": [p.parent.name for p in images],
            "site": [f"s{n % 8}" for n in range(32)],
        }
    )
    table.to_csv(project.folder / "images" / "list.csv", index=False)
    project.params["datasets"]["pets"] |= {
        "source": "manifest",
        "manifest": "list.csv",
        "columns": {"group": "site"},
        "val_fraction": 0.25,
    }
    project.params["transfer"] = {"sources": ["pets"]}
    project.prepare()
    project.run("transfer").succeeded("pets, leaving out groups in turn: 6 groups")
    record = read_record(record_path("transfer", "pets", "tiny"))
    rows = {(row["variant"], row["metric"]): row for row in record.scores}
    outcomes = record.outcomes().to_pandas()
    train = pd.read_parquet("data/index/pets.parquet").query("split == 'train'")
    for variant in ("held_out_group_knn_k3_euclidean_distance_none", "held_out_group_ridge_none"):
        mine = outcomes[outcomes["variant"] == variant]
        hits = (mine["rank"] == 1).groupby(train["group"].to_numpy()[mine["sample"]]).mean()
        assert len(hits) == 6
        assert rows[variant, "worst_group"]["value"] == pytest.approx(hits.min())
        assert rows[variant, "mean_group"]["value"] == pytest.approx(hits.mean())
        assert rows[variant, "top1"]["n_test"] == 24
        assert rows[variant, "top1"]["n_train"] == 20
