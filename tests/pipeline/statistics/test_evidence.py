"""Outcomes and draws as statistics read them: recomputed from the records by other means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from projects import RESNET, VIT

from pipeline.project.paths import record_path
from pipeline.results.cube import to_cube
from pipeline.results.foreign_scores import import_scores
from pipeline.results.gathering import gather
from pipeline.statistics.evidence import gather_evidence
from pipeline.study.params import load_study

VARIANT = "prototypes_1_shot"


@pytest.fixture
def evidence(project):
    """Two models on a data set of images, and one more data set of which scores are imported."""
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.params["fewshot"] = {
        "shots": [1],
        "fractions": [],
        "heads": ["prototypes"],
        "episodes": 3,
    }
    project.prepare()
    project.knn().succeeded("2 computed")
    project.run("fewshot").succeeded("2 computed")
    path = project.folder / "more.csv"
    path.write_text("model,dataset,protocol,metric,value\ntiny,birds,fewshot,top1,0.5\n")
    study = load_study()
    import_scores(path, "more", study)
    return gather_evidence(study, to_cube(study, gather(study)[0]))


def outcomes(model: str, protocol: str) -> pd.DataFrame:
    return pd.read_parquet(record_path(protocol, "pets", model))


def test_hits_and_draws_are_those_of_the_records(evidence):
    assert set(evidence.tests) == {"pets"}
    assert evidence.datasets() == ["pets", "birds"]
    hits = evidence.read_hits("knn/k3_euclidean_distance_none", "pets")
    assert hits.models == ("tiny", "net")
    for model, row in zip(hits.models, hits.hits, strict=True):
        np.testing.assert_array_equal(
            row, outcomes(model, "knn").sort_values("sample")["rank"] == 1
        )
    shares = evidence.read_hits(f"fewshot/{VARIANT}", "pets")
    draws = evidence.read_draws(f"fewshot/{VARIANT}", "pets")
    assert draws.models == ("tiny", "net")
    assert draws.scores.shape == (2, 3)
    for model, share, scores in zip(draws.models, shares.hits, draws.scores, strict=True):
        table = outcomes(model, "fewshot").assign(hit=lambda t: t["rank"] == 1)
        np.testing.assert_allclose(share, table.groupby("sample")["hit"].mean(), rtol=1e-6)
        np.testing.assert_allclose(scores, table.groupby("draw")["hit"].mean())


def test_imported_scores_and_unknown_variants_have_no_outcomes(evidence):
    for variant, dataset in (("fewshot/imported", "birds"), ("fewshot/imported", "pets")):
        assert evidence.read_hits(variant, dataset).models == ()
        assert evidence.read_draws(variant, dataset).models == ()
    assert evidence.read_hits("fewshot/imported", "birds").hits.shape == (0, 0)
