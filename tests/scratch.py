"""A scratch project under DVC with its own copy of the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from projects import REPOSITORY, RESNET, VIT

BUILT_IN = ("digits", "digits_inverted")


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
        shutil.copytree(REPOSITORY / "scores", self.folder / "scores")
        self.do("git", "init", "--quiet")
        self.do(sys.executable, "-m", "dvc", "init", "--quiet")

    def do(self, *command: str, folder: Path | None = None) -> str:
        tools = Path(sys.executable).parent
        done = subprocess.run(
            command,
            cwd=folder or self.folder,
            env={
                **os.environ,
                "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
                "DVC_NO_ANALYTICS": "1",
                "HOME": str(self.folder.parent),
            },
            capture_output=True,
            text=True,
            timeout=1200,
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
