"""Tables that are kept are those that would be computed, and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made_cubes import make_cube
from made_evidence import all_statistics, make_evidence
from made_images import MadeImages

from pipeline.statistics import fidelity, kept, registry
from pipeline.statistics.image_draws import EXACT_UP_TO
from pipeline.statistics.kept import OF_HEADLINES, digest_of, headlines_alone, kept_statistics
from pipeline.statistics.registry import STATISTICS, tidy
from pipeline.study.seen import Seen

VARIANTS = ("knn/a", "linear/b", "predictors/rankme")


@pytest.fixture(scope="module")
def evidence():
    """Eight models, a data set at home and three elsewhere, with outcomes of single images."""
    rng = np.random.default_rng(0)
    skill = np.linspace(0.35, 0.85, 8)[:, np.newaxis]
    hits = {
        (variant, f"d{d}"): (rng.random((8, 40)) < skill).astype(np.float32)
        for variant in VARIANTS[:2]
        for d in range(4)
    }
    scores = {
        v: np.stack([hits[v, f"d{d}"].mean(axis=1) for d in range(4)], axis=1) for v in VARIANTS[:2]
    }
    scores["predictors/rankme"] = skill + rng.normal(0, 0.1, (8, 4))
    scores["fewshot/ridge_5_shots"] = scores["linear/b"] - rng.random((8, 4)) / 10
    scores["fewshot/ridge_1_shot"] = scores["linear/b"] - rng.random((8, 4)) / 5
    scores["knn/k7_cosine_uniform_none"] = scores["knn/a"] + 0.01
    cube = make_cube(scores, family=[f"f{n // 2}" for n in range(8)])
    made = make_evidence(cube, hits)
    return replace(
        made,
        outcomes=lambda variant, dataset: f"{variant} 1",
        images=images_of(made.tests["d1"].labels, hits["linear/b", "d1"]),
    )


def images_of(labels, hits):
    """Who is not right says the next class."""
    said = np.where(hits == 1, labels, (labels + 1) % 4)
    models = [f"m{n}" for n in range(len(hits))]
    return MadeImages(models, labels, said, train=(labels, {}), variant="linear/b")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def files():
    return sorted(kept._FOLDER.glob("*.nc"))


def test_they_are_the_same_computed_read_or_without_any_of_this(here, evidence, monkeypatch):
    monkeypatch.setattr(fidelity, "REPLICATES", 100)
    whole = all_statistics(evidence)
    first = kept_statistics(evidence)
    assert len(files()) == 1

    def never(_):
        raise AssertionError("it is kept")

    left = {name: f for name, f in STATISTICS.items() if name not in OF_HEADLINES}
    monkeypatch.setattr(registry, "STATISTICS", dict.fromkeys(STATISTICS, never) | left)
    again = kept_statistics(evidence)
    assert list(first) == list(again) == list(whole) == list(STATISTICS)
    told = 0
    for name, table in whole.items():
        xr.testing.assert_identical(again[name], first[name])
        xr.testing.assert_allclose(first[name], table)
        assert first[name].attrs.keys() == table.attrs.keys()
        assert tidy(again[name]) == tidy(first[name]) == tidy(table), name
        told += bool(table.data_vars) and name in OF_HEADLINES
    assert told > 12


def test_means_over_a_named_target_are_kept_as_they_are(here, evidence, monkeypatch):
    monkeypatch.setattr(registry, "STATISTICS", {"mean_scores": STATISTICS["mean_scores"]})
    named = replace(evidence, named_target=("d2",))
    found = kept_statistics(named)["mean_scores"].sel(scope="target", protocol="linear")
    expected = evidence.cube["value"].sel(
        variant="linear/b", dataset="d2", metric=evidence.settings.metric
    )
    np.testing.assert_allclose(found["mean"], expected)


def test_classes_are_shown_of_those_that_are_within_chance_by_the_means(here, monkeypatch):
    """Above some thousand images both are drawn, and other draws would say another thing."""
    names = ("mean_scores", "class_accuracy")
    monkeypatch.setattr(registry, "STATISTICS", {name: STATISTICS[name] for name in names})
    # With these, two models are within chance or not by which draws are taken.
    rng, images = np.random.default_rng(5), EXACT_UP_TO + 100
    skill = 0.8 - np.arange(60)[:, np.newaxis] / 1000
    hits = {
        (variant, f"d{d}"): (rng.random((60, images)) < skill).astype(np.float32)
        for variant in VARIANTS[:2]
        for d in range(2)
    }
    scores = {
        v: np.stack([hits[v, f"d{d}"].mean(axis=1) for d in range(2)], axis=1) for v in VARIANTS[:2]
    }
    made = make_evidence(make_cube(scores), hits)
    made = replace(made, images=images_of(made.tests["d1"].labels, hits["linear/b", "d1"]))
    for found in (kept_statistics(made), kept_statistics(made), all_statistics(made)):
        of = found["mean_scores"]["within_chance"].sel(protocol="linear", scope="target")
        near = {str(name) for name in of["model"].values[of.values == 1]}
        classes = found["class_accuracy"]
        shown = {str(m) for m, c in zip(classes["model"].values, classes["compared"].values,
                                        strict=True) if not c}  # fmt: skip
        assert 20 < len(near) < 60
        assert shown < near
        assert len(near - shown) <= 2


def test_what_looks_at_headlines_alone_is_asked_once(here, evidence, monkeypatch):
    """Statistics of all variants get what those of headlines have computed."""
    monkeypatch.setattr(registry, "STATISTICS", {
        name: STATISTICS[name] for name in ("mean_scores", "target_checks", "class_accuracy")
    })  # fmt: skip
    asked = []

    def read_hits(variant, dataset):
        asked.append((variant, dataset))
        return evidence.read_hits(variant, dataset)

    kept_statistics(replace(evidence, read_hits=read_hits))
    assert asked
    assert len(asked) == len(set(asked))


def test_a_variant_that_is_no_headline_changes_nothing_of_it(evidence):
    headlines = [*VARIANTS, "fewshot/ridge_5_shots", "fewshot/ridge_1_shot"]
    fewer = evidence.cube.sel(variant=headlines).assign_attrs(scores_csv_sha256="other")
    assert digest_of(headlines_alone(replace(evidence, cube=fewer))) == digest_of(
        headlines_alone(evidence)
    )


def changed(evidence, name, change):
    cube = evidence.cube.copy(deep=True)
    cube[name] = change(cube[name])
    return replace(evidence, cube=cube)


OTHERS = {
    "a score": lambda e: changed(e, "value", lambda v: v.where(v["variant"] != "knn/a", v + 1e-9)),
    "a cheap predictor": lambda e: changed(
        e, "value", lambda v: v.where(v["variant"] != "predictors/rankme", v * 1.001)
    ),
    "another number of labels": lambda e: changed(
        e, "value", lambda v: v.where(v["variant"] != "fewshot/ridge_1_shot", v * 0.999)
    ),
    "a family": lambda e: changed(e, "family", lambda f: f.str.replace("f0", "f1")),
    "a role": lambda e: changed(e, "role", lambda r: r.where(r["dataset"] != "d3", "in_domain")),
    "a model's name": lambda e: changed(e, "model", lambda m: m.str.replace("m0", "m9")),
    "the order of models": lambda e: replace(e, cube=e.cube.isel(model=slice(None, None, -1))),
    "the headline": lambda e: replace(e, cube=e.cube.isel(variant=slice(None, None, -1))),
    "outcomes": lambda e: replace(e, outcomes=lambda variant, dataset: f"{variant} 2"),
    "a label": lambda e: with_test(e, labels=e.tests["d0"].labels[::-1].copy()),
    "a path": lambda e: with_test(e, paths=(*e.tests["d0"].paths[:-1], "other")),
    "train images": lambda e: with_test(e, n_train=7),
    "confidence": lambda e: replace(
        e, settings=e.settings.model_copy(update={"confidence": 0.9})
    ),
    "the margin": lambda e: replace(e, margin=0.02),
    "an untrained model": lambda e: replace(e, untrained=frozenset({"m1"})),
    "what was seen": lambda e: replace(e, seen={("m1", "d1"): Seen.IMAGES}),
    "the baseline": lambda e: replace(e, baseline=("m1", "m2")),
    "the target": lambda e: replace(e, named_target=("d2",)),
}  # fmt: skip


def with_test(evidence, **changes):
    return replace(
        evidence, tests={**evidence.tests, "d0": replace(evidence.tests["d0"], **changes)}
    )


@pytest.mark.parametrize("change", OTHERS)
def test_all_that_a_statistic_is_told_is_in_the_digest(evidence, change):
    other = OTHERS[change](evidence)
    assert digest_of(headlines_alone(other)) != digest_of(headlines_alone(evidence))
    assert digest_of(headlines_alone(evidence)) == digest_of(headlines_alone(evidence))


def test_so_is_the_code(evidence, monkeypatch):
    before = digest_of(headlines_alone(evidence))
    monkeypatch.setattr(kept, "_code", lambda: iter([b"other"]))
    assert digest_of(headlines_alone(evidence)) != before


def test_a_damaged_file_is_made_again_and_few_are_kept(here, evidence, monkeypatch):
    tables = {name: xr.Dataset({"x": 1.0}) for name in STATISTICS}
    monkeypatch.setattr(registry, "STATISTICS", {n: lambda _, n=n: tables[n] for n in tables})
    kept_statistics(evidence)
    (file,) = files()
    whole = file.read_bytes()
    for data in (b"", whole[:-500], whole[:800] + bytes([whole[800] ^ 1]) + whole[801:]):
        file.write_bytes(data)
        found = kept_statistics(evidence)
        assert all(float(found[name]["x"]) == 1.0 for name in OF_HEADLINES)
        assert file.read_bytes() == whole
    for margin in (0.1, 0.2, 0.3, 0.4):
        kept_statistics(replace(evidence, margin=margin))
    assert len(files()) == kept.MOST


def test_a_field_that_is_new_in_the_evidence_is_thought_of():
    """Each is in the digest, or no statistic of these can see it."""
    from dataclasses import fields

    from pipeline.statistics.evidence import Evidence

    told = {"cube", "settings", "tests", "untrained", "margin", "seen", "baseline", "outcomes",
            "named_target"}  # fmt: skip
    by_outcomes = {"read_hits"}
    taken_away = {"read_draws", "everything", "images", "headlines", "tables"}
    assert {field.name for field in fields(Evidence)} == told | by_outcomes | taken_away
