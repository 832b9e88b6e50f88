import errno
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from ruamel.yaml import YAML

from pipeline.datasets.imported import DIGESTS
from pipeline.project.paths import imported_path, name_path, provenance_path

IMPORTED = {"architecture": "imported", "weights": "imported"}


def write_embeddings(folder, *, rows=(12, 6), columns=5, seed=0, **extra):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for split, count in zip(("train", "val"), rows, strict=True):
        np.save(folder / f"{split}.npy", rng.normal(size=(count, columns)))
        table = pd.DataFrame({"class": [f"c{i % 2}" for i in range(count)], **extra})
        table.to_csv(folder / f"{split}.csv", index=False)
    return folder


@pytest.fixture
def study(project):
    project.params["datasets"] = {"mine": {"source": "imported", "role": "in_domain"}}
    project.params["models"] = {"clip": IMPORTED}
    project.write()
    return project


def import_(project, folder, model="clip"):
    return project.run("cli", "cache", "import", str(folder), "--dataset", "mine", "--model", model)


def test_own_embeddings_become_cells_and_are_scored_without_torch(study, tmp_path):
    folder = write_embeddings(tmp_path / "mine")
    import_(study, folder).succeeded("kept in data/imported/mine/clip")
    study.run("index", "mine").succeeded("12 train and 6 val images of 2 classes")
    done = study.shell("-X", "importtime", "-m", "stages.extract", "mine")
    done.succeeded("0 cached, 1 computed")
    assert "torch" not in [line.split("|")[-1].strip() for line in done.err.splitlines()]
    study.run("extract", "mine").succeeded("1 cached, 0 computed")
    cell = xr.open_zarr("data/embeddings/mine/clip.zarr", group="train")
    np.testing.assert_allclose(cell.embedding, np.load(folder / "train.npy"), atol=1e-2)
    for stage in ("neighbors", "knn", "linear", "collect", "correlate"):
        study.run(stage).succeeded()
    assert set(pd.read_csv("results/scores.csv")["protocol"]) == {"knn", "linear"}


def test_another_precision_is_none_of_theirs(study, tmp_path):
    import_(study, write_embeddings(tmp_path / "a")).succeeded()
    study.run("index", "mine").succeeded()
    study.run("extract", "mine").succeeded("1 computed")
    study.params["extraction"]["precision"] = "bfloat16"
    study.write()
    study.run("extract", "mine").succeeded("1 cached, 0 computed")
    cell = xr.open_zarr("data/embeddings/mine/clip.zarr", group="train")
    assert cell.attrs["probeline"]["key"]["precision"] == "imported"


def test_what_was_exported_can_be_imported_in_both_forms(project, tmp_path):
    project.prepare()
    for kind in ("npy", "parquet"):
        to = tmp_path / kind
        project.run(
            "cli", "cache", "export", "pets", "tiny", "--to", str(to), "--format", kind
        ).succeeded()
        import_(project, to / "pets" / "tiny", kind).succeeded()
    project.params["datasets"]["mine"] = {"source": "imported", "role": "in_domain"}
    project.params["models"] = {"npy": IMPORTED, "parquet": IMPORTED}
    project.write()
    project.run("index", "mine").succeeded()
    project.run("extract", "mine").succeeded("2 computed")
    groups = [
        xr.open_zarr(f"data/embeddings/mine/{m}.zarr", group="val") for m in ("npy", "parquet")
    ]
    original = xr.open_zarr("data/embeddings/pets/tiny.zarr", group="val")
    for group in groups:
        np.testing.assert_array_equal(group.embedding, original.embedding)
        assert group.id.values.tolist() == original.id.values.tolist()


def test_rows_are_matched_by_id_not_by_position(study, tmp_path):
    first = write_embeddings(tmp_path / "first", rows=(6, 6), id=[f"s{i}" for i in range(6)])
    import_(study, first).succeeded()
    second = tmp_path / "second"
    second.mkdir()
    for split in ("train", "val"):
        table = pd.read_csv(first / f"{split}.csv")[::-1]
        table.to_csv(second / f"{split}.csv", index=False)
        np.save(second / f"{split}.npy", np.load(first / f"{split}.npy")[::-1])
    import_(study, second, "other").succeeded()
    study.params["models"]["other"] = IMPORTED
    study.write()
    study.run("index", "mine").succeeded()
    study.run("extract", "mine").succeeded("2 computed")
    one, two = (
        study.files(f"data/embeddings/mine/{m}.zarr/train/embedding/c") for m in ("clip", "other")
    )
    assert list(one.values()) == list(two.values())


def test_importing_other_numbers_makes_the_cell_stale(study, tmp_path):
    import_(study, write_embeddings(tmp_path / "a")).succeeded()
    study.run("index", "mine").succeeded()
    study.run("extract", "mine").succeeded("1 computed")
    import_(study, write_embeddings(tmp_path / "b", seed=1)).succeeded()
    study.run("extract", "mine").succeeded("clip is stale", "0 cached, 1 computed")


@pytest.mark.parametrize("end", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 2])
def test_an_import_that_ends_while_it_replaces_leaves_the_former(
    study, tmp_path, monkeypatch, end, at
):
    import_(study, write_embeddings(tmp_path / "a")).succeeded()
    before = study.files("data/imported")
    other, real, count = write_embeddings(tmp_path / "b", seed=1), Path.rename, itertools.count(1)

    def renamed(path, target):
        if next(count) == at:
            raise end
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", renamed)
        assert import_(study, other).status != 0
    assert study.files("data/imported") == before
    import_(study, other).succeeded()
    assert study.files("data/imported") != before
    assert study.left_overs() == []


def test_importing_the_same_again_replaces_nothing(study, tmp_path):
    source = write_embeddings(tmp_path / "a")
    import_(study, source).succeeded()
    kept = imported_path("mine", "clip")
    inode = kept.stat().st_ino
    import_(study, source).succeeded("nothing has changed")
    assert kept.stat().st_ino == inode
    (kept / DIGESTS).write_text("{}")  # damaged: importing mends it
    import_(study, source).succeeded()
    assert "sealed" in (kept / DIGESTS).read_text()


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda f: (f / "val.npy").unlink(), "no embeddings of this split"),
        (lambda f: np.save(f / "val.npy", np.ones((5, 5))), "do not fit together"),
        (lambda f: np.save(f / "val.npy", np.ones((6, 4))), "different numbers of features"),
        (lambda f: np.save(f / "val.npy", np.full((6, 5), np.nan)), "not a finite number"),
        (lambda f: (f / "val.npy").write_bytes(b"junk"), "can't be read as embeddings"),
        (lambda f: np.save(f / "val.npy", np.array([{}] * 6)), "can't be read as embeddings"),
        (lambda f: (f / "val.csv").write_text("x\n" + "1\n" * 6), "no column class"),
        (lambda f: (f / "val.csv").write_text("id,class\n" + "1,a\n" * 6), "given twice"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_kept(study, tmp_path, spoil, word):
    folder = write_embeddings(tmp_path / "mine")
    spoil(folder)
    import_(study, folder).refused(word)
    assert study.files("data") == {}


def test_embeddings_of_other_samples_are_refused(study, tmp_path):
    import_(study, write_embeddings(tmp_path / "a")).succeeded()
    study.run("index", "mine").succeeded()
    import_(study, write_embeddings(tmp_path / "b", rows=(11, 6))).succeeded()
    study.run("extract", "mine").refused("model clip on data set mine", "of other samples")


def yaml_in(output: str) -> dict:
    """What the printed lines that are no sentence say, pasted as they are."""
    lines = output.splitlines()
    start = lines.index("add to params.yaml:") + 1
    return YAML(typ="safe").load("\n".join(itertools.takewhile(_is_yaml, lines[start:])))


def _is_yaml(line: str) -> bool:
    return line.startswith("  ") or line in ("datasets:", "models:")


def test_it_says_what_it_took_and_what_to_add(project, tmp_path):
    folder = write_embeddings(tmp_path / "mine")
    done = import_(project, folder).succeeded(
        "train: 12 samples x 5 features, 2 classes (c0, c1), from", "train.npy", "val: 6 samples"
    )
    assert yaml_in(done) == {
        "datasets": {"mine": {"source": "imported", "role": "in_domain"}},
        "models": {"clip": IMPORTED},
    }
    # A data set of the study is not replaced, nor is a model.
    done = project.run(
        "cli", "cache", "import", str(folder), "--dataset", "pets", "--model", "clip"
    ).succeeded()
    assert yaml_in(done) == {"models": {"clip": IMPORTED}}
    project.run(
        "cli", "cache", "import", str(folder), "--dataset", "pets", "--model", "tiny"
    ).refused("models.tiny", "another model", "--model")


def made(study) -> None:
    """Index and cells, and what DVC knows of them."""
    study.run("index", "mine").succeeded()
    study.run("extract", "mine").succeeded()


def to_run() -> set[str]:
    """The stages of which an output that DVC knows has gone: it will run them."""
    outputs = {"index": name_path("mine"), "extract": provenance_path("mine", "clip")}
    return {stage for stage, output in outputs.items() if not output.exists()}


def with_ids(folder, *, seed=0, ids=range(12)):
    """Embeddings whose rows have names, which say nothing of their place."""
    write_embeddings(folder, seed=seed, rows=(len(ids), 6))
    for split, names in (("train", ids), ("val", range(6))):
        table = pd.read_csv(folder / f"{split}.csv").assign(id=[f"{split}-{n}" for n in names])
        table.to_csv(folder / f"{split}.csv", index=False)
    return folder


def shuffled(folder, to):
    """The same rows in another order."""
    to.mkdir(parents=True)
    for split in ("train", "val"):
        table = pd.read_csv(folder / f"{split}.csv").sample(frac=1, random_state=3)
        table.to_csv(to / f"{split}.csv", index=False)
        np.save(
            to / f"{split}.npy", np.asfortranarray(np.load(folder / f"{split}.npy")[table.index])
        )
    return to


def test_importing_anew_takes_away_an_output_of_the_stages_that_are_to_run(study, tmp_path):
    folder = with_ids(tmp_path / "a")
    assert "add to" not in import_(study, folder).succeeded("now `dvc repro`")
    made(study)
    import_(study, folder).succeeded("nothing has changed")
    assert to_run() == set()
    import_(study, shuffled(folder, tmp_path / "b")).succeeded("nothing has changed")
    assert to_run() == set()
    import_(study, with_ids(folder, seed=1)).succeeded("train.npy, val.npy", "now `dvc repro`")
    assert to_run() == {"extract"}
    made(study)
    table = pd.read_csv(folder / "train.csv").replace({"class": {"c0": "c9"}})
    table.to_csv(folder / "train.csv", index=False)
    import_(study, folder).succeeded("before: train.csv\n", "now `dvc repro`")
    assert to_run() == {"index", "extract"}
    import_(study, with_ids(folder, ids=range(20))).succeeded("train.csv, train.npy")
    assert "`dvc repro` indexes it anew" in import_(study, with_ids(folder, ids=range(21))).err


def test_the_order_of_rows_and_the_names_of_models_cost_nothing(study, tmp_path):
    folder = with_ids(tmp_path / "a")
    import_(study, folder).succeeded()
    made(study)
    study.knn().succeeded("1 computed")
    before = study.files("data/index", "data/embeddings", "results")
    import_(study, shuffled(folder, tmp_path / "b")).succeeded()
    # Listed before the other, in another order, as an import of a former version kept it.
    import_(study, folder, "before").succeeded()
    (imported_path("mine", "before") / DIGESTS).unlink()  # which kept no digests either
    for file in imported_path("mine", "before").iterdir():
        rows = file.read_bytes()
        if file.suffix == ".csv":
            header, *lines = rows.decode().splitlines()
            file.write_text("\n".join([header, *reversed(lines), ""]))
        else:
            np.save(file, np.load(file)[::-1])
    made(study)
    study.knn().succeeded("1 cached, 0 computed")
    assert study.files("data/index", "data/embeddings", "results") == before
    study.params["models"]["before"] = IMPORTED
    study.write()
    study.run("extract", "mine").succeeded("1 cached, 1 computed")
    study.knn().succeeded("1 cached, 1 computed")
    one, two = (
        study.files(f"data/embeddings/mine/{m}.zarr/train/embedding/c") for m in ("clip", "before")
    )
    assert list(one.values()) == list(two.values())


def test_a_corrected_label_and_one_array_cost_what_they_change(study, tmp_path):
    folder = with_ids(tmp_path / "a")
    study.params["models"]["dino"] = IMPORTED
    study.write()
    for model in ("clip", "dino"):
        import_(study, folder, model).succeeded()
    made(study)
    study.knn().succeeded("2 computed")
    train = study.files("data/embeddings/mine/clip.zarr/train")
    import_(study, with_ids(tmp_path / "b", seed=5), "dino").succeeded()
    study.run("index", "mine").succeeded()
    study.run("extract", "mine").succeeded("dino is stale", "1 cached, 1 computed")
    study.knn().succeeded("1 cached, 1 computed")
    for name, model in (("a", "clip"), ("b", "dino")):  # a test label of both
        table = pd.read_csv(tmp_path / name / "val.csv")
        table.loc[2, "class"] = "c1"
        table.to_csv(tmp_path / name / "val.csv", index=False)
        import_(study, tmp_path / name, model).succeeded("before: val.csv\n")
    made(study)
    study.knn().succeeded("0 cached, 2 computed")
    assert study.files("data/embeddings/mine/clip.zarr/train") == train


def test_a_table_beside_images_makes_no_index_run(project, tmp_path):
    project.prepare()
    project.run("cli", "cache", "export", "pets", "tiny", "--to", str(tmp_path)).succeeded()
    project.params["models"]["clip"] = IMPORTED
    project.write()
    to = ("--dataset", "pets", "--model", "clip")
    project.run("cli", "cache", "import", str(tmp_path / "pets" / "tiny"), *to).succeeded()
    project.run("extract", "pets").succeeded("1 computed")
    assert name_path("pets").exists()
    assert provenance_path("pets", "tiny").exists()


def test_classes_of_every_model_are_compared(study, tmp_path):
    import_(study, write_embeddings(tmp_path / "a")).succeeded()
    write_embeddings(tmp_path / "b", seed=1)
    table = pd.read_csv(tmp_path / "b" / "train.csv")
    table.loc[3, "class"] = "c0"
    table.to_csv(tmp_path / "b" / "train.csv", index=False)
    said = import_(study, tmp_path / "b", "dino").err
    for text in ("differs from model clip", "1 sample has another class", "train/00000003: c0"):
        assert text in said
    study.params["models"]["dino"] = IMPORTED
    study.write()
    study.run("index", "mine").succeeded()
    study.run("extract", "mine").refused("model dino", "of other samples", "c0 instead of c1")


def test_groups_of_embeddings_are_groups_of_the_index(study, tmp_path):
    groups = {"group": ["x", "", "y", "x", "y", ""]}
    import_(study, write_embeddings(tmp_path / "a", rows=(6, 6), **groups)).succeeded()
    study.run("index", "mine").succeeded()
    found = pd.read_parquet("data/index/mine.parquet")["group"]
    assert found.fillna("none").tolist() == ["x", "none", "y", "x", "y", "none"] * 2


def test_a_model_that_is_not_imported_has_no_images_to_run_on(study, tmp_path):
    import_(study, write_embeddings(tmp_path / "a")).succeeded()
    study.params["models"]["tiny"] = {"architecture": "test_vit", "weights": "random(0)"}
    study.write()
    study.run("index", "mine").succeeded()
    study.run("extract", "mine").refused("data set mine", "tiny", "import their embeddings")
