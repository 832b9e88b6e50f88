"""Strike every stage and command at chosen places, then run it again.

Killed, terminated, disks that are full or fail, files that may not be read, a project that may only
be read, a file system without locks. After the second run all bytes must be those of a run that
nothing befell, and nothing may lie about.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import small_study
from faults import ENDS, FAULTS, Fault, as_ordinary_user, read_only, without_locks
from forks import Ran, run
from ruamel.yaml import YAML
from small_study import STAGES, files

OF_THE_MACHINE = ("data/cards/", ".probeline/")
"""Named by times and absolute paths, or holding them: of no result. Left-overs there count."""

CONDITIONS = {"READ-ONLY": "may not be written", "NO LOCKS": "file system without locks"}
"""What holds for a whole run, and what is said where the run can't do without."""

TRIES = {"KILL": 2, "TERM": 1, "ENOSPC": 1, "EIO": 1, "EFBIG": 1, "UNREADABLE": 1, "READ EIO": 1}
"""Places at each target, where `--tries 1` is asked for."""


@dataclass
class Row:
    """What was tried at one stage or command."""

    target: str
    changes: int
    reads: int
    tries: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*FAULTS, *CONDITIONS), 0))
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        return (
            f"`{self.target}`", f"{self.changes:,}", *map(str, self.tries.values()),
            str(len(self.faults)),
        )  # fmt: skip


HEADER = ("stage or command", "changes", *FAULTS, *CONDITIONS, "faults")


@dataclass(frozen=True)
class Target:
    """A stage or command, and what is done to the study before.

    Attributes
    ----------
    reads : bool
        Whether it only looks: then it works in a project that may only be read.
    """

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Path], None] = lambda _: None
    reads: bool = False


def campaign(base: Path, per: int, only: tuple[str, ...] = ()) -> Iterator[Row]:
    """One row for each stage and command, as it is done.

    Parameters
    ----------
    base : Path
        An empty folder.
    per : int
        That many times `TRIES` at each target.
    only : tuple of str
        Words of targets; all without.
    """
    work, before, after = base / "work", base / "before", base / "after"
    small_study.make_study(work)
    asked_last = [t.name for t in targets() if not only or any(word in t.name for word in only)]
    for target in targets():
        asked = target.name in asked_last
        target.prepare(work)
        copy(work, before)
        whole = run(work, target.command)
        assert whole.status == 0, (target.name, whole)
        copy(work, after)
        if not asked:
            continue
        row = Row(target.name, whole.changes, whole.reads)
        for fault in _faults(whole, per):
            copy(before, work)
            row.tries[fault.kind] += 1
            row.faults += [
                f"{target.name}, {fault}: {text}" for text in _strike(work, target, fault, after)
            ]
        copy(after, work)
        yield row
        if target.name == asked_last[-1]:
            return


SMALL = {
    "cache import": ("KILL",), "cache export": ("UNREADABLE",), "status": ("READ-ONLY",),
    "neighbors, anew": ("EFBIG",), "cache verify --repair": ("TERM", "NO LOCKS"),
    "extract pets, damaged": ("ENOSPC",), "cache prune": ("READ-ONLY",),
}  # fmt: skip
"""What the tests try."""


def in_study(study: Path) -> Iterator[Row]:
    """`SMALL`, on a study that is made already, which is as it was afterwards."""
    base = study.parent
    made, before, after = base / "made", base / "before", base / "after"
    copy(study, made)
    for target in targets():
        if target.name not in SMALL:
            continue
        copy(made, study)
        target.prepare(study)
        copy(study, before)
        whole = run(study, target.command)
        assert whole.status == 0, (target.name, whole)
        copy(study, after)
        row = Row(target.name, whole.changes, whole.reads)
        for kind in SMALL[target.name]:
            fault = Fault(kind, (whole.of(kind) + 1) // 2)
            copy(before, study)
            row.faults += [
                f"{target.name}, {fault}: {text}" for text in _strike(study, target, fault, after)
            ]
            row.tries[kind] += 1
        yield row
    copy(made, study)


def _faults(whole: Ran, per: int) -> Iterator[Fault]:
    """Spread over a run's places, each kind at its own; then the conditions."""
    for turn, kind in enumerate(FAULTS):
        places = whole.of(kind)
        tries = TRIES[kind] * per
        chosen = {1 + int(places * (n + (turn + 0.5) / len(FAULTS)) / tries) for n in range(tries)}
        for at in sorted(chosen) if places else ():
            yield Fault(kind, at)
    for kind in CONDITIONS:
        yield Fault(kind, 0)


def _strike(work: Path, target: Target, fault: Fault, after: Path) -> list[str]:
    """What went wrong; nothing, where all is well."""
    wrong = []
    if fault.kind in CONDITIONS:
        struck = _under_condition(work, target.command, fault.kind)
    else:
        struck = run(work, target.command, fault)
    if struck.status not in (0, *ENDS.get(fault.kind, (1,))):
        wrong.append(f"status {struck.status}: {struck.out[-300:]}")
    if struck.status == 1:
        wrong += _said(struck.out, fault.kind)
    if "Traceback" in struck.out:
        wrong.append(f"a traceback: {struck.out[-900:]}")
    if struck.status == 0:  # then it must be as if nothing had been
        wrong += [f"it ended well, but {text}" for text in differences(work, comparable(after))]
    if target.reads and fault.kind == "READ-ONLY" and struck.status:
        wrong.append(f"it can't read what it may only read: {struck.out[-300:]}")
    again = run(work, target.command)
    if again.status:
        return [*wrong, f"the second run: status {again.status}: {again.out[-600:]}"]
    return wrong + differences(work, comparable(after))


def _said(out: str, kind: str) -> list[str]:
    """What is missing in the words of a run that gave up."""
    if out.count("error: ") != 1 or "to mend" not in out:
        return [f"not one explained error: {out[-300:]}"]
    words = CONDITIONS.get(kind, "")
    if words not in out and "may not do with it" not in out:
        return [f"does not say {words!r}: {out[-300:]}"]
    return []


def _under_condition(work: Path, command: tuple[str, ...], kind: str) -> Ran:
    if kind == "NO LOCKS":
        return run(work, command, before=without_locks)
    with read_only(work):
        return run(work, command, before=as_ordinary_user)


def differences(work: Path, expected: dict[str, bytes]) -> list[str]:
    """What is not as it should be."""
    found = comparable(work)
    return [
        f"{name} is "
        + ("absent" if name not in found else "left" if name not in expected else "other")
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


def comparable(folder: Path) -> dict[str, bytes]:
    """What must be the same after every run."""
    return {
        name: data
        for name, data in files(folder).items()
        if not name.startswith(OF_THE_MACHINE) or ".partial" in name
    }


def copy(of: Path, to: Path) -> None:
    """Make one folder as another is."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(of, to, symlinks=True)


def targets() -> Iterator[Target]:
    """Everything, in an order in which each has what it needs."""
    yield Target("study", ("study",))
    yield Target("cache import", small_study.GIVEN)
    for stage in STAGES:
        yield Target(" ".join(stage), stage)
    for words in (
        "status", "plan", "cache list", "cache verify --deep", "cache show pets tiny",
        "datasets check", "datasets show pets", "models", "models show tiny", "scores list",
        "power",
    ):  # fmt: skip
        yield Target(words, ("cli", *words.split()), reads=True)
    yield Target("datasets check pets", ("cli", "datasets", "check", "pets"), reads=True)
    yield Target("cache export", ("cli", "cache", "export", "pets", "tiny", "--to", "export"))
    yield Target("scores export", ("cli", "scores", "export", "export/scores.csv"))
    yield Target("figures", ("cli", "figures", "--format", "svg", "--out", "export/figures"))
    yield Target("take", ("cli", "take", "tiny", "export/taken", "--dataset", "pets"))
    yield Target("models check", ("cli", "models", "check", "tiny"), reads=True)
    yield Target("cache verify --repair", ("cli", "cache", "verify", "--repair"), flip_a_chunk)
    yield Target("extract pets, damaged", ("extract", "pets"), flip_a_chunk)
    yield Target("neighbors, anew", ("neighbors",), _forget_neighbors)
    yield Target("extract pets, relabelled", ("extract", "pets"), _relabel)
    yield Target("cache prune", ("cli", "cache", "prune", "--yes"), _drop)
    yield Target("protocol knn, another k", ("protocol", "knn"), _another_k)
    yield Target("protocol knn, taken back", ("protocol", "knn"), _former_k)
    yield Target("scores import", ("cli", "scores", "import", "theirs.csv"), _theirs)
    yield Target("collect, with theirs", ("collect",))
    yield Target("scores remove", ("cli", "scores", "remove", "theirs"))
    yield Target("upgrade", ("cli", "upgrade"), _old)
    yield Target("use", ("cli", "use", "other.yaml"), _other)


def flip_a_chunk(work: Path) -> None:
    """One bit."""
    path = work / "data/embeddings/pets/tiny.zarr/train/embedding/c/0/0"
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)


def _forget_neighbors(work: Path) -> None:
    shutil.rmtree(work / "data/neighbors")


def _relabel(work: Path) -> None:
    (work / "images/train/cat/000.png").rename(work / "images/train/dog/900.png")
    _edit(work, lambda study: study["models"].pop("given"))
    assert run(work, ("index", "pets")).status == 0


def _drop(work: Path) -> None:
    _edit(work, lambda study: study["models"].pop("net"))


def _another_k(work: Path) -> None:
    _edit(work, lambda study: study["knn"]["k"].append(2))


def _former_k(work: Path) -> None:
    _edit(work, lambda study: study["knn"]["k"].remove(2))


def _theirs(work: Path) -> None:
    rows = "m1,pets,knn,top1,0.5\nm2,pets,knn,top1,0.75\n"
    (work / "theirs.csv").write_text(f"model,dataset,protocol,metric,value\n{rows}")


def _old(work: Path) -> None:
    path = work / "params.yaml"
    path.write_text(path.read_text().replace("n_neighbors:", "keep:"))


def _other(work: Path) -> None:
    shutil.copy(work / "params.yaml", work / "other.yaml")
    _edit(work, lambda study: study["models"].pop("own"))


def _edit(work: Path, change: Callable[[dict], object]) -> None:
    path = work / "params.yaml"
    study = YAML().load(path.read_text())
    change(study)
    with path.open("w") as file:
        YAML().dump(study, file)
