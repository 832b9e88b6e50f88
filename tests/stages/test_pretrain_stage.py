"""The pretrain stage as users run it."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time

import pytest
from projects import RESNET, VIT

from pipeline.pretraining.entries import training_samples
from pipeline.study.pretraining import Pretrain


def entry(method: str, backbone: dict = VIT, **options) -> dict:
    return {
        "method": method,
        "architecture": backbone["architecture"],
        **({"arguments": dict(backbone["arguments"])} if "arguments" in backbone else {}),
        "dataset": "pets",
        "input_size": 32,
        "epochs": 2,
        "batch_size": 4,
        **options,
    }


def model(name: str, backbone: dict = VIT) -> dict:
    return {**backbone, "weights": f"pretrain({name})"}


@pytest.fixture
def small(project, monkeypatch):
    """Two models to pre-train on pictures of pets, indexed; in this process."""
    project.params["pretrain"] = {
        "control": entry("random", RESNET),
        "labelled": entry("supervised"),
    }
    project.params["models"] = {"one": model("labelled"), "none": model("control", RESNET)}
    project.write()
    project.run("index", "pets").succeeded()
    return project


def record(project, name: str) -> dict:
    return json.loads((project.folder / f"data/checkpoints/{name}.json").read_text())


def test_checkpoints_are_made_once_and_extracted(small):
    small.run("pretrain").succeeded("0 cached, 2 computed")
    before = small.files("data/checkpoints")
    assert sorted(before) == [
        "data/checkpoints/.folder",
        *(
            f"data/checkpoints/{name}{suffix}"
            for name in ("control", "labelled")
            for suffix in (".json", ".safetensors")
        ),
    ]
    made = record(small, "labelled")
    assert [set(e) for e in made["epochs"]] == [{"loss", "seconds"}] * 2
    assert (made["images"], made["dataset"], made["collapsed"]) == (8, "pets", False)
    assert made["versions"].keys() >= {"torch", "lightly", "timm"}
    # As a run leaves it that is stopped when all is stored.
    (small.folder / "data/checkpoints/labelled.training.partial").write_bytes(b"a state")
    small.run("pretrain").succeeded("2 cached, 0 computed")
    assert small.files("data/checkpoints") == before
    small.run("extract", "pets").succeeded("2 computed")
    assert small.left_overs() == []


def test_only_the_entry_that_changed_is_trained_again(small):
    small.run("pretrain").succeeded()
    before = small.files("data/checkpoints")
    small.params["pretrain"]["labelled"]["epochs"] = 3
    small.write()
    said = small.run("pretrain").succeeded("1 cached, 1 computed")
    assert "labelled is stale, trained again: settings.epochs: 2 -> 3" in said
    after = small.files("data/checkpoints")
    assert {p.split("/")[-1].split(".")[0] for p in after if after[p] != before[p]} == {"labelled"}

    # The embeddings of that model are stale, too; the other's are not.
    small.run("extract", "pets").succeeded("2 computed")
    small.params["pretrain"]["labelled"]["seed"] = 1
    small.write()
    small.run("pretrain").succeeded("1 computed")
    small.run("extract", "pets").succeeded("1 cached, 1 computed", "one is stale")


def test_a_renamed_entry_or_another_data_set_with_the_same_images_costs_nothing_downstream(small):
    small.run("pretrain").succeeded()
    small.run("extract", "pets").succeeded("2 computed")
    small.params["datasets"]["again"] = dict(small.params["datasets"]["pets"])
    small.params["pretrain"]["labelled"]["dataset"] = "again"
    small.write()
    small.run("index", "again").succeeded()
    small.run("pretrain").succeeded("2 cached")


def test_damaged_weights_are_trained_again(small):
    small.run("pretrain").succeeded()
    path = small.folder / "data/checkpoints/labelled.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    small.run("pretrain").succeeded("labelled is damaged", "1 cached, 1 computed")
    assert path.read_bytes() == whole  # the same machine, the same weights


def test_processes_side_by_side_give_the_same_weights(small, monkeypatch):
    small.params["pretrain"]["contrasted"] = entry("simclr")
    small.write()
    small.run("pretrain").succeeded("3 computed")
    alone = {n: record(small, n)["weights"] for n in small.params["pretrain"]}
    for name in alone:
        (small.folder / f"data/checkpoints/{name}.json").unlink()
    monkeypatch.setattr("pipeline.machine.process_pool.cpu_count", lambda: 2)
    small.run("pretrain").succeeded("3 computed")
    assert {n: record(small, n)["weights"] for n in alone} == alone


def test_one_that_fails_leaves_the_others(small, monkeypatch):
    small.params["pretrain"]["wild"] = entry("supervised", RESNET, learning_rate=1e30, epochs=50)
    small.write()
    small.run("pretrain").refused(
        "pretrain.wild", "the loss is not a finite number", "of 50", "lower `learning_rate`"
    )
    assert record(small, "labelled")["weights"]
    assert not (small.folder / "data/checkpoints/wild.safetensors").exists()
    del small.params["pretrain"]["wild"]
    small.write()
    small.run("pretrain").succeeded("2 cached, 0 computed")


def test_no_entries_take_no_time_and_leave_the_folder(project):
    project.write()
    project.run("index", "pets").succeeded()
    project.run("pretrain").succeeded("0 cached, 0 computed")
    assert (project.folder / "data/checkpoints").is_dir()


def test_nothing_to_do_imports_no_torch(small):
    small.run("pretrain").succeeded()
    ran = small.shell(
        "-c",
        "import sys, stages.pretrain as p\n"
        "p.main(standalone_mode=False)\n"
        "print([m for m in ('torch', 'timm', 'lightly', 'sklearn') if m in sys.modules])",
    )
    assert ran.out.splitlines()[-1] == "[]", ran.err


REFUSED = {
    "method": ({"method": "simclear"}, ("pretrain.labelled.method", "did you mean simclr?")),
    "data set": ({"dataset": "pet"}, ("pretrain.labelled.dataset", "did you mean pets?")),
    "share": ({"share": 0.0}, ("pretrain.labelled.share", "greater than 0")),
    "architecture": (
        {"architecture": "test_vitt", "arguments": {}},
        ("models.one.architecture", "test_vitt, as it was pre-trained"),
    ),
    "arguments": ({"arguments": {"img_size": 64}}, ("models.one", "as it was pre-trained")),
    "one class": ({"classes": ["cat"]}, ("pretrain.labelled.classes", "at least two classes")),
    "a class": ({"classes": ["cat", "dogg"]}, ("pretrain.labelled.classes", "did you mean dog?")),
    "a wrong word": ({"epoch": 3}, ("pretrain.labelled.epoch", "`epochs`")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_entries_that_can_not_be(small, what):
    change, words = REFUSED[what]
    small.params["pretrain"]["labelled"] |= change
    small.write()
    small.run("pretrain").refused(*words)


def test_a_batch_larger_than_the_data_set(small):
    small.params["pretrain"]["labelled"]["batch_size"] = 9
    small.write()
    small.run("pretrain").refused("pretrain.labelled.batch_size", "at most 8", "raise `share`")


def test_a_model_of_an_entry_that_is_not_there(small):
    small.params["models"]["one"]["weights"] = "pretrain(labeled)"
    small.write()
    small.run("pretrain").refused("models.one.weights", "did you mean labelled?")


def test_names_that_one_file_would_have_to_serve(small):
    small.params["pretrain"]["Control"] = entry("random", RESNET)
    small.write()
    small.run("pretrain").refused("differs from", "capitals")


def test_an_architecture_that_is_not_there(small):
    small.params["pretrain"]["labelled"] |= {"architecture": "test_vi", "arguments": {}}
    small.params["models"] = {"none": model("control", RESNET)}
    small.write()
    small.run("pretrain").refused("pretrain.labelled.architecture", "test_vit")


def test_shares_are_nested_and_of_every_class(small):
    from pipeline.datasets.index import read_index

    index = read_index("pets")
    parts = [
        set(training_samples(Pretrain(**entry("random", share=s)), index)["path"])
        for s in (0.3, 0.6, 1.0)
    ]
    assert [len(p) for p in parts] == [2, 4, 8]
    assert parts[0] < parts[1] < parts[2]
    assert {path.split("/")[0] for path in parts[0]} == {"cat", "dog"}


def test_only_some_classes_are_seen(small):
    """Of three, and under other numbers than the data set's own."""
    from projects import fill_folder

    from pipeline.datasets.index import read_index

    fill_folder(small.folder / "images", {"ape": 5})
    small.params["pretrain"]["labelled"]["classes"] = ["dog", "cat"]
    small.write()
    small.run("index", "pets").succeeded()
    small.run("pretrain").succeeded("2 computed")
    made = record(small, "labelled")
    assert (made["images"], made["key"]["settings"]["classes"]) == (8, ["cat", "dog"])
    assert made["chance_loss"] == pytest.approx(math.log(2))
    settings = Pretrain(**small.params["pretrain"]["labelled"])
    assert set(training_samples(settings, read_index("pets"))["class"]) == {"cat", "dog"}

    small.params["pretrain"]["labelled"]["classes"] = ["cat", "dog"]
    small.write()
    small.run("pretrain").succeeded("2 cached")
    small.params["pretrain"]["labelled"]["classes"] = []
    small.write()
    small.run("pretrain").succeeded("1 cached, 1 computed")
    made = record(small, "labelled")
    assert (made["images"], "classes" in made["key"]["settings"]) == (12, False)


def test_a_training_that_learned_nothing_is_named_at_every_run(small):
    small.params["pretrain"]["labelled"]["learning_rate"] = 1e-12
    small.write()
    for found in ("2 computed", "2 cached"):
        said = small.run("pretrain").succeeded(found)
        assert "warning: labelled has hardly been trained: its last loss" in said
        assert "control" not in said


@pytest.mark.slow
def test_a_killed_stage_goes_on_where_it_was(small):
    """Kill -9 in the middle; the weights are those of a run that nobody stopped."""
    small.params["pretrain"]["labelled"]["epochs"] = 400
    small.write()
    small.run("pretrain").succeeded()
    whole = record(small, "labelled")
    for path in (small.folder / "data/checkpoints").glob("labelled*"):
        path.unlink()
    process = subprocess.Popen([sys.executable, "-m", "stages.pretrain"], cwd=small.folder)
    state = small.folder / "data/checkpoints/labelled.training.partial"
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state.exists()
    small.run("pretrain").succeeded("1 cached, 1 computed")
    resumed = record(small, "labelled")
    assert resumed["weights"] == whole["weights"]
    assert [e["loss"] for e in resumed["epochs"]] == [e["loss"] for e in whole["epochs"]]
    assert small.left_overs() == []
