"""The stage similarity: incremental, light where there is nothing to do."""

from __future__ import annotations

import numpy as np
from projects import RESNET

from cache.cell import Cell
from pipeline.machine.netcdf import read_netcdf
from pipeline.probes.model_similarity import similarity_map
from pipeline.probes.similarity_maps import SIMILARITY_NC
from pipeline.project.paths import cell_address


def two_models(project):
    project.params["models"] = {"tiny": project.params["models"]["tiny"], "res": {**RESNET}}
    project.prepare()


def test_a_map_of_the_cached_features(project):
    two_models(project)
    project.run("similarity").succeeded("similarity: 0 cached, 1 computed")
    found = read_netcdf(SIMILARITY_NC)
    features = [Cell.open(cell_address("pets", m, "val")).read() for m in ("tiny", "res")]
    assert len(features[0]) == found["images"].item()
    expected = similarity_map([f.astype(np.float32) for f in features])
    np.testing.assert_array_equal(found["cka"].sel(dataset="pets"), expected)
    assert found["model"].values.tolist() == found["other"].values.tolist() == ["tiny", "res"]


def test_only_what_changed_is_done_again(project):
    two_models(project)
    project.run("similarity").succeeded("1 computed")
    before = SIMILARITY_NC.stat().st_mtime_ns
    project.run("similarity").succeeded("1 cached, 0 computed")
    assert SIMILARITY_NC.stat().st_mtime_ns == before  # not even written
    project.params["datasets"]["more"] = {**project.params["datasets"]["pets"], "seed": 1}
    project.prepare("more")
    project.run("similarity").succeeded("1 cached, 1 computed")
    assert read_netcdf(SIMILARITY_NC)["dataset"].values.tolist() == ["pets", "more"]
    del project.params["datasets"]["pets"]
    project.write()
    project.run("similarity").succeeded("1 cached, 0 computed")
    assert read_netcdf(SIMILARITY_NC)["dataset"].values.tolist() == ["more"]


def test_other_models_are_another_map(project):
    two_models(project)
    project.run("similarity").succeeded("1 computed")
    del project.params["models"]["res"]
    project.write()
    project.run("similarity").succeeded("0 cached, 1 computed")
    assert read_netcdf(SIMILARITY_NC).sizes["model"] == 1


def test_a_damaged_file_is_made_anew(project):
    two_models(project)
    project.run("similarity").succeeded("1 computed")
    SIMILARITY_NC.write_bytes(b"no netCDF")
    project.run("similarity").succeeded("1 computed")


def test_a_missing_cell_is_told(project):
    project.write()
    project.run("index", "pets").succeeded()
    project.run("similarity").refused("tiny", "pets", "dvc repro")


def test_without_work_nothing_heavy_is_imported(project):
    two_models(project)
    project.run("similarity").succeeded("1 computed")
    code = (
        "import runpy, sys\n"
        "sys.argv = ['stages.similarity']\n"
        "try:\n    runpy.run_module('stages.similarity', run_name='__main__')\n"
        "except SystemExit as end:\n    print('STATUS', end.code or 0)\n"
        "print('LOADED', [m for m in ('torch', 'timm', 'sklearn') if m in sys.modules])\n"
    )
    ran = project.shell("-c", code)
    assert "LOADED []" in ran.out, ran.err
    assert "STATUS 0" in ran.out


def test_a_study_of_imported_scores_alone_has_an_empty_map(project):
    project.params["datasets"], project.params["models"] = {}, {}
    project.write()
    project.run("similarity").succeeded("0 cached, 0 computed")
    assert read_netcdf(SIMILARITY_NC).sizes["dataset"] == 0
    project.run("similarity").succeeded("0 cached, 0 computed")
