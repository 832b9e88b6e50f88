"""What `dvc repro` runs again, in a scratch project with its own copy of the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from projects import REPOSITORY, RESNET, VIT, draw

pytestmark = pytest.mark.slow

BUILT_IN = ("digits", "digits_inverted")
SCORING = {"knn", "linear", "collect", "correlate", "report"}


class Scratch:
    """A project under DVC, and what its last `dvc repro` ran and said."""

    def __init__(self, project) -> None:
        self.project, self.folder = project, project.folder
        project.params["datasets"] |= {
            name: {"source": f"builtin:{name}", "role": "out_of_domain", "limit_per_class": 4}
            for name in BUILT_IN
        }
        project.params["models"] = {"tiny": VIT, "net": RESNET}
        project.params["report"] = {"title": "scratch"}
        project.write()
        for floor in ("cache", "pipeline", "stages"):
            shutil.copytree(
                REPOSITORY / floor,
                self.folder / floor,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        shutil.copy(REPOSITORY / ".dvcignore", self.folder)
        self.do("git", "init", "--quiet")
        self.do(sys.executable, "-m", "dvc", "init", "--quiet")

    def do(self, *command: str) -> str:
        tools = Path(sys.executable).parent
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
                "DVC_NO_ANALYTICS": "1",
                "HOME": str(self.folder.parent),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def repro(self, *arguments: str) -> set[str]:
        """Run `dvc repro`; the stages that DVC really ran."""
        self.said = self.do(sys.executable, "-m", "dvc", "repro", *arguments)
        return set(re.findall(r"Running stage '([^']+)'", self.said))

    def tally(self, stage: str) -> str:
        """What a stage said of its cells."""
        (line,) = re.findall(rf"^{stage}: (\d+ cached, \d+ computed)", self.said, re.MULTILINE)
        return line


def test_only_what_changed_runs(project):
    scratch = Scratch(project)
    datasets = tuple(project.params["datasets"])
    extract = {f"extract@{d}" for d in datasets}

    # Everything, once.
    assert scratch.repro() == {f"index@{d}" for d in datasets} | extract | SCORING
    assert {scratch.tally(f"extract {d}") for d in datasets} == {"0 cached, 2 computed"}
    assert scratch.tally("knn") == scratch.tally("linear") == "0 cached, 6 computed"
    assert (scratch.folder / "report" / "index.html").stat().st_size > 10_000
    assert project.left_overs() == []

    # Nothing, when nothing changed.
    assert scratch.repro() == set()

    # Another k: one protocol and what follows; no forward pass.
    project.params["knn"]["k"] = [2]
    project.write()
    assert scratch.repro() == {"knn", "collect", "correlate", "report"}
    assert scratch.tally("knn") == "0 cached, 6 computed"

    # One more model: its cells only.
    project.params["models"]["net1"] = {**RESNET, "weights": "random(1)"}
    project.write()
    assert scratch.repro() == extract | SCORING
    assert {scratch.tally(f"extract {d}") for d in datasets} == {"2 cached, 1 computed"}
    assert scratch.tally("knn") == scratch.tally("linear") == "6 cached, 3 computed"

    # A comment in the code: the stages run, and compute nothing.
    with open(scratch.folder / "cache" / "writer.py", "a", encoding="utf-8") as file:
        file.write("# a comment\n")
    assert scratch.repro() == extract
    assert {scratch.tally(f"extract {d}") for d in datasets} == {"3 cached, 0 computed"}

    # Another picture in one image: that data set's cells only.
    draw(9876).save(scratch.folder / "images" / "cat" / "000.png")
    assert scratch.repro("-f", "index@pets") == {"index@pets"}
    ran = scratch.repro()
    assert ran >= {"extract@pets", "knn", "linear", "collect"}
    assert not ran & {f"extract@{d}" for d in BUILT_IN}
    assert scratch.tally("extract pets") == "0 cached, 3 computed"
    assert scratch.tally("knn") == scratch.tally("linear") == "6 cached, 3 computed"
