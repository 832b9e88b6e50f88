"""A scratch project under DVC with its own copy of the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import warm
from projects import REPOSITORY, RESNET, VIT

OTHER = "digits_inverted"
"""The data set beside the pets; no test changes it."""


class Scratch:
    """A project under DVC, and what its last `dvc repro` ran and said."""

    def __init__(self, project) -> None:
        self.project, self.folder = project, project.folder
        project.params["datasets"][OTHER] = {
            "source": f"builtin:{OTHER}", "role": "out_of_domain", "limit_per_class": 4
        }  # fmt: skip
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
        # As in the repository: else DVC writes such files into the folders that stages read.
        ignored = ("/images", "__pycache__", "/data", "/results", "/report")
        (self.folder / ".gitignore").write_text("\n".join(ignored) + "\n")
        shutil.copytree(REPOSITORY / "scores", self.folder / "scores")
        self.do("git", "init", "--quiet")
        self.do(sys.executable, "-m", "dvc", "init", "--quiet")

    def do(self, *command: str, folder: Path | None = None) -> str:
        """Run a command that ends well, here or in another folder; returns what it said."""
        done = self.ran(*command, folder=folder)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def ran(self, *command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command; every Python in it starts warm."""
        tools = (warm.folder(), Path(sys.executable).parent, os.environ["PATH"])
        return subprocess.run(
            ["python" if command[0] == sys.executable else command[0], *command[1:]],
            cwd=folder or self.folder,
            env={
                **os.environ,
                "PATH": os.pathsep.join(map(str, tools)),
                "DVC_NO_ANALYTICS": "1",
                "LOKY_MAX_CPU_COUNT": "1",  # no pools: their processes take longer than the jobs
                "HOME": str(self.folder.parent),
            },
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )

    def repro(self, *arguments: str) -> set[str]:
        """Run `dvc repro`; the stages that DVC really ran."""
        self.said = self.do(sys.executable, "-m", "dvc", "repro", *arguments)
        return stages_run(self.said)

    def finish(self, kept: Path) -> set[str]:
        """The first `dvc repro`, which takes a minute: run for one test, copied for the next.

        Parameters
        ----------
        kept : Path
            Where the tests of a session keep it.
        """
        if not kept.exists():
            self.repro()
            shutil.copytree(self.folder, kept / "study")
            (kept / "said").write_text(self.said, encoding="utf-8")
        else:
            shutil.copytree(kept / "study", self.folder, dirs_exist_ok=True)
            self.said = (kept / "said").read_text(encoding="utf-8")
        return stages_run(self.said)

    def tally(self, stage: str) -> str:
        """What a stage said of its cells."""
        (line,) = re.findall(rf"^{stage}: (\d+ cached, \d+ computed)", self.said, re.MULTILINE)
        return line


def stages_run(said: str) -> set[str]:
    """The stages that `dvc repro` says it ran."""
    return set(re.findall(r"Running stage '([^']+)'", said))
