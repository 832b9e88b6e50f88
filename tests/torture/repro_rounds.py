"""Rounds of two whole `dvc repro` in two folders, at once, with one cache of DVC and one remote."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from forks import ended
from rounds import Row
from strikes import clear
from whole_runs import HANDFUL, Changes, Strike, fresh, results, said, start, template

EVERY_STAGE = 10
"""In one round of so many, dvc.yaml holds every stage; in the others, `HANDFUL`."""

CLONED = 5
"""After one round of so many, a third folder pulls, and must have nothing to run."""

OF_DVC = "without a confirmation. Use `-f` to force."
"""DVC (3.67) says so of a file of its own, now and then, while another DVC puts the same one into
the cache. Nothing is lost, and the next `dvc repro` ends well."""


@dataclass(frozen=True)
class Study:
    """A study under DVC that never ran, and what a run makes that nothing befell.

    Attributes
    ----------
    base : Path
        Where DVC's cache, the remote and the folders are.
    template : Path
    expected : dict of str to bytes
        Contents of the files.
    changes : list of int
        How many files DVC and each of its stages changed.
    """

    base: Path
    template: Path
    expected: dict[str, bytes]
    changes: list[int]


def pairs(base: Path, row: Row, tries: int, seed: int) -> None:
    """From nothing; in most rounds one is killed, in some both, and runs again."""
    rng, base = random.Random(seed), base / "repros"
    handful = alone(base, template(base, "handful", HANDFUL))
    every = alone(base, template(base, "every"))
    for number in range(tries):
        study = every if number % EVERY_STAGE == EVERY_STAGE - 1 else handful
        row.played(*together(study, rng, cloned=number % CLONED == 0))


def alone(base: Path, of: Path) -> Study:
    """Run a study that nothing befalls."""
    folder, changes = fresh(base, of, "alone"), Changes()
    assert ended(start(folder, "repro", changes=changes)) == 0, said(folder)
    return Study(base, of, results(folder), changes.counted())


def together(study: Study, rng: random.Random, *, cloned: bool) -> tuple[int, int, list[str]]:
    """One round; how many were killed, how many DVC ended by itself, and what went wrong."""
    for shared in ("cache", "remote"):
        shutil.rmtree(study.base / shared, ignore_errors=True)
    folders = [fresh(study.base, study.template, name) for name in ("one", "other")]
    strikes: list[Strike | None] = [None, None]
    for number in rng.choice(((), (0,), (1,), (0, 1))):
        stage = rng.randrange(len(study.changes))
        strikes[number] = Strike(stage, rng.randrange(1, max(2, study.changes[stage] + 1)))
    started = [start(f, "repro", strike=s) for f, s in zip(folders, strikes, strict=True)]
    ends = [ended(child) for child in started]
    gave_up = [end == 255 and OF_DVC in said(f) for f, end in zip(folders, ends, strict=True)]
    wrong = [
        f"{folder.name}, {strike}: {end}: {said(folder)}"
        for folder, strike, end, of_dvc in zip(folders, strikes, ends, gave_up, strict=True)
        if not of_dvc and end not in ((0, -9) if strike else (0,))
    ]
    struck = [folder for folder, end in zip(folders, ends, strict=True) if end]
    for command, where in (("repro", struck), ("push", folders)):
        started = [start(folder, command) for folder in where]
        for folder, child in zip(where, started, strict=True):
            if end := ended(child):
                wrong.append(f"{folder.name}, {strikes}, then {command}: {end}: {said(folder)}")
    if cloned and not wrong:
        wrong += _clone(study, folders[0])
    for folder in struck:  # what the other's results replaced, no stage of this one cleared
        clear(folder)
    for folder in folders:
        wrong += [f"{folder.name}, {strikes}: {text}" for text in _other(study, folder)]
    return ends.count(-9), sum(gave_up), wrong


def _clone(study: Study, finished: Path) -> list[str]:
    folder = fresh(study.base, study.template, "clone")
    shutil.copy(finished / "dvc.lock", folder)
    shutil.rmtree(study.base / "cache")
    wrong = [
        f"clone, {command}: {end}: {said(folder)}"
        for command in ("pull", "repro")
        if (end := ended(start(folder, command)))
    ]
    if "Running stage" in said(folder):
        wrong.append(f"a clone ran stages again: {said(folder)}")
    found = results(folder)
    pulled = [name for name, data in study.expected.items() if found.get(name) != data]
    return wrong + [f"clone: {name} differs" for name in pulled]


def _other(study: Study, folder: Path) -> list[str]:
    found = results(folder)
    return [
        f"{name} is other, absent or left"
        for name in sorted(found.keys() | study.expected.keys())
        if found.get(name) != study.expected.get(name)
    ]
