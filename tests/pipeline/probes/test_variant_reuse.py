"""A variant is taken over only where computing it again gives the same numbers.

Each case changes one setting. Which variants that concerns is said by hand; what the rest scored
before must be what it scores now, and what is computed alone, what it is among all.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_cells import clouds, make_cell

from pipeline.neighbors.neighbors import neighbors_key, search_cell, spaces
from pipeline.probes import fewshot
from pipeline.probes.fewshot import run_fewshot
from pipeline.probes.knn import run_knn
from pipeline.probes.linear import run_linear
from pipeline.probes.predictors import run_predictors
from pipeline.probes.task import Source, Task
from pipeline.probes.transfer import Transfer
from pipeline.project.paths import neighbors_path
from pipeline.study.protocol_list import PROTOCOLS, protocol_named
from pipeline.study.records import record_key
from pipeline.study.schema import Study
from pipeline.study.variant_keys import VariantKeys

CLASSES = ("0", "1", "2", "3")
COARSE = {"clouds": {"a": ["0", "1"], "b": ["2", "3"]}}
BASE = {
    "datasets": {
        name: {"source": "folder", "path": "none", "role": "in_domain"}
        for name in ("clouds", "photos")
    },
    "models": {"made": {"architecture": "none", "weights": "random(0)"}},
    "extraction": {},
    "neighbors": {"n_neighbors": 20, "metric": ["euclidean", "cosine"], "normalization": ["none"]},
    "knn": {"k": [3], "weighting": ["distance"], "tuned": True},
    "linear": {"heads": ["ridge", "logistic"], "c": [0.1, 1.0], "normalization": ["none"],
               "sgd": {"epochs": 2, "learning_rates": [0.1, 1.0], "batch_norm": [False]}},
    "fewshot": {"shots": [1, 9], "fractions": [0.2], "heads": ["ridge", "prototypes"],
                "episodes": 2, "episodes_above_five": 2, "ways": [2], "coarse": COARSE},
    "transfer": {"sources": ["photos"]},
    "transferability": {"names": ["rankme", "uniformity"]},
    "correlation": {}, "report": {}, "pretrain": {}, "finetune": {},
}  # fmt: skip

ALL = "all of them"
GRADIENT = {"heads": ["ridge", "sgd"]}

CASES = [
    ("knn", {"knn": {"k": [3, 5]}}, {f"k5_{m}_distance_none" for m in ("euclidean", "cosine")}),
    ("knn", {"knn": {"weighting": ["uniform", "distance"]}},
     {f"k3_{m}_uniform_none" for m in ("euclidean", "cosine")}),
    ("knn", {"knn": {"weighting": ["distance", "softmax"]}}, {"k3_cosine_softmax0.07_none"}),
    ("knn", {"knn": {"temperature": [0.5], "tuned": False}}, set()),
    ("knn", {"neighbors": {"metric": ["cosine", "euclidean"]}}, {"tuned"}),
    ("knn", {"neighbors": {"normalization": ["none", "l2"]}},
     {"k3_euclidean_distance_l2", "k3_cosine_distance_l2", "tuned"}),
    ("knn", {"neighbors": {"n_neighbors": 25}}, ALL),
    ("linear", {"linear": {"heads": ["logistic", "ridge"]}}, set()),
    ("linear", {"linear": {"normalization": ["zscore", "none"]}},
     {"ridge_zscore", "logistic_zscore"}),
    ("linear", {"linear": {"c": [0.1]}}, {"logistic_none"}),
    ("linear", {"linear": {"seed": 3}}, {"logistic_none"}),
    ("linear", {"linear": {"max_iterations": 7}}, {"logistic_none"}),
    ("linear", {"linear": {"sgd": {"epochs": 3}}}, set()),
    ("linear", {"linear": GRADIENT}, {"sgd_cached", "sgd_cached_tuned"}),
    ("fewshot", {"fewshot": {"shots": [1, 9, 3]}}, {"ridge_3_shots", "prototypes_3_shots"}),
    ("fewshot", {"fewshot": {"shots": [9, 1]}},
     {f"{h}_9_shots_{t}" for h in ("ridge", "prototypes") for t in ("2_classes", "coarse")}),
    ("fewshot", {"fewshot": {"heads": ["prototypes"]}}, set()),
    ("fewshot", {"fewshot": {"ways": [2, 3]}},
     {f"{h}_1_shot_3_classes" for h in ("ridge", "prototypes")}),
    ("fewshot", {"fewshot": {"coarse": {"clouds": {"a": ["0", "2"], "b": ["1", "3"]}}}},
     {"ridge_1_shot_coarse", "prototypes_1_shot_coarse"}),
    ("fewshot", {"fewshot": {"episodes_above_five": 3}},
     {f"{h}_{b}" for h in ("ridge", "prototypes") for b in ("9_shots", "20_percent")}),
    ("fewshot", {"fewshot": {"fractions": [0.2000000001]}},  # the name has six digits
     {"ridge_20_percent", "prototypes_20_percent"}),
    ("fewshot", {"fewshot": {"episodes": 3}}, ALL),
    ("fewshot", {"fewshot": {"seed": 1}}, ALL),
    ("transfer", {"knn": {"k": [3, 5]}}, set()),
    ("transfer", {"knn": {"k": [5]}}, {"from_photos_knn_k5_euclidean_distance_none"}),
    ("transfer", {"neighbors": {"n_neighbors": 25}}, set()),
    ("transfer", {"linear": {"c": [0.1]}}, {"from_photos_logistic_none"}),
    ("transfer", {"linear": {"normalization": ["zscore", "none"]}},
     {f"from_photos_{h}_{n}" for h in ("ridge", "logistic") for n in ("zscore", "target_zscore")}),
    ("transfer", {"transfer": {"sources": ["photos", "clouds"]}},
     {"held_out_group_knn_k3_euclidean_distance_none", "held_out_group_ridge_none"}),
    ("predictors", {"transferability": {"names": ["nc1", "rankme"]}}, {"nc1"}),
    ("predictors", {"transferability": {"seed": 1}}, ALL),
]  # fmt: skip


def study_with(changes) -> Study:
    return Study.model_validate({n: {**s, **changes.get(n, {})} for n, s in BASE.items()})


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Clouds with groups, and photos of the same classes; the module's folder is entered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("clouds"))
        index = SimpleNamespace(draw_names=lambda split: None)
        patch.setattr(fewshot, "read_index", lambda name: index)
        groups = np.array([f"g{i % 3}" for i in range(70)])
        train, val = (make_cell(s, *clouds(n, n=70)) for n, s in enumerate(("train", "val")))
        photos = Source(make_cell("train", *clouds(5, n=64), model="photos"), CLASSES)
        yield Task("clouds", "made", train, val, CLASSES, None, groups, sources={"photos": photos})


def scored(protocol: str, study: Study, task: Task):
    """Scores and outcomes by variant, without what depends on the clock."""
    if protocol == "knn":
        for space in spaces(study.neighbors):
            key = neighbors_key(study.neighbors, space, task.train, task.val)
            path = neighbors_path(task.dataset, task.model, *space)
            search_cell("numpy", 1 << 30, key, path, task.train, task.val)
    probe = {
        "knn": lambda: run_knn(study, task),
        "linear": lambda: run_linear(study, task),
        "fewshot": lambda: run_fewshot(study, task),
        "transfer": lambda: Transfer(study)(task),
        "predictors": lambda: run_predictors(study, task),
    }[protocol]
    found = probe()
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in found.rows]
    outcomes = found.outcomes.to_pandas().astype({"variant": str})
    names = dict.fromkeys(row["variant"] for row in rows)
    return {
        name: (
            [row for row in rows if row["variant"] == name],
            outcomes[outcomes["variant"] == name].drop(columns="variant").to_dict("list"),
        )
        for name in names
    }


def keys_of(protocol: str, study: Study, task: Task) -> dict[str, tuple]:
    """A variant and its key, by name."""

    def of(dataset: str) -> dict[str, str]:
        cells = {"train": task.train, "val": task.val}
        if dataset != task.dataset:
            cells = {"train": task.sources[dataset].train}
        return {**{s: c.manifest.fingerprint for s, c in cells.items()}, "names": "abc"}

    keys = VariantKeys(record_key(study, protocol, task.dataset, of))
    found = {v.name: (v, keys.of(v)) for v in protocol_named(protocol).variants(study)}
    return {name: pair for name, pair in found.items() if pair[1] is not None}


@pytest.mark.parametrize(
    ("protocol", "changes", "concerned"), CASES, ids=[f"{p} {c}" for p, c, _ in CASES]
)
def test_what_a_setting_does_not_concern_is_the_same(task, protocol, changes, concerned):
    before, after = study_with({}), study_with(changes)
    former, now = keys_of(protocol, before, task), keys_of(protocol, after, task)
    new = {name for name, (_, key) in now.items() if name not in former or former[name][1] != key}
    assert new == (set(now) if concerned == ALL else concerned)

    was, found = scored(protocol, before, task), scored(protocol, after, task)
    assert set(found) == set(now)
    for name in set(now) - new:
        np.testing.assert_equal(found[name], was[name], err_msg=name)
    if concerned == ALL or not new:
        return
    alone = scored(
        protocol, after, replace(task, variants=tuple(now[n][0] for n in now if n in new))
    )
    assert set(alone) == new
    for name in new:
        np.testing.assert_equal(alone[name], found[name], err_msg=name)


def test_every_protocol_on_embeddings_has_its_cases():
    assert {protocol for protocol, *_ in CASES} == {p.name for p in PROTOCOLS if p.key is None}


@pytest.mark.parametrize("protocol", sorted({p for p, *_ in CASES}))
def test_embeddings_names_rules_and_metrics_are_in_every_variants_key(task, protocol, monkeypatch):
    study = study_with({"linear": GRADIENT})
    variants = protocol_named(protocol).variants(study)
    of = {"train": "a", "val": "b", "names": "c"}
    key = record_key(study, protocol, "clouds", lambda _: dict(of))

    def texts(of_key) -> list[str]:
        return [text for v in variants_of if (text := VariantKeys(of_key).of(v)) is not None]

    variants_of = list(variants)
    whole = texts(key)
    assert len(whole) == len(set(whole)) > 1
    for name in set(key) - {"settings", "sources", "views"}:
        other = {**key, name: "another"}
        if name != "protocol":
            assert not set(texts(other)) & set(whole), name
            assert not VariantKeys(other).shares(VariantKeys(key))
    more = {**key, "metrics": ["another"]}
    assert not set(texts(more)) & set(whole)
