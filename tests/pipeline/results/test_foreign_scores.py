"""Imported scores beside computed ones: one cube, and sources that agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from projects import RESNET, VIT

from cache.errors import ProbelineError
from cache.files import sha256_file
from pipeline.machine.netcdf import read_netcdf
from pipeline.results.cube import RECORDS_DIGEST, TABLE_DIGEST, headline_variants, to_cube
from pipeline.results.foreign_scores import (
    import_scores,
    load_foreign,
    remove_scores,
    stored_files,
    stored_path,
)
from pipeline.results.gathering import gather
from pipeline.results.layout import Layout
from pipeline.results.score_table import DATASET_WORDS, MODEL_WORDS, read_scores
from pipeline.results.variant_table import FIELDS
from pipeline.statistics.foreign_remarks import remarks
from pipeline.study.params import load_study
from pipeline.study.schema import Study

HEADER = "model,dataset,protocol,metric,value"


def empty_study() -> Study:
    """One that names nothing, for scores alone."""
    names = ["extraction", "neighbors", "linear", "fewshot", "transfer", "transferability"]
    sections = {name: {} for name in (*names, "correlation", "report", "pretrain", "finetune")}
    return Study.model_validate({"datasets": {}, "models": {}, "knn": {"k": [1]}, **sections})


@pytest.fixture
def keep(tmp_path, monkeypatch):
    """Import lines as a file of some name, into an empty project."""
    monkeypatch.chdir(tmp_path)

    def keep(name, *lines, header=HEADER, study=None, **more):
        path = tmp_path / f"{name}_given.csv"
        path.write_text("\n".join([header, *lines, ""]))
        return import_scores(path, name, study or empty_study(), Layout(**more))

    return keep


def test_what_is_imported_is_what_is_loaded(keep):
    keep(
        "b", "=m,d,finetune,top1,0.30000000000000004,vit", "n,d,finetune,top1,,",
        header=HEADER + ",family",
    )  # fmt: skip
    keep("a", "m,<d>,linear,top1,85.3", percent=True)
    assert Path("scores/b.csv").read_text() == (
        "model,dataset,protocol,variant,metric,value,family\n"
        "'=m,d,finetune,imported,top1,0.30000000000000004,vit\n"
        "n,d,finetune,imported,top1,,\n"
    )
    table = load_foreign(empty_study())
    assert table["model"].tolist() == ["m", "=m", "n"]  # files by name
    assert table["dataset"].tolist() == ["<d>", "d", "d"]
    np.testing.assert_array_equal(table["value"], [0.853, 0.30000000000000004, np.nan])
    assert table["family"].tolist() == ["unknown", "vit", "unknown"]
    assert table["role"].tolist() == ["", "", ""]
    assert [p.stem for p in stored_files()] == ["a", "b"]
    remove_scores("b")
    assert load_foreign(empty_study())["model"].tolist() == ["m"]
    with pytest.raises(ProbelineError, match=r"b\.csv: there are no such(.|\n)*one of a"):
        remove_scores("b")


def test_importing_again_replaces(keep):
    keep("a", "m,d,linear,top1,0.5")
    keep("a", "m,d,linear,top1,0.6")
    assert load_foreign(empty_study())["value"].tolist() == [0.6]
    with pytest.raises(ProbelineError, match="not a number"):
        keep("a", "m,d,linear,top1,bad")
    assert load_foreign(empty_study())["value"].tolist() == [0.6]


def test_words_of_one_file_hold_for_the_others(keep):
    keep("a", "m,d,linear,top1,0.5,vit", header=HEADER + ",family")
    keep("b", "m,d,knn,top1,0.5,in_domain", header=HEADER + ",role")
    table = load_foreign(empty_study())
    assert table["family"].tolist() == ["vit", "vit"]
    assert table["role"].tolist() == ["in_domain", "in_domain"]
    with pytest.raises(ProbelineError, match=r"otherwise of model m than scores/a\.csv"):
        keep("c", "m,d,fewshot,top1,0.5,resnet", header=HEADER + ",family")


def test_no_score_comes_from_two_files(keep):
    keep("a", "m,d,linear,top1,0.5,0", header=HEADER + ",seed")
    with pytest.raises(ProbelineError, match=r"m, d, linear, imported, top1(.|\n)*scores/a\.csv"):
        keep("b", "m,d,linear,top1,0.5,1", header=HEADER + ",seed")
    assert [p.stem for p in stored_files()] == ["a"]


def test_a_file_that_was_spoiled_since_is_named(keep):
    keep("a", "m,d,linear,top1,0.5")
    path = stored_path("a")
    path.write_text(path.read_text() + "<<<<<<< HEAD\n")
    with pytest.raises(ProbelineError, match=r"scores/a\.csv:3: has another number of cells"):
        load_foreign(empty_study())


@pytest.mark.parametrize("name", ["", "a b", "../x", "a.csv", "x" * 101])
def test_names_that_are_none_for_a_file(name):
    with pytest.raises(ProbelineError, match="--as"):
        stored_path(name)


def test_seeds_are_averaged_in_the_cube_and_stay_rows_of_the_table(keep):
    keep(
        "a",
        *(f"m,d,linear,top1,{v},{s},0.1" for s, v in enumerate((0.2, 0.3, 0.7))),
        "n,d,linear,top1,0.5,,0.4",
        header=HEADER + ",seed,ci_low",
    )
    study = empty_study()
    scores, missing = gather(study)
    assert (len(scores), missing) == (4, [])
    cube = to_cube(study, scores).squeeze(drop=True)
    np.testing.assert_allclose(cube["value"].sel(model="m"), 0.4, rtol=1e-15)
    assert np.isnan(cube["ci_low"].sel(model="m"))  # of one seed, not of the mean
    assert float(cube["ci_low"].sel(model="n")) == 0.4


def test_a_cube_of_imported_scores_alone(keep):
    keep(
        "a",
        "m,d,linear,top1,0.5,vit,86.5,in_domain,500,21", "n,d,linear,top1,0.4,,,,,",
        "m,e,linear,top1,,,,,,",
        header=HEADER + ",family,parameters,role,n_test,extraction_seconds",
    )  # fmt: skip
    cube = to_cube(empty_study(), gather(empty_study())[0])
    assert cube.sizes == {"model": 2, "dataset": 2, "variant": 1, "metric": 1}
    assert cube["variant"].values.tolist() == ["linear/imported"]
    assert cube["family"].values.tolist() == ["vit", "unknown"]
    np.testing.assert_array_equal(cube["parameters"], [86.5, np.nan])
    assert cube["role"].values.tolist() == ["in_domain", ""]
    assert cube["n_test"].values.tolist() == [500, 0]
    np.testing.assert_array_equal(cube["extraction_seconds"], [[21, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(cube["value"].squeeze(), [[0.5, np.nan], [0.4, np.nan]])


def test_the_studys_own_variant_stands_for_its_protocol_and_imported_ones_for_others():
    study = Study.model_validate(
        empty_study().model_dump()
        | {
            "datasets": {"pets": {"source": "folder", "path": "x", "role": "in_domain"}},
            "models": {"m": {"architecture": "resnet18", "weights": "pretrained"}},
        }
    )
    rows = [
        ("m", "pets", "linear", "ridge_none"),
        *(("n", d, "linear", "imported") for d in ("pets", "d", "e")),
        ("n", "pets", "finetune", "first"),
        *(("n", d, "finetune", "second") for d in ("d", "e")),
    ]
    names = ["model", "dataset", "protocol", "variant"]
    words = dict.fromkeys((*MODEL_WORDS, *DATASET_WORDS), "unknown")
    scores = pd.DataFrame(rows, columns=names).assign(metric="top1", value=0.5, **words)
    cube = to_cube(study, scores)
    assert headline_variants(cube) == {"linear": "linear/ridge_none", "finetune": "finetune/second"}
    alone = to_cube(empty_study(), scores)
    assert headline_variants(alone)["linear"] == "linear/imported"


def test_remarks(keep):
    said = remarks(
        keep("a", "m,d,knn,top1,0.5", "n,d,knn,top1,0.5", "m,e,knn,top1,", "n,e,knn,top1,").scores
    )
    for words in (
        "2 rows without a value", "no score at all on e", "the same score for every model on d",
        "2 models", "no family", "no role", "no n_test",
    ):  # fmt: skip
        assert any(words in line for line in said), (words, said)
    complete = [
        f"m{i},d,knn,top1,0.{i + 1},f{i},in_domain,100" for i in range(5)
    ]  # fmt: skip
    assert remarks(keep("b", *complete, header=HEADER + ",family,role,n_test").scores) == []


@pytest.fixture
def computed(project):
    project.score_six_models()
    return project


def tables(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.csv"))}


def test_an_imported_cube_is_the_computed_one(computed, tmp_path):
    theirs = computed.folder / "results"
    ours = tmp_path / "other project"
    ours.mkdir()
    table = read_scores(theirs / "scores.csv")
    assert (table["parameters"] > 1000).all()
    assert (table["images"] == 10).all()
    before = read_netcdf(theirs / "scores.nc")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ours)
        import_scores(theirs / "scores.csv", "theirs", empty_study())
        scores, missing = gather(empty_study())
        assert missing == []
        pd.testing.assert_frame_equal(scores, table)
        cube = to_cube(empty_study(), scores)
        # Which table it was made from, the stage adds.
        assert before.attrs.pop(TABLE_DIGEST) == sha256_file(theirs / "scores.csv")
        assert len(before.attrs.pop(RECORDS_DIGEST)) == 64
        # Nothing is read into names that this study does not ask for but what the file says.
        unsaid = [field for field in ("own", *FIELDS) if field != "label"]
        xr.testing.assert_identical(cube.drop_vars(unsaid), before.drop_vars(unsaid))
        assert set(cube["head"].values) == {"", "logistic"}  # its linear probes are the same
        assert set(before["head"].values) == {"knn", "logistic"}
        assert (cube["own"].sum(), before["own"].sum()) == (0, 2)
    # And beside a study of its own the names are the same ones.
    import_scores(theirs / "scores.csv", "again", load_study())
    computed.run("collect").refused(
        "scores: has scores that are there already", "params.yaml", "probeline scores remove"
    )
    remove_scores("again")
    tuned = Path("tuned.csv")
    tuned.write_text(f"{HEADER},variant\nm1,pets,finetune,top1,0.9,\nm1,pets,knn,top1,0.1,mine\n")
    import_scores(tuned, "tuned", load_study())
    computed.run("collect").succeeded("0 cells missing")
    after = read_netcdf(theirs / "scores.nc")
    assert after["model"].values.tolist() == [f"m{n}" for n in range(6)]
    tuned_scores = after["value"].sel(model="m1", variant="finetune/imported", metric="top1")
    assert tuned_scores.values.tolist() == [0.9]
    xr.testing.assert_equal(after["value"].sel(variant=before["variant"]), before["value"])
    computed.run("correlate").succeeded("over 6 models")
    # What params.yaml says of a model stands.
    tuned.write_text(f"{HEADER},family\nm1,pets,finetune,top1,0.9,other\n")
    with pytest.raises(ProbelineError, match=r"model m1 than params\.yaml(.|\n)*family f1"):
        import_scores(tuned, "tuned", load_study())
