"""What the tests of pipeline/ and stages/ share: small projects, image folders, command runs."""

from __future__ import annotations

import importlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from pipeline.study import protocol_list

REPOSITORY = Path(__file__).parents[1]

VIT = {
    "architecture": "test_vit",
    "weights": "random(0)",
    "arguments": {"img_size": 32},
    "input_size": 32,
    "family": "vit",
}
RESNET = {
    "architecture": "test_resnet",
    "weights": "random(0)",
    "input_size": 32,
    "family": "resnet",
}


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str

    def refused(self, *words: str) -> str:
        """It failed with one explained error that holds all of `words`; returns the message."""
        assert self.status == 1, (self.status, self.out, self.err)
        assert "Traceback" not in self.err, self.err
        assert self.err.startswith("error: "), self.err
        assert self.err.count("error: ") == 1, self.err
        for word in words:
            assert word in self.err, f"{word!r} is not in:\n{self.err}"
        return self.err

    def succeeded(self, *words: str) -> str:
        """It ended well and printed all of `words`; returns what it printed."""
        assert self.status == 0, (self.status, self.out, self.err)
        for word in words:
            assert word in self.out, f"{word!r} is not in:\n{self.out}"
        return self.out


SECTIONS = (
    *("datasets", "models", "extraction", "neighbors", "knn", "linear", "fewshot", "transfer"),
    *("transferability", "correlation", "report", "pretrain", "finetune"),
)


def study_of(**said: dict[str, Any]) -> dict[str, Any]:
    """A study with every section of params.yaml, those that are not said empty."""
    return {name: said.get(name, {}) for name in SECTIONS}


class Project:
    """A project folder with a small study of one image folder and one tiny model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = study_of(
            datasets={"pets": {"source": "folder", "path": "images", "role": "in_domain"}},
            models={"tiny": {**VIT}},
            extraction={"precision": "float32", "storage": "float16"},
            neighbors={"n_neighbors": 5, "metric": ["euclidean"], "normalization": ["none"]},
            knn={"k": [3]},
            linear={"c": [0.1, 1.0], "normalization": ["none"], "max_iterations": 100},
        )

    def write(self, text: str | None = None) -> None:
        """Write params.yaml: `params`, or this very text."""
        if text is None:
            stream = io.StringIO()
            YAML().dump(self.params, stream)
            text = stream.getvalue()
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")

    def run(self, command: str, *arguments: str) -> Ran:
        """A stage's or the command line's command in this process; its exit and its words."""
        from click.testing import CliRunner

        if command in [protocol.name for protocol in protocol_list.PROTOCOLS]:
            command, arguments = "protocol", (command, *arguments)
        module = importlib.import_module(f"stages.{command}")
        result = CliRunner().invoke(module.main, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def shell(
        self, *command: str, timeout: float = 120, python: str = sys.executable, **environment: str
    ) -> Ran:
        """A command as a process of its own; `warm.python()` starts it in a tenth of the time."""
        done = subprocess.run(
            [python, *command],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def knn(self) -> Ran:
        """The stage, after the one that it needs."""
        self.run("neighbors").succeeded()
        return self.run("knn")

    def prepare(self, dataset: str = "pets") -> None:
        """Write the study, index and extract a data set."""
        self.write()
        self.run("index", dataset).succeeded()
        self.run("extract", dataset).succeeded()

    def prepare_others(self) -> None:
        """Beside the pets, a data set of other images in the folder ``others``; its neighbours."""
        self.params["datasets"]["others"] = {
            "source": "folder", "path": "others", "role": "out_of_domain"
        }  # fmt: skip
        self.prepare()
        self.prepare("others")
        self.run("neighbors").succeeded()

    def score_six_models(self) -> None:
        """Six models of five families on one data set, scored by kNN and linear, correlated."""
        self.params["models"] = {
            f"m{n}": {
                **(VIT if n % 2 else RESNET), "weights": f"random({n})", "family": f"f{min(n, 4)}"
            }
            for n in range(6)
        }  # fmt: skip
        self.prepare()
        for stage in ("neighbors", "knn", "linear"):
            self.run(stage).succeeded("0 cached, 6 computed")
        self.run("collect").succeeded("0 cells missing")
        self.run("correlate").succeeded("over 6 models")

    def once(self, kept: Path, build: Callable[[], object]) -> Project:
        """The project as `build` leaves it: built for one test, copied for those that follow.

        Parameters
        ----------
        kept : Path
            Where it is kept, e.g. the fixture `kept_project`.
        build : callable
        """
        if kept.exists():
            for path in self.folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(kept, self.folder, dirs_exist_ok=True)
            self.params = YAML(typ="safe").load(self.folder / "params.yaml")
        else:
            build()
            shutil.copytree(self.folder, kept)
        return self

    def left_overs(self) -> list[str]:
        """Half-written things below data/ and results/."""
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*.partial"))

    def files(self, *folders: str) -> dict[str, bytes]:
        """The content of all files below some folders."""
        found = [p for f in folders for p in sorted((self.folder / f).rglob("*")) if p.is_file()]
        return {p.relative_to(self.folder).as_posix(): p.read_bytes() for p in found}


def draw(seed: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    """A picture that only `seed` and `size` (width, height) determine."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BILINEAR)


def fill_folder(
    folder: Path, counts: dict[str, int], *, suffix: str = ".png", seed: int = 0
) -> list[Path]:
    """Write ``CLASS/NUMBER.png``, so many of each class; returns the paths."""
    paths = []
    for label, (name, count) in enumerate(counts.items()):
        for number in range(count):
            path = folder / name / f"{number:03d}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(seed + 1000 * label + number).save(path)
            paths.append(path)
    return paths
