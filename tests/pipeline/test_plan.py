"""`probeline plan` against counts made by hand."""

from __future__ import annotations

import math

import pytest
from projects import REPOSITORY, RESNET, VIT

from pipeline.params import load_study
from pipeline.plan import plan


def planned(project):
    project.write()
    return plan(load_study())


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
    found = plan(load_study(REPOSITORY / "studies" / "paper.yaml"))
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


def test_views_count(project):
    project.params["extraction"]["views"] = 3
    project.params["models"] = {"net": {**RESNET}}
    project.write()
    project.run("index", "pets").succeeded()
    (found,) = planned(project)
    assert found.passes == 8 * 4 + 2


@pytest.mark.parametrize("known", [True, False])
def test_the_command_prints_totals(project, known):
    if known:
        project.prepare()
    printed = project.run("cli", "plan").succeeded("pets", "all")
    assert ("?" in printed) != known
