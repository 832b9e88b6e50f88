"""`probeline plan` against counts made by hand."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from projects import REPOSITORY, RESNET, VIT, fill_folder

from cache.cell import Cell
from cache.errors import ProbelineError
from cache.writer import CellWriter
from pipeline.datasets.index import former_index, read_index
from pipeline.datasets.settings import Dataset
from pipeline.embeddings import forward, sampling
from pipeline.embeddings.probing import probe
from pipeline.embeddings.speed import Speed
from pipeline.planning import survey
from pipeline.planning.counting import count_images
from pipeline.planning.plan import plan, without_rate
from pipeline.planning.planned_downloads import planned_downloads
from pipeline.study.params import load_study


def plan_of(study, probed=None):
    """With images counted as `probeline plan` counts them."""
    found = {n: count_images(n, entry, former_index(n)) for n, entry in study.datasets.items()}
    return plan(
        study, probed or {}, {n: {"train": c.train, "val": c.val} for n, c in found.items()}
    )


def planned(project):
    project.write()
    return plan_of(load_study())


def test_a_study_without_any_data_is_counted_from_what_it_declares(project):
    counts = {"train": 1_281_167, "val": 50_000, "classes": 1000}
    project.params["datasets"] = {
        "imagenet": {
            "source": "folder", "path": "none", "role": "in_domain", "expected": counts
        },
    }  # fmt: skip
    project.params["models"] = {n: {"zoo": n} for n in ("swav_resnet50", "dino_vitb16")}
    project.params["models"]["dino_patches"] = {"zoo": "dino_vitb16", "feature": "cls+mean_patch"}
    (found,) = planned(project)
    images = 1_331_167
    assert (found.train, found.val, found.missing) == (1_281_167, 50_000, 3)
    assert found.passes == 2 * images  # both features of DINO come from one pass
    assert found.size == images * 2 * (2048 + 768 + 2 * 768)
    assert math.isnan(found.seconds)


def test_the_whole_study_without_any_of_its_data():
    """26 models on 14 data sets; the totals by hand."""
    found = plan_of(load_study(REPOSITORY / "studies" / "paper.yaml"))
    images = {
        "imagenet": 1_281_166 + 50_000,
        "inaturalist": 600_000,
        "inaturalist_genus": 66_180,
        "inaturalist_species": 66_180,
        "cub": 11_788,
        "pascal": 2_913,
        "caltech256": 30_607,
        "cifar100": 60_000,
        "domainnet": 409_832 + 176_743,
    }
    assert len(found) == 14
    assert sum(p.train + p.val for p in found) == sum(images.values())
    assert sum(p.passes for p in found) == 26 * sum(images.values())
    # 17 ResNet-50 of 2,048 features and 9 ViT-B of 768, in float16.
    assert sum(p.size for p in found) == sum(images.values()) * 2 * (17 * 2048 + 9 * 768)


def test_what_is_cached_is_not_planned_and_times_come_from_it(project):
    project.prepare()
    (found,) = planned(project)
    assert (found.train, found.val) == (8, 2)
    assert (found.missing, found.passes, found.size, found.seconds) == (0, 0, 0, 0)
    project.params["models"]["more"] = {**VIT, "weights": "random(1)"}
    (found,) = planned(project)
    assert (found.missing, found.passes) == (1, 10)
    assert math.isnan(found.size)
    project.params["models"]["tiny"]["weights"] = "random(2)"  # the rate of its name is known
    del project.params["models"]["more"]
    (found,) = planned(project)
    assert found.seconds > 0


@pytest.fixture
def network(monkeypatch):
    """How many images went through networks, by the number of features that were asked for."""
    seen, real = [], forward.features_of_pixels

    def counting(backbone, batch, *rest):
        seen.append(len(batch))
        return real(backbone, batch, *rest)

    monkeypatch.setattr(forward, "features_of_pixels", counting)
    return seen


def runs_as_planned(project, network) -> int:
    """What is planned of all data sets; and that it is what `extract` runs then."""
    project.write()
    for name in project.params["datasets"]:
        project.run("index", name).succeeded()
    read = []
    with pytest.MonkeyPatch.context() as patch:
        for method in ("_read_into", "_read_rows"):
            patch.setattr(Cell, method, lambda *_: read.append(1))
        planned_images = {found.name: found.passes for found in plan_of(load_study())}
    assert read == [], "embeddings were read"
    for name, count in planned_images.items():
        network.clear()
        project.run("extract", name).succeeded()
        assert sum(network) == count, name
    assert all(found.passes == 0 for found in plan_of(load_study()))
    return sum(planned_images.values())


def test_images_that_are_held_are_not_planned(project, network):
    images, params = project.folder / "images", project.params
    params["models"]["patches"] = {**VIT, "feature": "mean_patch"}
    assert runs_as_planned(project, network) == 10  # one network, never loaded here
    (images / "cat/000.png").rename(images / "dog/900.png")
    assert runs_as_planned(project, network) == 0
    fill_folder(images, {"cat": 9, "dog": 8}, seed=100)  # some in the places of former ones
    index_before = set(read_index("pets").rows["sha256"].to_pylist())
    new = runs_as_planned(project, network)
    assert new == len({*read_index("pets").rows["sha256"].to_pylist()} - index_before) > 8
    del params["models"]["patches"]
    params["datasets"]["pets"]["limit_per_class"] = 3
    assert runs_as_planned(project, network) == 0
    fill_folder(project.folder / "more", {"cat": 2, "dog": 2}, seed=7000)
    for path in sorted((images / "cat").glob("*.png"))[:2]:
        shutil.copy(path, project.folder / "more/cat" / f"9{path.name}")
    params["datasets"]["more"] = {"source": "folder", "path": "more", "role": "in_domain"}
    held = set(read_index("pets").rows["sha256"].to_pylist())
    of_more = runs_as_planned(project, network)
    assert of_more == len({*read_index("more").rows["sha256"].to_pylist()} - held)
    params["extraction"]["views"] = 1  # views are of train
    counts = [read_index(name).digests("train") for name in ("pets", "more")]
    assert runs_as_planned(project, network) == len({*counts[0], *counts[1]})
    params["extraction"]["storage"] = "float32"
    assert runs_as_planned(project, network) > 0  # rounded rows are not copied


def test_what_a_stopped_run_has_done_is_not_planned(project, network, monkeypatch):
    monkeypatch.setattr("cache.chunking.MIN_CHUNK_ROWS", 4)
    monkeypatch.setattr(sampling, "IMAGES", 4)
    fill_folder(project.folder / "images", {"cat": 20, "dog": 20}, seed=200)
    project.write()
    project.run("index", "pets").succeeded()
    write, left = CellWriter._write, [3]

    def stopping(self, *arguments):
        write(self, *arguments)
        left[0] -= 1
        if not left[0]:
            raise ProbelineError("here", "stopped", remedy="go on")

    with monkeypatch.context() as patch:
        patch.setattr(CellWriter, "_write", stopping)
        assert project.run("extract", "pets").status == 1
    done = sum(network)
    assert 12 <= done < 40
    assert 0 < runs_as_planned(project, network) <= 40 - 12


def test_planning_many_models_reads_digests_of_the_same_images_once(project, monkeypatch):
    """A first version would have read them for each pair of cells."""
    project.params["models"] |= {f"m{n}": {**VIT, "weights": f"random({n})"} for n in range(1, 4)}
    for name in ("more", "third"):
        fill_folder(project.folder / name, {"cat": 4, "dog": 4}, seed=10_000 * len(name))
        project.params["datasets"][name] = {"source": "folder", "path": name, "role": "in_domain"}
    project.write()
    for name in project.params["datasets"]:
        project.run("index", name).succeeded()
    for name in ("pets", "more"):
        project.run("extract", name).succeeded()
    read, digests = [], Cell.digests
    monkeypatch.setattr(Cell, "digests", lambda cell: read.append(cell.address) or digests(cell))
    opened, opening = [], Cell.open
    monkeypatch.setattr(Cell, "open", lambda *a: opened.append(a[0]) or opening(*a))
    found = plan_of(load_study())[-1]
    assert (found.missing, found.passes) == (4, 4 * 8)
    cells = 4 * 2 * 2
    assert len(read) == 2 * 4  # each split of the third, each split of the two others
    assert len(opened) <= 6 * (cells + 8)


def test_views_count(project):
    project.params["extraction"]["views"] = 3
    project.params["models"] = {"net": {**RESNET}}
    project.write()
    project.run("index", "pets").succeeded()
    (found,) = planned(project)
    assert found.passes == 8 * 4 + 2


@pytest.mark.parametrize("known", [True, False])
def test_the_command_prints_totals(project, known, monkeypatch):
    monkeypatch.setattr(survey, "measure_speed", lambda precision: Speed(2.0, 4.0))
    if known:
        project.prepare()
    printed = project.run("cli", "plan").succeeded("pets", "all")
    assert ("0 s" in printed) == known
    assert ("listed" in printed) != known


def test_what_the_whole_study_has_to_fetch(monkeypatch):
    """By hand: 17 ResNet-50 and 9 ViT-B in float32, and every archive once."""
    monkeypatch.setenv("PROBELINE_IMAGES", "nowhere")
    found = planned_downloads(load_study(REPOSITORY / "studies" / "paper.yaml"))
    assert (found.checkpoints, found.of_hubs, len(found.datasets)) == (26, 0, 14)
    assert found.checkpoint_bytes == 4 * (17 * 23_508_032 + 9 * 85_798_656)
    inaturalist = 44.6 + 8.9 + 0.045 + 0.01  # once for its three data sets
    assert 1e9 * inaturalist < found.dataset_bytes < 3e11


def test_what_is_here_is_not_fetched(project):
    project.params["models"] = {
        "there": {**RESNET, "weights": "https://example.org/there.pth"},
        "absent": {**RESNET, "weights": "https://example.org/absent.pth"},
        "again": {**VIT, "weights": "https://example.org/absent.pth"},
        "timms": {**VIT, "weights": "pretrained"},
    }
    project.write()
    study = load_study()
    there = Path(study.models["there"].weights_file)
    there.parent.mkdir(parents=True)
    there.touch()
    found = planned_downloads(study)
    assert (found.checkpoints, found.of_hubs, found.datasets) == (1, 1, ())
    assert math.isnan(found.checkpoint_bytes)


def test_a_probe_fills_in_what_never_ran(project):
    project.params["models"] = {"tiny": VIT, "twin": {**VIT, "weights": "pretrained"}}
    project.write()
    project.run("index", "pets").succeeded()
    asked = []
    rates, memory = probe(load_study(), without_rate(load_study()), asked.append)
    assert asked == ["tiny"]  # the other differs in its weights alone
    assert rates["twin"] == rates["tiny"]
    assert rates["tiny"].seconds > 0 < memory
    (found,) = plan_of(load_study(), {n: (2.0, rates[n].columns) for n in rates})
    assert found.seconds == 2.0 * found.passes
    assert found.size == found.passes * rates["tiny"].columns * 2
    said = project.run("cli", "plan", "--measure").succeeded("memory with one network")
    assert "?" not in said


@pytest.mark.parametrize(("source", "images", "classes"), [("digits", 1797, 10),
                                                           ("digits_5_to_9", 896, 5)])  # fmt: skip
def test_built_in_data_sets_have_the_digits_that_they_have(source, images, classes):
    found = count_images(
        source, Dataset.model_validate({"source": f"builtin:{source}", "role": "in_domain"}), None
    )
    assert (found.train + found.val, found.classes) == (images, classes)
