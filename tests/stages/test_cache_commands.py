import json
import os
import shutil

import pytest

STORE = "data/embeddings/pets/tiny.zarr"


@pytest.fixture
def extracted(project):
    project.prepare()
    return project


def cache(project, *arguments):
    return project.run("cli", "cache", *arguments)


def flip(project, name):
    path = project.folder / STORE / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_list_names_every_cell_with_its_state(extracted):
    out = cache(extracted, "list").succeeded("pets/tiny  train", "cached", "2 cells")
    assert out.count("pets/tiny") == 2
    extracted.params["models"]["other"] = extracted.params["models"].pop("tiny")
    extracted.write()
    cache(extracted, "list").succeeded("not in the study")


def test_show_gives_key_and_provenance(extracted):
    cache(extracted, "show", "pets", "tiny").succeeded(
        "fingerprint", '"architecture": "test_vit"', '"torch"'
    )
    cache(extracted, "show", "pets", "other").refused("pets/other", "no such cell")


def test_verify_names_what_is_damaged_and_repair_mends_exactly_that(extracted):
    cache(extracted, "verify", "--deep").succeeded("2 cells checked", "0 damaged")
    before = extracted.files("data")
    flip(extracted, "train/embedding/c/0/0")
    path = extracted.folder / STORE / "train"
    older = (path / "zarr.json").stat().st_mtime_ns
    os.utime(path / "embedding/c/0/0", ns=(older, older))
    assert cache(extracted, "verify").status == 0  # sizes and times alone are right
    os.utime(path / "embedding/c/0/0", ns=(older, older + 1))
    assert cache(extracted, "verify").status == 1  # somebody wrote to it since
    deep = cache(extracted, "verify", "--deep")
    assert deep.status == 1
    assert f"{STORE}/train/embedding/c/0/0" in deep.err
    assert "--repair" in deep.err
    cache(extracted, "verify", "--repair").succeeded("1 cells mended, 1 chunks computed again")
    assert extracted.files("data") == before


def test_damaged_embeddings_are_used_by_nobody_and_computed_again(extracted):
    for stage in ("neighbors", "knn", "linear"):
        extracted.run(stage).succeeded("1 computed")
    whole = extracted.files("data")
    path = extracted.folder / STORE / "val/embedding/c/0/0"
    rows = path.read_bytes()
    path.write_bytes(rows[::-1])  # of the right size, and as finite as before
    for place in ("results", "data/neighbors"):
        shutil.rmtree(extracted.folder / place)
    for stage in ("neighbors", "linear"):
        extracted.run(stage).refused("val/embedding/c/0/0", "other bytes", "--repair")
    assert not list((extracted.folder / "results").rglob("*.parquet"))
    extracted.run("extract", "pets").succeeded(
        "tiny is damaged, made again", "val/embedding/c/0/0", "1 computed"
    )
    for stage in ("neighbors", "knn", "linear"):
        extracted.run(stage).succeeded("1 computed")
    assert path.read_bytes() == rows
    assert extracted.files("data").keys() == whole.keys()


def test_repair_of_descriptions_computes_nothing(extracted):
    before = extracted.files("data")
    flip(extracted, "val/zarr.json")
    flip(extracted, "train/label/c/0")
    cache(extracted, "verify", "--repair").succeeded("0 chunks computed again")
    assert extracted.files("data") == before


def test_a_damaged_cell_that_the_study_does_not_name_is_left_alone(extracted):
    flip(extracted, "train/embedding/c/0/0")
    before = extracted.files("data/embeddings")
    extracted.params["models"]["other"] = extracted.params["models"].pop("tiny")
    extracted.write()
    ran = cache(extracted, "verify", "--repair")
    assert ran.status == 1
    assert "the study does not name it" in ran.err
    assert extracted.files("data/embeddings") == before


def test_prune_asks_and_takes_only_what_no_study_names(extracted):
    cache(extracted, "prune").succeeded("every cell is named by the study")
    extracted.params["models"]["other"] = {
        **extracted.params["models"]["tiny"],
        "weights": "random(1)",
    }
    extracted.write()
    extracted.run("extract", "pets").succeeded("1 cached, 1 computed")
    for stage in ("neighbors", "knn", "linear"):
        extracted.run(stage).succeeded("2 computed")
    del extracted.params["models"]["tiny"]
    extracted.write()
    assert cache(extracted, "prune").status == 1  # no answer on a closed standard input: no
    assert (extracted.folder / STORE).exists()
    cache(extracted, "prune", "--yes").succeeded("2 cells deleted")
    assert not (extracted.folder / STORE).exists()
    assert [name for name in extracted.files(".") if "tiny" in name] == []
    for stage in ("neighbors", "knn", "linear"):
        extracted.run(stage).succeeded("1 cached, 0 computed")
    cache(extracted, "verify", "--deep").succeeded("2 cells checked", "0 damaged")


def test_export_of_an_unknown_name_says_which_there_are(extracted):
    cache(extracted, "export", "pets", "tinny").refused("model tinny", "tiny")


def test_skipped_images_are_listed_and_in_no_cell(project):
    (project.folder / "images/cat/000.png").write_bytes(b"no image")
    (project.folder / "images/dog/001.png").write_bytes(b"")
    project.params["datasets"]["pets"]["on_bad_image"] = "skip"
    project.write()
    out = project.run("index", "pets").succeeded("warning: 2 images can't be read")
    assert "cat/000.png" in out
    project.run("extract", "pets").succeeded("1 computed")
    ids = json.dumps(cache(project, "export", "pets", "tiny").out)
    assert "train.csv" in ids
    kept = "".join(p.read_text() for p in project.folder.glob("export/pets/tiny/*.csv"))
    assert "cat/000.png" not in kept
    assert "dog/002.png" in kept


def test_status_names_what_lies_about_unfinished(extracted):
    assert "unfinished" not in extracted.run("cli", "status").out
    (extracted.folder / "data/embeddings/pets/tiny.train.partial").mkdir()
    (extracted.folder / "results").mkdir(exist_ok=True)
    (extracted.folder / "results/.scores.csv.partial").write_bytes(bytes(2_000_000))
    extracted.run("cli", "status").succeeded("2 unfinished, 2.0 MB", "tiny.train.partial")
    extracted.run("extract", "pets").succeeded("1 cached")
    extracted.run("cli", "status").succeeded("1 unfinished")
    cache(extracted, "prune", "--yes").succeeded("results/.scores.csv.partial: whoever")
    assert "unfinished" not in extracted.run("cli", "status").out


def test_prune_finishes_what_a_stopped_one_began(extracted):
    store = extracted.folder / STORE
    partial = store.with_name("tiny.val.partial")
    partial.mkdir()
    (store / "val").rename(partial / "removed")  # as a prune that was killed leaves it
    cache(extracted, "prune", "--yes").succeeded("a former `prune` was stopped")
    assert not partial.exists()
    assert (store / "train").is_dir()


def test_a_repair_that_was_stopped_is_asked_for_and_finished(extracted):
    before = extracted.files("data/embeddings", "data/provenance")
    flip(extracted, "train/embedding/c/0/0")
    from pipeline.datasets.index import read_index
    from pipeline.embeddings.mending import set_aside
    from pipeline.study.params import load_study

    os.utime(extracted.folder / STORE / "train/embedding/c/0/0")
    set_aside(load_study(), read_index("pets"), "tiny")  # and no further
    found = cache(extracted, "verify")
    assert found.status == 1
    assert "its repair was begun and not finished" in found.err
    cache(extracted, "verify", "--repair").succeeded("1 cells mended")
    assert extracted.files("data/embeddings", "data/provenance") == before
