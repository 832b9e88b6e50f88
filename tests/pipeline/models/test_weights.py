"""Weights with an address: fetched once, recorded, checked from then on, never half there."""

from __future__ import annotations

import io
import json
import shutil

import pytest
import servers
import timm
import torch
from projects import RESNET

from cache.files import sha256_bytes


def checkpoint(seed: int) -> bytes:
    """A checkpoint as somebody publishes one: nested, prefixed, with a head."""
    torch.manual_seed(seed)
    state = timm.create_model(RESNET["architecture"], num_classes=5).state_dict()
    file = io.BytesIO()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    return file.getvalue()


@pytest.fixture
def served():
    with servers.serving() as server:
        server.body = checkpoint(0)
        server.script = lambda request, _: servers.send(request, server.body)
        yield server


def use(project, server, **source):
    """The entry that adds the model: six lines of YAML."""
    project.params["models"]["published"] = {
        "architecture": RESNET["architecture"],
        "weights": server.address,
        "input_size": 32,
        "checkpoint": {"entry": "state_dict", "strip_prefix": "module."},
    } | ({"source": source} if source else {})
    project.write()
    return project.folder / "weights.lock.json"


SIX_LINES = """
  published:
    architecture: {architecture}
    weights: {address}
    checkpoint: {{entry: state_dict, strip_prefix: module.}}
    input_size: 32
    family: residual
"""


def test_six_lines_add_a_model_that_runs_end_to_end(project, served):
    lock = project.folder / "weights.lock.json"
    lines = SIX_LINES.format(architecture=RESNET["architecture"], address=served.address)
    assert lines.strip().count("\n") == 5
    text = (project.folder / "params.yaml").read_text()
    project.write(text.replace("\nmodels:\n", "\nmodels:" + lines))
    project.run("index", "pets").succeeded()
    assert "published" in project.run("cli", "status").out  # asks nobody for anything
    assert served.asked == []
    project.run("extract", "pets").succeeded("2 computed")
    project.knn().succeeded("2 computed")
    (name, known), *rest = json.loads(lock.read_text()).items()
    assert (known["sha256"], known["size"]) == (sha256_bytes(served.body), len(served.body))
    assert not rest
    assert (project.folder / "data" / "weights" / name).read_bytes() == served.body
    served.script = lambda request, _: request.send_error(500)
    project.run("extract", "pets").succeeded("2 cached, 0 computed")
    assert len(served.asked) == 1
    assert project.left_overs() == []


def test_a_colleague_without_the_file_still_finds_the_cells(project, served):
    use(project, served)
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").succeeded("2 computed")
    shutil.rmtree(project.folder / "data" / "weights")
    project.run("extract", "pets").succeeded("2 cached, 0 computed")
    assert len(served.asked) == 1


def test_a_file_that_its_author_replaced_is_refused(project, served):
    use(project, served)
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").succeeded()
    shutil.rmtree(project.folder / "data")
    served.body = checkpoint(1)
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").refused("published", "could not be downloaded", "not the file")
    assert project.left_overs() == []


def test_the_digits_in_a_files_name_are_checked_the_first_time(project, served):
    use(project, served, sha256="00000000")
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").refused("not the file that was expected")


def test_files_that_only_a_browser_gets_are_checked_and_recorded(project, served):
    lock = use(project, served, by_hand=True, file="mine.pth")
    project.run("index", "pets").succeeded()
    ran = project.run("extract", "pets")
    ran.succeeded("1 computed", "1 without weights: published")
    for words in ("only a browser", "data/weights/mine.pth", "save it as"):
        assert words in ran.err
    (project.folder / "data" / "weights").mkdir()
    (project.folder / "data" / "weights" / "mine.pth").write_bytes(served.body)
    project.run("extract", "pets").succeeded("1 computed")
    assert json.loads(lock.read_text())["mine.pth"]["sha256"] == sha256_bytes(served.body)
    assert served.asked == []
