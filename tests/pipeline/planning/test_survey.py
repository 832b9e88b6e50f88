"""`probeline plan` before the first run: what is counted, reckoned, fetched, and what is wrong."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import timm
from projects import REPOSITORY, RESNET, VIT, fill_folder
from safetensors.torch import save_file

from pipeline.datasets.indexing import build_index
from pipeline.embeddings import speed
from pipeline.planning import probes
from pipeline.planning import survey as surveying
from pipeline.planning.counting import count_images
from pipeline.planning.probes import ProbePlan
from pipeline.planning.question import open_question
from pipeline.planning.stage_times import in_words, where_we_are
from pipeline.planning.survey import survey
from pipeline.study.params import load_study


@pytest.fixture
def fast(monkeypatch):
    """A machine of known speed: 2 GMAC a second for convolutions, 4 for transformers."""
    monkeypatch.setattr(surveying, "measure_speed", lambda precision: speed.Speed(2.0, 4.0))


@pytest.mark.parametrize(
    "entry",
    [
        {"source": "builtin:digits"},
        {"source": "builtin:digits", "limit_per_class": 7, "val_fraction": 0.37, "seed": 3},
        {"source": "builtin:digits", "test_only": True},
        {"source": "folder", "path": "images"},
        {"source": "folder", "path": "images", "test_only": True},
    ],
    ids=str,
)
def test_what_is_counted_is_about_what_the_index_will_hold(project, entry):
    project.params["datasets"] = {"pets": {"role": "in_domain", **entry}}
    project.write()
    dataset = load_study().datasets["pets"]
    counted = count_images("pets", dataset, None)
    assert not Path("data").exists()  # looking makes nothing
    index = build_index("pets", dataset)
    splits = index.rows["split"].to_pylist()
    # Which image goes to which split hangs on its bytes, which nobody has read so far.
    assert counted.train + counted.val == len(splits)
    assert abs(counted.val - splits.count("val")) <= 4 * np.sqrt(len(splits))
    assert (counted.train == 0) == ("train" not in splits)
    assert counted.classes == len(index.classes)
    assert counted.problem is None


def test_before_the_first_run_all_is_known_and_nothing_is_made(project, fast):
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.write()
    found = survey(load_study())
    (plan,) = found.plans
    assert (plan.train + plan.val, plan.missing, plan.passes) == (10, 2, 20)
    assert plan.size == 10 * 2 * (64 + found.sizes["net"].columns)
    assert found.reckoned == ("tiny", "net")
    gmacs = {name: size.gmacs for name, size in found.sizes.items()}
    assert plan.seconds == pytest.approx(10 * (gmacs["tiny"] / 4 + gmacs["net"] / 2))
    assert found.problems == ()
    assert not Path("data").exists()
    said = project.run("cli", "plan").succeeded("listed", "2 GMAC a second for convolutions")
    assert "?" not in said


def test_what_ran_here_is_measured_and_not_reckoned(project, monkeypatch):
    project.prepare()
    monkeypatch.setattr(surveying, "measure_speed", lambda precision: pytest.fail("not needed"))
    fill_folder(Path("images"), {"cat": 9, "dog": 9})
    Path("data/index/pets.parquet").unlink()
    found = survey(load_study())
    assert found.reckoned == ()
    assert found.plans[0].seconds > 0


def test_all_that_would_stop_a_run_is_listed_at_once(project, fast):
    project.params["datasets"]["nowhere"] = {
        "source": "folder", "path": "no/such", "role": "in_domain"
    }  # fmt: skip
    project.params["datasets"]["alone"] = {
        "source": "folder", "path": "images/cat", "role": "in_domain"
    }  # fmt: skip
    project.params["models"] |= {
        "typo": {**RESNET, "architecture": "resnet5O"},
        "lost": {**RESNET, "weights": "none/lost.pth"},
    }
    project.write()
    ran = project.run("cli", "plan")
    message = ran.refused("4 things would stop `dvc repro`")
    for words in ("nowhere.path: this path does not exist", "data set alone", "no/such",
                  "timm knows no such architecture", "lost.weights: there is no such checkpoint",
                  "did you mean resnet50"):  # fmt: skip
        assert words in message
    assert "pets" in ran.out  # the rest of the plan is there


def test_weights_that_timm_has_count_until_they_are_here(project, fast, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(project.folder / "hub"))
    project.params["models"] = {
        "first": {"architecture": "resnet10t.c3_in1k", "weights": "pretrained"},
        "again": {
            "architecture": "resnet10t.c3_in1k", "weights": "pretrained", "feature": "mean_patch"
        },
        "drawn": RESNET,
    }  # fmt: skip
    project.write()
    downloads = survey(load_study()).downloads
    network = timm.create_model("resnet10t", num_classes=0)
    assert downloads.of_hubs == 1
    assert downloads.hub_bytes == 4 * sum(p.numel() for p in network.parameters())
    place = Path("data/weights/timm--resnet10t.c3_in1k/model.safetensors")
    place.parent.mkdir(parents=True)
    save_file(network.state_dict(), place)
    downloads = survey(load_study()).downloads
    assert (downloads.of_hubs, downloads.hub_bytes) == (0, 0)


def test_a_disk_without_room_is_said_before(project, fast, monkeypatch):
    project.params["models"]["large"] = {"architecture": "resnet50", "weights": "pretrained"}
    project.write()
    usage = surveying.shutil.disk_usage(Path())
    monkeypatch.setattr(surveying.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    project.run("cli", "plan").refused("the disk has no room", "0.1 GB free")


def test_memory_and_time_of_probes_grow_with_the_images(project, fast, monkeypatch):
    def needed() -> tuple[float, ProbePlan]:
        found = survey(load_study())
        (extract,) = found.memory
        (linear,) = (probe for probe in found.probes if probe.protocol == "linear")
        return extract.size, linear

    monkeypatch.setattr(probes, "products_a_second", lambda: 1e9)

    expected = {"train": 1000, "val": 100, "classes": 10}
    entry = {"source": "known:cifar100", "path": "none", "role": "in_domain", "expected": expected}
    project.params["datasets"]["pets"] = entry
    project.write()
    small = needed()
    entry["expected"] = {**expected, "train": 100_000}
    project.write()
    large = needed()
    assert large[0] == small[0]
    assert large[1].size > 1.5 * small[1].size  # each is a process, too
    assert 20 < large[1].seconds / small[1].seconds < 400
    monkeypatch.setenv("PROBELINE_MEMORY", "255MB")  # a process, and hardly anything
    assert needed()[1].refused
    project.run("cli", "plan").succeeded("will be left out")


def studied(project, datasets: dict[str, str], families: list[str]):
    project.params["datasets"] = {
        name: {"source": "folder", "path": "images", "role": role}
        for name, role in datasets.items()
    }
    project.params["models"] = {
        f"m{n}": {**VIT, "weights": f"random({n})", "family": family}
        for n, family in enumerate(families)
    }
    project.write()
    return load_study()


def test_the_second_question_says_what_it_needs(project):
    seven = [*"abcdefg", "a"]
    said = " ".join(open_question(studied(project, {"mine": "in_domain"}, seven)))
    assert "With 8 models of 7 families and 1 data set, the second question stays open" in said
    assert "`role: out_of_domain`, to predict (it has 1 and 0)" in said
    assert "at least 4 models" not in said
    both = {"mine": "in_domain", "theirs": "out_of_domain"}
    assert open_question(studied(project, both, seven)) == []
    few = " ".join(open_question(studied(project, both, ["a", "a", "b"])))
    assert "at least 4 models, for a rank correlation (it has 3)" in few
    assert "at least 5 families for intervals, better 8 (it has 2)" in few


def test_plan_says_it(project, fast):
    project.run("cli", "plan").succeeded("With 1 model of 1 family and 1 data set")


def test_plan_prints_every_transform_with_its_origin(project, fast):
    project.params["models"]["net"] = {**RESNET, "mean": [0.25] * 3, "weights": "own.pth"}
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), "own.safetensors")
    project.params["models"]["net"]["weights"] = "own.safetensors"
    project.write()
    said = project.run("cli", "plan").succeeded("net: mean 0.25 0.25 0.25", "(given)")
    assert "warning: net is a checkpoint of your own, and std, crop" in said


def test_the_speed_is_of_networks_that_ran(project, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    found = speed.measure_speed("float32")
    assert 0 < found.convolutions < math.inf
    assert 0 < found.products < math.inf


ORDER = ["study", "index@a", "extract@a", "report"]


@pytest.mark.parametrize(
    ("stage", "times", "line"),
    [
        ("index@a", {}, "stage 2 of 4: index@a"),
        ("report", {"report": 8.2}, "stage 4 of 4: report, about 8 s"),
        (
            "index@a",
            {"index@a": 2, "extract@a": 600, "report": 60},
            "stage 2 of 4: index@a, about 2 s; then about 11 min for the rest",
        ),
        (
            "study",
            {"extract@a": 7200},
            "stage 1 of 4: study; then at least 2.0 h for the rest, 2 of whose 3 stages never ran "
            "here",
        ),
    ],
)
def test_where_we_are(stage, times, line):
    assert where_we_are(stage, ORDER, times) == line


def test_lengths_of_time_in_words():
    lengths = (0, 99, 100, 5900, 6000, 172_799, 864_000)
    words = ["1 s", "99 s", "2 min", "98 min", "1.7 h", "48.0 h", "10.0 days"]
    assert [in_words(seconds) for seconds in lengths] == words


def test_studies_of_the_repository_are_surveyed(project, fast):
    """Their order of stages too: see tests/stages/test_announce.py."""
    project.write((REPOSITORY / "studies" / "paper.yaml").read_text(encoding="utf-8"))
    found = survey(load_study())
    assert sum(p.missing for p in found.plans) == 26 * 14
    assert found.downloads.checkpoints == 26
    assert set(found.sizes) == set(load_study().models)
    assert len(found.transforms) == 1
