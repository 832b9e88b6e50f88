"""The manual: it builds with every link checked and asks no other host; its commands run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from projects import REPOSITORY, VIT, Project, fill_folder
from ruamel.yaml import YAML

DOCS = REPOSITORY / "docs"
PAGES = ["own_images", "paper_study", "how_to_checkpoint", "how_to_embeddings", "how_to_scores",
         "how_to_gpu"]  # fmt: skip


ASKED = r'(?:<script[^>]*\ssrc|<img[^>]*\ssrc|<link[^>]*stylesheet"\s*href)="http[^"]*'
"""What a browser would fetch from elsewhere when it opens a page."""


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    lines = "".join(blocks(page, "console")).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [line[2:] for line in lines]


def lines_of(page: str, number: int = 0) -> dict:
    """The lines of params.yaml that a page shows."""
    return YAML(typ="safe").load(blocks(page, "yaml")[number])


def follow(project: Project, page: str) -> None:
    """Run what the page says, in this process; `dvc repro` is run by stages/test_dvc_runs.py."""
    for command in commands(page):
        words = shlex.split(command)
        while "=" in words[0]:
            words.pop(0)
        if words == ["dvc", "repro"]:
            continue
        assert words[0] == "probeline", command
        project.run("cli", *words[1:]).succeeded()


@pytest.fixture
def place(project, monkeypatch):
    (project.folder / "dvc.yaml").write_text("stages: {}\n")
    shutil.copytree(REPOSITORY / "studies", project.folder / "studies")
    monkeypatch.setenv("HOME", str(project.folder))
    project.write()
    return project


def test_every_page_with_commands_is_followed():
    found = {path.stem for path in DOCS.glob("*.md") if "```console" in path.read_text("utf-8")}
    assert found == set(PAGES)


def test_own_images(place, monkeypatch):
    fill_folder(place.folder / "my_images", {"cat": 4, "dog": 4})
    said = lines_of("own_images")["datasets"]["my_images"]
    whole = YAML(typ="safe").load(place.folder / "studies" / "own_images.yaml")
    assert whole["datasets"]["my_images"].items() >= said.items()
    # Its models' weights are not here; the rest of the study is the one that people start from.
    whole["models"] = {"tiny": VIT}
    YAML().dump(whole, place.folder / "studies" / "own_images.yaml")
    follow(place, "own_images")


def test_the_papers_study(place, monkeypatch):
    monkeypatch.setenv("PROBELINE_IMAGES", str(place.folder))
    follow(place, "paper_study")


def test_a_checkpoint_of_your_own(place):
    said = lines_of("how_to_checkpoint")["models"]["my_vit"]
    # The same layout of keys in a network of a size that a test can make.
    network = timm.create_model("test_vit", num_classes=0, img_size=224)
    state = {f"module.encoder.{key}": value for key, value in network.state_dict().items()}
    (place.folder / "checkpoints").mkdir()
    saved = {"state_dict": {**state, "decoder.weight": torch.ones(3)}, "epoch": 3}
    torch.save(saved, place.folder / said["weights"])
    small = {"architecture": "test_vit", "arguments": {"img_size": 224}, "trained_on": ["pets"]}
    place.params["models"] = {"my_vit": {**said, **small}}
    place.write()
    follow(place, "how_to_checkpoint")


def test_embeddings_of_your_own(place):
    folder = place.folder / "my_embeddings"
    folder.mkdir()
    table = blocks("how_to_embeddings", "text")[0]
    for split, letter in (("train", "a"), ("val", "b")):
        np.save(folder / f"{split}.npy", np.eye(2, 5, dtype=np.float32))
        (folder / f"{split}.csv").write_text(table.replace("img", letter))
    follow(place, "how_to_embeddings")
    place.params.update(lines_of("how_to_embeddings"))
    place.write()
    place.run("index", "mine").succeeded()
    place.run("extract", "mine").succeeded()


def test_published_scores(place):
    heading = "model,dataset,protocol,metric,value\n"
    (place.folder / "scores.csv").write_text(heading + "a,x,linear,top1,0.5\n")
    follow(place, "how_to_scores")


def test_the_gpu(place):
    place.prepare()
    follow(place, "how_to_gpu")


def test_the_manual_builds_and_asks_no_other_host(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(tmp_path)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.html")}
    assert pages.keys() >= {"index.html", "params.html", "commands.html", "own_images.html"}
    for name, page in pages.items():
        assert not re.findall(ASKED, page), name
    for key in ("n_neighbors", "limit_per_class", "trained_on", "layer_decay"):
        assert key in pages["params.html"]
    for command in ("probeline cache verify", "probeline scores import"):
        assert command in pages["commands.html"]
