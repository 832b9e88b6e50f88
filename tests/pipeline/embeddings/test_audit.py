"""What reduced precision changes is measured, recorded, said and shown; float32 pays nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from projects import RESNET, VIT, fill_folder
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from cache.cell import Cell
from cache.seals import read_sealed_json
from pipeline.embeddings import audit
from pipeline.embeddings import missing as extraction
from pipeline.embeddings.audit import IMAGES, audit_rows, compare, predict_others
from pipeline.project.paths import cell_address, provenance_path

CLS = {**VIT, "feature": "cls"}


@given(st.integers(1, 100_000))
def test_rows_are_spread_evenly_over_the_split(rows):
    chosen = audit_rows(rows)
    assert len(chosen) == min(rows, IMAGES)
    assert chosen[0] == 0
    assert chosen[-1] < rows
    steps = np.diff(np.append(chosen, rows))
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize(("images", "k"), [(2, 1), (9, 8), (60, 20)])
def test_leave_one_out_predictions_are_scikit_learns(images, k):
    rng = np.random.default_rng(images)
    features, labels = rng.normal(size=(images, 5)), rng.integers(0, 3, images)
    features += labels[:, None]
    model = KNeighborsClassifier(k, weights="distance", algorithm="brute")
    expected = cross_val_predict(model, features, labels, cv=LeaveOneOut())
    assert predict_others(features, labels).tolist() == expected.tolist()


def test_a_twin_votes_for_its_own_class_and_the_image_itself_does_not():
    features = np.array([[0.0], [0.0], [5.0], [6.0]])
    assert predict_others(features, np.array([0, 1, 2, 2])).tolist() == [1, 0, 2, 2]


@settings(deadline=None)
@given(arrays(np.float32, (12, 4), elements=st.floats(0.5, 100, width=32)), st.floats(0, 0.5))
def test_a_change_of_length_by_a_share_is_found_as_that_share(features, share):
    labels = np.arange(12) % 2
    found = compare(features, features * np.float32(1 + share), labels)
    assert found.median == pytest.approx(share, abs=1e-5)
    assert found.maximum == pytest.approx(share, abs=1e-5)
    assert compare(features, features, labels) == audit.Audit(12, 0, 0, 0)


def test_a_row_of_zeros_that_does_not_stay_one_differs_by_all_of_itself():
    before, after = np.zeros((3, 2), np.float32), np.array([[0, 0], [0, 4], [0, 0.5]], np.float32)
    found = compare(before, after, np.array([0, 1, 1]))
    assert (found.median, found.maximum) == (1, 1)


@pytest.fixture
def passes(monkeypatch):
    """Images that each way of computing has seen."""
    from pipeline.embeddings.forward import Forward

    seen: dict[str, int] = {}
    begin, call = Forward.__init__, Forward.start

    def init(self, model, machine, precision="float32", *rest, **more):
        self.way = precision
        begin(self, model, machine, precision, *rest, **more)

    def count(self, pixels, kinds):
        seen[self.way] = seen.get(self.way, 0) + len(pixels)
        return call(self, pixels, kinds)

    monkeypatch.setattr(Forward, "__init__", init)
    monkeypatch.setattr(Forward, "start", count)
    return seen


def in_precision(project, precision="bfloat16", **models):
    project.params["extraction"]["precision"] = precision
    project.params["models"] = models or {"tiny": VIT}
    project.write()
    project.run("index", "pets").succeeded()


def recorded(model="tiny") -> dict:
    return read_sealed_json(provenance_path("pets", model))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_audit_is_of_the_very_features_and_is_recorded_and_said(project, precision):
    fill_folder(project.folder / "images", {"cat": 12, "dog": 12})
    in_precision(project, "float32")
    project.run("extract", "pets").succeeded()
    exact = Cell.open(cell_address("pets", "tiny", "train")).read().astype(np.float64)
    assert "audit" not in recorded()
    in_precision(project, precision)
    said = project.run("extract", "pets").succeeded("extract pets: tiny: in " + precision)
    reduced = Cell.open(cell_address("pets", "tiny", "train")).read().astype(np.float64)
    differs = np.linalg.norm(reduced - exact, axis=1) / np.linalg.norm(exact, axis=1)
    found = recorded()["audit"]
    assert (found["precision"], found["images"]) == (precision, len(exact))
    # The cells are rounded to float16 (2**-11), which the audit looks behind.
    assert found["median"] == pytest.approx(np.median(differs), abs=2**-11)
    assert found["maximum"] == pytest.approx(differs.max(), abs=2**-11)
    assert found["median"] > 1e-4
    assert 0 <= found["changed"] <= 1
    assert f"rows of {len(exact)} images" in said


def test_float32_pays_nothing_and_reduced_pays_each_image_twice(project, passes):
    project.params["extraction"]["storage"] = "float32"  # no second pass for columns that need it
    in_precision(project, "float32")
    project.run("extract", "pets").succeeded()
    assert passes == {"float32": 10}
    passes.clear()
    in_precision(project, tiny=VIT, cls=CLS, net=RESNET)  # tiny and cls share a network
    said = project.run("extract", "pets").succeeded("3 computed").splitlines()
    assert passes == {"float32": 2 * 8, "bfloat16": 2 * 8 + 2 * 10}
    assert [line for line in said if "float32 by" in line] == [
        line for name in ("tiny", "cls", "net") for line in said if line.split(": ")[1:2] == [name]
    ]
    passes.clear()
    assert "differ" not in project.run("extract", "pets").succeeded("3 cached, 0 computed")
    assert passes == {}


def test_at_most_so_many_images_are_audited_in_batches_and_in_order(project, passes, monkeypatch):
    fill_folder(project.folder / "images", {"cat": 15, "dog": 15})
    in_precision(project)
    project.run("extract", "pets").succeeded()
    whole = recorded()["audit"]
    assert passes["float32"] == whole["images"] > 8
    provenance_path("pets", "tiny").unlink()
    (project.folder / "data/embeddings/pets/tiny.zarr/train/zarr.json").unlink()
    monkeypatch.setattr(audit, "IMAGES", 8)
    monkeypatch.setenv("PROBELINE_BATCH_SIZE", "4")
    passes.clear()
    project.run("extract", "pets").succeeded("1 computed")
    assert passes["float32"] == recorded()["audit"]["images"] == 8
    assert 0 < recorded()["audit"]["maximum"] <= whole["maximum"] + 1e-9


def test_killed_after_the_audit_it_is_not_made_again(project, passes, monkeypatch):
    in_precision(project)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(extraction, "extract_splits", killed)
        assert project.run("extract", "pets").status == 130
    assert passes["float32"] == 8
    passes.clear()
    project.run("extract", "pets").succeeded("in bfloat16", "1 computed")
    assert "float32" not in passes
    assert recorded()["audit"]["images"] == 8
    assert set(recorded()["splits"]) == {"train", "val"}


def test_killed_during_the_audit_there_is_no_cell_without_one(project, monkeypatch):
    in_precision(project)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(audit, "compare", killed)
        assert project.run("extract", "pets").status == 130
    assert not cell_address("pets", "tiny", "train").path.exists()
    project.run("extract", "pets").succeeded("in bfloat16", "1 computed")
    assert recorded()["audit"]["images"] == 8


def test_other_weights_are_audited_anew_and_back_in_float32_none_is_left(project, passes):
    in_precision(project)
    project.run("extract", "pets").succeeded()
    first = recorded()["audit"]
    in_precision(project, tiny={**VIT, "weights": "random(1)"})
    project.run("extract", "pets").succeeded("in bfloat16")
    assert recorded()["audit"]["cell"] != first["cell"]
    assert recorded()["audit"]["median"] != first["median"]
    in_precision(project, "float32", tiny={**VIT, "weights": "random(1)"})
    assert "differ" not in project.run("extract", "pets").succeeded("1 computed")
    assert "audit" not in recorded()


def test_an_audit_does_not_rewrite_what_is_recorded_of_the_cells_that_are_there(
    project, monkeypatch
):
    in_precision(project, "float32")
    project.run("extract", "pets").succeeded()
    before = recorded()
    in_precision(project)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(extraction, "extract_splits", killed)
        project.run("extract", "pets")
    after = recorded()
    assert after.pop("audit")["precision"] == "bfloat16"
    assert after == before
    in_precision(project, "float32")
    project.run("extract", "pets").succeeded("1 cached, 0 computed")


def test_a_network_that_overflows_in_half_precision_names_image_and_layer(project):
    import timm
    from safetensors.torch import save_file

    state = timm.create_model("test_vit", num_classes=0, img_size=32).state_dict()
    state["blocks.1.mlp.fc1.bias"] += 1e5  # beyond float16's 65,504
    save_file(state, "loud.safetensors")
    in_precision(project, "float16", loud={**VIT, "weights": "loud.safetensors"})
    message = project.run("extract", "pets").refused("model loud on image", "precision: float32")
    assert "blocks.1" in message
    in_precision(project, "float32", loud={**VIT, "weights": "loud.safetensors"})
    project.run("extract", "pets").succeeded("1 computed")


def test_the_audit_leaves_the_network_and_the_random_state_alone(project):
    state = torch.get_rng_state().tolist()
    in_precision(project, net=RESNET)
    project.run("extract", "pets").succeeded()
    with_audit = project.files("data/embeddings")
    assert torch.get_rng_state().tolist() == state
    import shutil

    shutil.rmtree("data/embeddings")
    project.run("extract", "pets").succeeded()  # its audit is recorded: this run makes none
    assert project.files("data/embeddings") == with_audit
