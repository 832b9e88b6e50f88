"""A row depends on its image alone: what a change of the data set costs, counted in images that go
through a network."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
from known_trees import inat2021
from projects import RESNET, VIT, draw, fill_folder

from cache.cell import ROW_BYTES, Cell, CellAddress, chunk_name
from cache.manifest import Manifest, root_group
from cache.records import read_record
from cache.seals import read_sealed_json
from cache.verify import verify
from pipeline.datasets.index import read_index
from pipeline.embeddings.forward import Forward
from pipeline.project.paths import cell_address, provenance_path, record_path

MODELS = {"tiny": VIT, "net": RESNET}


@pytest.fixture
def passes(monkeypatch):
    """Images that went through a network since the list was cleared."""
    seen: list[int] = []
    call = Forward.start

    def count(self, pixels, kinds):
        seen.append(len(pixels))
        return call(self, pixels, kinds)

    monkeypatch.setattr(Forward, "start", count)
    return seen


@pytest.fixture
def study(project, kept_project, monkeypatch, passes):
    """Forty-eight images through two networks, in chunks of eight rows; stored in float32, as the
    columns of untrained networks are too narrow for float16."""
    monkeypatch.setattr("cache.chunking.MIN_CHUNK_ROWS", 8)
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", "4")

    def build() -> None:
        fill_folder(project.folder / "images", {"cat": 16, "dog": 16, "emu": 16})
        project.params["models"] = {**MODELS}
        project.params["extraction"]["storage"] = "float32"
        project.prepare()
        assert sum(passes) == 2 * 48
        passes.clear()

    return project.once(kept_project, build)


def extract(project, dataset: str = "pets") -> str:
    project.write()
    project.run("index", dataset).succeeded()
    return project.run("extract", dataset).succeeded()


def rows_by_image(dataset: str = "pets", model: str = "tiny") -> dict[str, np.ndarray]:
    """Each image's row, by its digest."""
    index, rows = read_index(dataset), {}
    for split in index.split_names:
        cell = Cell.open(cell_address(dataset, model, split))
        assert cell.ids() == index.split(split)["path"].tolist()
        assert cell.labels().tolist() == index.labels(split).tolist()
        assert verify(cell.address, deep=True) == []
        rows |= dict(zip(index.digests(split), cell.read(), strict=True))
    return rows


def fresh_rows(project, dataset: str = "pets", model: str = "tiny") -> dict[str, np.ndarray]:
    """The same cells as they are without anything to copy from."""
    shutil.move("data/embeddings", "kept")
    project.run("extract", dataset).succeeded()
    rows = rows_by_image(dataset, model)
    shutil.rmtree("data/embeddings")
    shutil.move("kept", "data/embeddings")
    return rows


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for digest, row in expected.items():
        np.testing.assert_allclose(found[digest], row, rtol=1e-4, atol=1e-5)
    in_order = ([rows[digest] for digest in sorted(expected)] for rows in (found, expected))
    assert np.array_equal(*(_nearest(np.array(rows)) for rows in in_order))


def predictions(project) -> dict[str, list[int]]:
    """What kNN says of each test image, by model."""
    shutil.rmtree("results", ignore_errors=True)
    project.knn().succeeded("0 cached, 2 computed")
    found = {m: read_record(record_path("knn", "pets", m)).outcomes() for m in MODELS}
    return {model: table["predicted"].to_pylist() for model, table in found.items()}


def _nearest(rows: np.ndarray) -> np.ndarray:
    """The nearest other image of each: what a prediction rests on."""
    distances = np.linalg.norm(rows[:, None].astype(float) - rows[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.argmin(axis=1)


def correct_a_label(project):
    (project.folder / "images/cat/003.png").rename(project.folder / "images/dog/903.png")


def rename_a_folder(project):
    (project.folder / "images/cat").rename(project.folder / "images/zebra")


def delete_images(project):
    for number in range(4, 9):
        (project.folder / f"images/dog/{number:03d}.png").unlink()


def another_seed(project):
    project.params["datasets"]["pets"]["seed"] = 7


def a_limit(project):
    project.params["datasets"]["pets"]["limit_per_class"] = 3


def regroup(project):
    lines = [
        f"{path.parent.name}/{path.name},{path.parent.name},g{int(path.stem) // 4}"
        for path in sorted((project.folder / "images").glob("*/*.png"))
    ]
    lines.insert(0, "path,label,group")
    (project.folder / "images/table.csv").write_text("\n".join(lines))
    project.params["datasets"]["pets"] |= {
        "source": "manifest", "manifest": "images/table.csv", "columns": {"group": "group"}
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [correct_a_label, rename_a_folder, delete_images, another_seed, a_limit, regroup],
)
def test_what_changes_no_image_costs_no_forward_pass(study, passes, change):
    before = rows_by_image()
    change(study)
    said = extract(study)
    assert passes == []
    assert "rows were held already, copied" in said
    after = rows_by_image()
    assert after.keys() <= before.keys()
    for digest, row in after.items():
        assert np.array_equal(row, before[digest])
    same(after, fresh_rows(study))
    assert "2 cached, 0 computed" in study.run("extract", "pets").succeeded()
    assert study.left_overs() == []


def test_a_corrected_label_makes_probes_stale_and_they_are_computed_again(study, passes):
    study.knn().succeeded("0 cached, 1 computed" if len(MODELS) == 1 else "2 computed")
    correct_a_label(study)
    extract(study)
    study.knn().succeeded("0 cached, 2 computed")
    assert passes == []


def test_neither_torch_nor_weights_are_needed_where_no_image_is_new(study):
    correct_a_label(study)
    study.run("index", "pets").succeeded()
    done = study.shell("-X", "importtime", "-m", "stages.extract", "pets")
    done.succeeded("tiny: all ", " rows were held already, copied")
    assert "torch" not in [line.split("|")[-1].strip() for line in done.err.splitlines()]


def test_ten_more_images_cost_ten_forward_passes_a_model(study, passes):
    for number in range(10):
        draw(5000 + number).save(study.folder / f"images/dog/{900 + number}.png")
    said = extract(study)
    assert sum(passes) == 2 * 10
    assert "tiny: 48 of 58 rows were held already, copied" in said
    facts = json.loads(provenance_path("pets", "tiny").read_text())
    copied = [split["copied"] for split in facts["splits"].values()]
    assert {name for split in copied for name in split} <= {"pets/tiny/train", "pets/tiny/val"}
    assert sum(sum(split.values()) for split in copied) == 48
    predicted = predictions(study)
    same(rows_by_image(), fresh_rows(study))
    same(rows_by_image(model="net"), fresh_rows(study, model="net"))
    shutil.rmtree("data/embeddings")
    study.run("extract", "pets").succeeded()
    assert sum(passes) == 2 * 10 + 3 * 2 * 58
    assert "copied" not in provenance_path("pets", "tiny").read_text()
    assert predictions(study) == predicted


def test_a_clone_without_weights_takes_rows_and_keeps_what_is_recorded(study, passes, monkeypatch):
    """The card is made on loading; a clone has the cells and their record alone."""
    facts = read_sealed_json(provenance_path("pets", "tiny"))
    shutil.rmtree("data/cards")
    rename_a_folder(study)
    study.run("index", "pets").succeeded()
    done = study.shell("-X", "importtime", "-m", "stages.extract", "pets")
    done.succeeded("2 cached, 0 computed")
    assert "torch" not in [line.split("|")[-1].strip() for line in done.err.splitlines()]
    after = read_sealed_json(provenance_path("pets", "tiny"))
    for name in set(facts) - {"splits"}:
        assert after[name] == facts[name], name
    for split, part in facts["splits"].items():
        assert after["splits"][split]["images"] == part["images"]
        assert after["splits"][split]["seconds"] == pytest.approx(part["seconds"], abs=2e-3)


def test_genus_and_species_are_inside_the_family_set(study, passes):
    study.params["models"] = {"tiny": VIT}
    counts = inat2021(study.folder / "inat")
    for name, expected in counts.items():
        study.params["datasets"][name] = {
            "source": f"known:{name}", "path": "inat", "expected": expected
        }  # fmt: skip
    family, *inside = sorted(counts, key=len)
    extract(study, family)
    assert sum(passes) == counts[family]["train"] + counts[family]["val"]
    passes.clear()
    whole: dict[str, list[np.ndarray]] = {}
    for split in ("train", "val"):  # an image may be in both, in batches of different sizes
        rows = Cell.open(cell_address(family, "tiny", split)).read()
        for digest, row in zip(read_index(family).digests(split), rows, strict=True):
            whole.setdefault(digest, []).append(row)
    for name in inside:
        extract(study, name)
        for digest, row in rows_by_image(name).items():
            assert any(np.array_equal(row, one) for one in whole[digest])
        for split, part in json.loads(provenance_path(name, "tiny").read_text())["splits"].items():
            assert sum(part["copied"].values()) == counts[name][split]
            assert {cell.rpartition("/")[0] for cell in part["copied"]} == {f"{family}/tiny"}
    assert passes == []


def test_deleted_images_leave_no_row_behind(study, passes):
    def held() -> int:
        return sum(len(data) for data in study.files("data/embeddings/pets/tiny.zarr").values())

    gone = {digest for split in ("train", "val") for digest in read_index("pets").digests(split)}
    size = held()
    for path in (study.folder / "images").glob("*/*.png"):
        if int(path.stem) % 4:
            path.unlink()
    extract(study)
    rows = rows_by_image()
    gone -= rows.keys()
    assert (len(rows), len(gone), passes) == (12, 36, [])
    cells = [Cell.open(cell_address("pets", "tiny", split)) for split in ("train", "val")]
    assert sum(cell.manifest.rows for cell in cells) == 12
    assert {bytes(row).hex() for cell in cells for row in cell.digests()} == {
        digest[: 2 * ROW_BYTES] for digest in rows
    }
    assert held() < size - 30 * 4 * cells[0].manifest.columns  # nor as bytes


def test_overlapping_data_sets_cost_only_what_is_new(study, passes):
    shutil.copytree("images/cat", "more/one/feline")  # also other names, labels, order
    shutil.copytree("images/emu", "more/one/bird")
    fill_folder(study.folder / "more/one", {"fish": 6}, seed=777)
    study.params["datasets"]["more"] = {
        "source": "folder", "path": "more/one", "role": "out_of_domain", "val_fraction": 0.4
    }  # fmt: skip
    extract(study, "more")
    assert sum(passes) == 2 * 6
    facts = json.loads(provenance_path("more", "net").read_text())
    copied = [split.get("copied", {}) for split in facts["splits"].values()]
    assert sum(sum(split.values()) for split in copied) == 32
    same(rows_by_image("more"), fresh_rows(study, "more"))


def test_a_model_of_another_name_takes_the_rows_and_another_model_does_not(study, passes):
    study.params["models"]["alias"] = {**VIT, "family": "other"}
    extract(study)
    assert passes == []
    same(rows_by_image(model="alias"), rows_by_image())


OTHERWISE = {
    "weights": lambda p: p["models"]["tiny"].update(weights="random(1)"),
    "arguments": lambda p: p["models"]["tiny"].update(arguments={"img_size": 32, "depth": 2}),
    "mean": lambda p: p["models"]["tiny"].update(mean=[0.1, 0.2, 0.3]),
    "crop": lambda p: p["models"]["tiny"].update(crop=0.5),
    "feature": lambda p: p["models"]["tiny"].update(feature="cls"),
    "pad": lambda p: p["datasets"]["pets"].update(pad=True),
    "precision": lambda p: p["extraction"].update(precision="bfloat16"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_whatever_changes_a_row_is_computed(study, passes, what):
    study.params["models"] = {"tiny": {**VIT}}
    OTHERWISE[what](study.params)
    said = extract(study)
    assert sum(passes) >= 48
    assert "held already" not in said
    assert "copied" not in provenance_path("pets", "tiny").read_text()


def test_rows_of_float16_never_come_into_a_cell_of_float32(study, passes):
    study.params["models"] = {"net": RESNET}  # whose columns are wide enough for float16
    study.params["extraction"]["storage"] = "float16"
    exact = rows_by_image(model="net")
    extract(study)
    assert passes == []  # from float32 to float16 they are rounded as if they were computed
    rounded = Cell.open(cell_address("pets", "net", "train"))
    if rounded.manifest.dtype == "float16":
        for digest, row in rows_by_image(model="net").items():
            assert np.array_equal(row, exact[digest].astype(np.float16))
    study.params["extraction"]["storage"] = "float32"
    extract(study)
    assert sum(passes) == (48 if rounded.manifest.dtype == "float16" else 0)
    same(rows_by_image(model="net"), exact)


def test_views_follow_their_image_not_its_place(study, passes):
    study.params["models"] = {"tiny": VIT}
    study.params["extraction"]["views"] = 1
    extract(study)
    assert sum(passes) == len(read_index("pets").split("train"))
    passes.clear()
    rename_a_folder(study)  # its images come last now
    extract(study)
    assert passes == []


def test_a_damaged_chunk_is_not_copied_but_computed(study, passes):
    path = cell_address("pets", "tiny", "train").path / chunk_name(1)
    before = rows_by_image()
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    written = path.stat().st_mtime_ns
    path.write_bytes(data)
    import os

    os.utime(path, ns=(written, written))  # as a disk does it
    correct_a_label(study)
    extract(study)
    assert sum(passes) == 8
    same(rows_by_image(), before)


def stop_after(monkeypatch, chunks: int):
    """A run that ends (as by Ctrl-C) when so many chunks are committed."""
    from cache.writer import CellWriter

    write, left = CellWriter.write, [chunks]

    def stopping(self, *arguments, **options):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return write(self, *arguments, **options)

    monkeypatch.setattr(CellWriter, "write", stopping)


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_interrupted_while_copying_it_goes_on_by_its_plan(study, passes, monkeypatch, chunks):
    before = rows_by_image()
    correct_a_label(study)
    study.run("index", "pets").succeeded()
    with monkeypatch.context() as patch:
        stop_after(patch, chunks)
        assert study.run("extract", "pets").status == 130
    assert cell_address("pets", "tiny", "train").plan.is_file()
    study.run("extract", "pets").succeeded("rows were held already, copied", "2 cached, 0 computed")
    assert passes == []
    same(rows_by_image(), before)
    assert study.left_overs() == []


def test_resumed_without_one_of_its_sources_it_is_planned_anew_and_says_so(
    study, passes, monkeypatch, caplog
):
    study.params["models"] = {"tiny": VIT}
    expected = rows_by_image()
    shutil.copytree("images", "copy")
    study.params["datasets"]["copy"] = {"source": "folder", "path": "copy", "role": "in_domain"}
    study.write()
    study.run("index", "copy").succeeded()
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert study.run("extract", "copy").status == 130
    shutil.rmtree(cell_address("pets", "tiny", "train").path)
    with caplog.at_level(logging.WARNING):
        study.run("extract", "copy").succeeded()
    assert "pets/tiny.zarr/train, which has gone or changed; planned anew" in caplog.text
    # Of the 38 to 40 train images of the source, two chunks of eight had been copied.
    train = len(read_index("copy").split("train"))
    assert sum(passes) == train - 16
    same(rows_by_image("copy"), expected)


def test_a_source_that_was_made_again_otherwise_is_not_followed_blindly(study, monkeypatch, caplog):
    study.params["models"] = {"tiny": VIT}
    expected = rows_by_image()
    shutil.copytree("images", "copy")
    study.params["datasets"]["copy"] = {"source": "folder", "path": "copy", "role": "in_domain"}
    study.write()
    study.run("index", "copy").succeeded()
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert study.run("extract", "copy").status == 130
    delete_images(study)  # the rows of its cells move up
    extract(study)
    with caplog.at_level(logging.WARNING):
        study.run("extract", "copy").succeeded()
    assert "planned anew" in caplog.text
    same(rows_by_image("copy"), expected)


def as_of_the_former_layout(address: CellAddress) -> None:
    """A cell as it was before rows had digests."""
    path = address.path / "zarr.json"
    manifest = Manifest.read(path)
    members = json.loads(path.read_bytes())["consolidated_metadata"]["metadata"]
    del members["digest"]
    digests = {n: d for n, d in manifest.digests.items() if not n.startswith("digest/")}
    path.write_bytes(replace(manifest, format=1, digests=digests).to_bytes(members))
    shutil.rmtree(address.path / "digest")
    (address.store / "zarr.json").write_bytes(root_group(address.store))
    assert verify(address, deep=True) == []


@pytest.mark.parametrize("first", ["extract", "index"])
def test_a_cell_of_the_former_layout_is_told_its_digests_and_keeps_its_key(study, passes, first):
    study.knn().succeeded()
    addresses = [cell_address("pets", m, s) for m in MODELS for s in ("train", "val")]
    keys = [Cell.open(a).manifest.fingerprint for a in addresses]
    sealed = study.files("data/embeddings")
    for address in addresses:
        as_of_the_former_layout(address)
    if first == "extract":
        assert "2 cached, 0 computed" in study.run("extract", "pets").succeeded()
        assert study.files("data/embeddings") == sealed
        assert [Cell.open(a).manifest.fingerprint for a in addresses] == keys
        study.knn().succeeded("2 cached, 0 computed")
    rename_a_folder(study)  # no path of the new index is that of the old cell
    delete_images(study)
    extract(study)
    assert passes == []
    rows_by_image()


def test_nothing_is_read_of_digests_where_cells_are_current(study, monkeypatch):
    def never(self):
        raise AssertionError("digests were read")

    monkeypatch.setattr(Cell, "digests", never)
    study.run("extract", "pets").succeeded("2 cached, 0 computed")


def test_an_image_that_changes_while_it_is_read_gives_no_row(study, monkeypatch):
    """Its bytes are compared with the index, and those very bytes are decoded."""
    from pipeline.datasets.folders import Folder

    draw(31).save("images/cat/950.png")
    study.run("index", "pets").succeeded()
    read = Folder.read

    def torn(self, entry):
        data = read(self, entry)
        return data[:-1] + b"x" if entry.path.endswith("950.png") else data

    monkeypatch.setattr(Folder, "read", torn)
    study.run("extract", "pets").refused("cat/950.png", "the image is not the one that was indexed")
