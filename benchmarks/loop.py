"""The loop that users live in: a setting is changed, the report made anew, the change taken back.

    python benchmarks/loop.py FINISHED_STUDY [--set knn.k=[7]] [--back-again] [--as-it-is]

Copies a finished study (a project's folder after `dvc repro`), puts this repository's code into the
copy and brings it up to date, untimed. Then `dvc repro` after the change, after it was taken back,
and with nothing changed. For each: wall and processor time of every stage that ran, children
included, and how much of it is the start (the interpreter and its imports, up to the stage's own
clock); what is left of the whole is DVC's own. Run it with nothing beside it.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

REPOSITORY = Path(__file__).parents[1]
CODE = ("cache", "pipeline", "stages", "probeline", "dvc.yaml", ".dvcignore", "pyproject.toml")
TIMED = """#!/bin/bash
# Runs Python, and writes down what that took: seconds of wall, user and system time.
TIMEFORMAT="$DVC_STAGE %3R %3U %3S"
{{ time {python} "$@" 2>&3; }} 3>&2 2>>{log}
"""
_OWN = re.compile(r"^(?:> )?(\w+)(?: \w+)?: .*?([\d.]+) s$")
"""A stage's closing line."""


@dataclass(frozen=True)
class Stage:
    """One stage of one run, in seconds.

    Attributes
    ----------
    name : str
    wall, processor : float
    own : float or None
        By its own clock, which starts after its imports; None of a stage that says nothing.
    """

    name: str
    wall: float
    processor: float
    own: float | None


@dataclass(frozen=True)
class Run:
    """One `dvc repro`."""

    what: str
    wall: float
    processor: float
    stages: list[Stage]
    restored: list[str]

    def rows(self) -> list[tuple[str, ...]]:
        """Of a table: stages, DVC, all."""
        starts = sum(s.wall - s.own for s in self.stages if s.own is not None)
        rows = [
            (s.name, f"{s.wall:.1f}", f"{s.processor:.1f}",
             "" if s.own is None else f"{s.wall - s.own:.1f}")
            for s in self.stages
        ]  # fmt: skip
        rows += [(f"{name}, from DVC's run cache", "", "", "") for name in self.restored]
        wall = self.wall - sum(s.wall for s in self.stages)
        processor = self.processor - sum(s.processor for s in self.stages)
        return [
            *rows,
            ("DVC itself", f"{wall:.1f}", f"{processor:.1f}", ""),
            ("**all**", f"**{self.wall:.1f}**", f"**{self.processor:.1f}**", f"{starts:.1f}"),
        ]


def copied(study: Path, to: Path, *, as_it_is: bool) -> Path:
    """The study with this repository's code."""
    subprocess.run(["cp", "-r", "--reflink=auto", str(study), str(to)], check=True)
    for name in () if as_it_is else CODE:
        place = to / name
        if place.is_dir():
            shutil.rmtree(place)
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
    # Who has finished a study has imported its code before.
    for folder in filter(Path.is_dir, (to / name for name in CODE)):
        compileall.compile_dir(folder, quiet=1)
    return to


def repro(project: Path, what: str) -> Run:
    """Run `dvc repro` there, every stage's Python timed."""
    tools, log = project.parent / "bin", project.parent / "times.log"
    tools.mkdir(exist_ok=True)
    log.write_text("")
    timed = tools / "python"
    timed.write_text(TIMED.format(python=sys.executable, log=log))
    timed.chmod(0o755)
    # A setting of containers, by which every stage would compile all that it imports, each time.
    usual = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = {
        **usual,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "DVC_NO_ANALYTICS": "1",
    }
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=project, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    own = {m[1]: float(m[2]) for line in done.stdout.splitlines() if (m := _OWN.match(line))}
    stages = []
    for line in log.read_text().splitlines():
        if (parts := line.split())[0] and len(parts) == 4:  # else what bash says
            name = parts[0].rpartition(":")[2]
            seconds, user, system = map(float, parts[1:])
            stages.append(Stage(name, seconds, user + system, own.get(name)))
    restored = re.findall(r"Stage '([^']+)' is cached", done.stdout)
    return Run(what, wall, processor, stages, restored)


def changed(project: Path, name: str, value: object) -> None:
    """Set ``section.key`` of params.yaml, and leave all else as it is written."""
    yaml, path = YAML(), project / "params.yaml"
    params = yaml.load(path.read_text(encoding="utf-8"))
    *sections, key = name.split(".")
    place = params
    for section in sections:
        place = place[section]
    place[key] = value
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def main() -> None:
    """Print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--set", default="knn.k=[7]", help="what is changed, KEY=VALUE in YAML")
    parser.add_argument("--as-it-is", action="store_true", help="with the study's own code")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    asked = parser.parse_args()
    name, _, text = asked.set.partition("=")
    with tempfile.TemporaryDirectory() as folder:
        work = asked.keep or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        project = copied(asked.study.resolve(), work / "study", as_it_is=asked.as_it_is)
        first = (project / "params.yaml").read_bytes()
        up_to_date = repro(project, "first")
        print(f"brought up to date, {len(up_to_date.stages)} stages: {up_to_date.wall:.1f} s\n")
        changed(project, name, YAML(typ="safe").load(text))
        runs = [repro(project, f"{asked.set}")]
        (project / "params.yaml").write_bytes(first)
        runs += [repro(project, "taken back"), repro(project, "nothing changed")]
    lock = (project / "dvc.lock").stat().st_size / 1e3 if asked.keep else 0.0
    for run in runs:
        print(f"| {run.what} | wall, s | processor, s | of the wall, starting |")
        print("|---|--:|--:|--:|")
        for row in run.rows():
            print(f"| {' | '.join(row)} |")
        print()
    if lock:
        print(f"dvc.lock: {lock:.0f} kB")


if __name__ == "__main__":
    main()
