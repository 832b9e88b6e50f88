"""The linear protocol on small projects: variants, poisoned val splits, views, backends."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from projects import fill_folder

from pipeline.datasets.index import read_index
from pipeline.embeddings.cells import open_cells
from pipeline.heads.heads import fit_heads
from pipeline.heads.inner_splits import held_out_parts
from pipeline.probes.linear import run_linear
from pipeline.probes.task import Task
from pipeline.study.params import load_study

HEADS = {
    "heads": ["ridge", "logistic"],
    "normalization": ["l2", "none"],
    "c": [0.1, 1.0, 10.0],
}


@pytest.fixture
def task_of(project):
    """A study, and its only task, from sections of params.yaml."""

    def build(linear: dict, extraction: dict | None = None):
        project.params["linear"] = linear
        project.params["extraction"] = extraction or {}
        project.prepare()
        study = load_study()
        index = read_index("pets")
        return study, Task("pets", "tiny", *open_cells(study, index, "tiny"), index.classes)

    return build


def variants(scored) -> list[str]:
    return list(dict.fromkeys(row["variant"] for row in scored.rows))


def test_the_first_head_and_normalization_come_first(task_of):
    study, task = task_of(HEADS)
    scored = run_linear(study, task)
    assert variants(scored) == ["ridge_l2", "ridge_none", "logistic_l2", "logistic_none"]
    rows = {(row["variant"], row["metric"]): row for row in scored.rows}
    assert ("ridge_l2", "nll") not in rows  # scores, not probabilities
    row = rows["logistic_none", "nll"]
    assert {row["backend"], row["n_test"]} == {"numpy", task.val.manifest.rows}
    predicted = scored.outcomes.to_pandas().query("variant == 'logistic_none'")["predicted"]
    assert rows["logistic_none", "top1"]["value"] == np.mean(predicted == task.val.labels())


class Poisoned:
    """A val cell with other features and labels."""

    def __init__(self, cell) -> None:
        self._cell = cell
        self.manifest, self.address = cell.manifest, cell.address

    def read(self) -> np.ndarray:
        values = self._cell.read()
        return np.random.default_rng(0).normal(0, 50, values.shape).astype(np.float32)

    def labels(self) -> np.ndarray:
        return self._cell.labels()[::-1].copy()


@pytest.mark.parametrize("head", ["logistic", "ridge", "sgd"])
def test_no_val_image_reaches_a_choice(task_of, head):
    study, task = task_of({**HEADS, "heads": [head], "sgd": {"epochs": 6}})
    honest = run_linear(study, task)
    poisoned = run_linear(study, Task("pets", "tiny", task.train, Poisoned(task.val), task.classes))
    chosen = [{r["variant"]: r["details"] for r in s.rows} for s in (honest, poisoned)]
    assert chosen[0] == chosen[1]
    assert honest.outcomes != poisoned.outcomes


def test_groups_of_train_are_held_out_as_a_whole(project, task_of):
    shutil.rmtree(project.folder / "images")
    fill_folder(project.folder / "images", {"cat": 12, "dog": 12})
    study, task = task_of({**HEADS, "heads": ["logistic", "sgd"], "sgd": {"epochs": 6}})
    rows = task.train.manifest.rows
    groups = np.array([f"patient {i // 2}" for i in range(rows)])
    held, seen = [], []
    with pytest.MonkeyPatch.context() as patch:
        for place in ("pipeline.heads.selection", "pipeline.probes.sgd"):
            patch.setattr(
                f"{place}.held_out_parts",
                lambda *a: held.append(held_out_parts(*a)) or held[-1],
            )
        patch.setattr(
            "pipeline.probes.sgd.fit_heads",
            lambda *a, **k: seen.append(k.get("rows")) or fit_heads(*a, **k),
        )
        scored = run_linear(study, replace(task, train_groups=groups))
    assert len(held) == 2 + 1  # two normalisations, and the SGD heads
    for each in held:
        assert each.by_group
        for mask in each.masks:
            assert not set(groups[mask]) & set(groups[~mask])
    assert not set(groups[seen[0]]) & set(groups[np.setdiff1d(np.arange(rows), seen[0])])
    details = {row["variant"]: row["details"] for row in scored.rows}
    assert details["logistic_none"]["C_by_group"]


def test_gradient_heads_on_the_centre_crop_and_on_views(task_of):
    sgd = {"epochs": 6, "learning_rates": [0.1, 1.0], "batch_norm": [True]}
    study, task = task_of({"heads": ["sgd", "mlp"], "sgd": sgd}, {"views": 2})
    scored = run_linear(study, task)
    names = [
        f"{kind}_bn{end}" for kind in ("sgd_cached", "sgd_views_2", "mlp") for end in ("", "_tuned")
    ]
    assert variants(scored) == names
    details = {row["variant"]: row["details"] for row in scored.rows}
    assert details["sgd_views_2_bn"]["learning_rate"] == 0.1
    assert details["mlp_bn"]["hidden"] == 1000
    losses = [details[f"{kind}_bn"]["train_loss"] for kind in ("sgd_cached", "sgd_views_2")]
    assert losses[0] != losses[1]  # other crops
    assert {row["backend"] for row in scored.rows} == {"torch"}
    json.dumps(scored.rows, allow_nan=False)


def test_the_backend_is_the_environments_and_is_recorded(project, monkeypatch):
    project.params["linear"] = {"heads": ["logistic", "ridge"], "c": [1.0]}
    project.prepare()
    monkeypatch.setenv("PROBELINE_BACKEND", "sklearn")
    project.run("linear").succeeded("0 cached, 1 computed")
    metadata = pq.read_metadata(project.folder / "results/linear/pets/tiny.parquet").metadata
    assert any(b'"backend":"sklearn"' in v.replace(b" ", b"") for v in metadata.values())
    project.run("linear").succeeded("1 cached, 0 computed")  # the machine is in no key
    monkeypatch.setenv("PROBELINE_BACKEND", "cuml")
    project.run("linear").refused("PROBELINE_BACKEND", "cuML is not installed")
