"""Real files are compared with the catalogue by one command, whose line can be sent back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from projects import REPOSITORY, VIT, draw
from ruamel.yaml import YAML

from cache.errors import ProbelineError
from pipeline.datasets import known as known_module
from pipeline.datasets.known import known_names
from pipeline.models.settings import Model
from pipeline.models.verifying import compare, look_at, picture
from pipeline.models.zoo import verified_model, zoo_names
from pipeline.models.zoo_page import zoo_page


def test_the_page_of_the_zoo_is_made_from_the_zoo():
    """`probeline models zoo --markdown > docs/zoo.md` after every change of zoo.yaml."""
    page = zoo_page()
    assert (REPOSITORY / "docs" / "zoo.md").read_text(encoding="utf-8") == page
    assert set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) == set(zoo_names())


def test_nothing_is_called_verified_that_nobody_looked_at():
    for name in zoo_names():
        found = verified_model(name)
        assert not found or found.keys() >= {"by", "file", "weights", "features"}


def test_a_line_can_be_read_back_and_is_compared(tmp_path):
    entry = Model(**VIT)
    found = look_at("tiny", entry, "ab" * 32)
    assert compare("tiny", found, {}).startswith("nobody has sent")
    line = YAML(typ="safe").load(found.line("tiny"))["tiny"]
    assert len(line["features"]) == 8
    assert "as YOUR_NAME found it" in compare("tiny", found, line)
    for field, other in (("file", "cd" * 32), ("weights", "e" * 64), ("features", [1.0] * 8)):
        with pytest.raises(ProbelineError, match="is not what was verified"):
            compare("tiny", found, {**line, field: other})
    again = look_at("tiny", Model(**{**VIT, "weights": "random(1)"}), "")
    assert again.features != found.features
    assert again.line("tiny").count("file: none") == 1


def test_everybody_draws_the_same_picture():
    image = picture()
    assert (image.size, image.mode) == ((300, 260), "RGB")
    corner = np.asarray(image)[3:5, 7:9].reshape(4, 3).tolist()
    expected = [[(x * x + 3 * y) // 64 % 256, (y * y + 5 * x) // 64 % 256, x * y // 64 % 256]
                for y in (3, 4) for x in (7, 8)]  # fmt: skip
    assert corner == expected


def test_the_command_for_models(project):
    project.write()
    told = project.run("cli", "models", "verify", "tiny").succeeded("nobody has sent")
    assert told.startswith("tiny: {by: YOUR_NAME, file: none, weights: ")
    project.run("cli", "models", "verify", "tinny").refused("did you mean tiny")


def test_the_command_for_data_sets(project, monkeypatch):
    folder = project.folder / "r"
    for kind in ("n01443537", "n01484850"):
        (folder / kind).mkdir(parents=True)
        for n in range(2):
            draw(n).save(folder / kind / f"{n}.jpg")
    project.write()
    verify = ("datasets", "verify", "imagenet_r", "--path", "r")
    project.run("cli", *verify).refused("does not hold what the data set should", "30,000 val")
    content = known_module._file_content()
    small = {**content["datasets"]["imagenet_r"], "expected": {"val": 4, "classes": 2}}
    datasets = {**content["datasets"], "imagenet_r": small}
    changed = {**content, "datasets": datasets}
    monkeypatch.setattr(known_module, "_file_content", lambda: changed)
    told = project.run("cli", *verify).succeeded("4 val images of 2 classes", "nobody has sent")
    lists = re.search(r"lists: ([0-9a-f]{64})", told)[1]
    changed["verified"] = {"imagenet_r": {"by": "Ada", "lists": lists}}
    project.run("cli", *verify).succeeded("as Ada found it")
    assert "Ada" in project.run("cli", "datasets", "known").succeeded("verified by")
    (folder / "n01443537" / "1.jpg").rename(folder / "n01443537" / "2.jpg")
    project.run("cli", *verify).refused("is not what was verified")


def test_known_data_sets_say_whether_anybody_looked(project):
    project.write()
    told = project.run("cli", "datasets", "known").succeeded(
        "nobody yet", "Verified: somebody sent"
    )
    assert all(name in told for name in known_names())
