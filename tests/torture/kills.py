"""Kill or fail every stage and command at chosen changes of the file system, then run it again.

After the second run all bytes must be those of a run that nothing befell, and nothing may lie
about.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sandbox
from ruamel.yaml import YAML
from sandbox import FAULTS, STAGES, Fault, files, run

OF_THE_MACHINE = ("data/cards/",)
"""Named by times and absolute paths: of no result."""


@dataclass
class Row:
    """What was tried at one stage or command."""

    target: str
    changes: int
    tries: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        return (
            f"`{self.target}`", f"{self.changes:,}", *(str(self.tries[kind]) for kind in FAULTS),
            str(len(self.faults)),
        )  # fmt: skip


HEADER = ("stage or command", "changes", "SIGKILL", "SIGTERM", "ENOSPC", "EIO", "faults")


def campaign(base: Path, per: int, only: tuple[str, ...] = ()) -> Iterator[Row]:
    """One row for each stage and command, as it is done.

    Parameters
    ----------
    base : Path
        An empty folder.
    per : int
        Tries at each target; the four kinds of fault take turns.
    only : tuple of str
        Words of targets; all without.
    """
    work, before, after = base / "work", base / "before", base / "after"
    sandbox.make_study(work)
    for name, command, prepare in _targets():
        asked = not only or any(word in name for word in only)
        if command[0] in ("correlate", "report") and not asked:
            continue  # slow, and no other target needs what they make
        prepare(work)
        _copy(work, before)
        whole = run(work, command)
        assert whole.status == 0, (name, whole)
        _copy(work, after)
        if not asked:
            continue
        row = Row(name, whole.changes)
        for number in range(min(per, whole.changes * len(FAULTS))):
            kind = FAULTS[number % len(FAULTS)]
            at = 1 + (number * whole.changes) // per
            _copy(before, work)
            said = _strike(work, command, Fault(kind, at), after)
            row.tries[kind] += 1
            row.faults += [f"{name}, {kind} at {at}: {text}" for text in said]
        _copy(after, work)
        yield row


def in_study(study: Path, per: int) -> Iterator[Row]:
    """Rows of some commands on a study that is made already, which is as it was afterwards."""
    base = study.parent
    made, before, after = base / "made", base / "before", base / "after"
    _copy(study, made)
    for name, command, prepare in _targets():
        if name not in (
            "cache import", "cache verify --repair", "extract pets, damaged", "cache prune",
        ):  # fmt: skip
            continue
        _copy(made, study)
        prepare(study)
        _copy(study, before)
        whole = run(study, command)
        assert whole.status == 0, (name, whole)
        _copy(study, after)
        row = Row(name, whole.changes)
        for number, kind in enumerate(FAULTS[:per] if per < len(FAULTS) else FAULTS):
            _copy(before, study)
            fault = Fault(kind, 1 + (1 + 2 * number) * whole.changes // (2 * len(FAULTS)))
            row.faults += [
                f"{name}, {fault}: {text}" for text in _strike(study, command, fault, after)
            ]
            row.tries[kind] += 1
        yield row
    _copy(made, study)


def _strike(work: Path, command: tuple[str, ...], fault: Fault, after: Path) -> list[str]:
    """What went wrong; nothing, where all is well."""
    wrong = []
    struck = run(work, command, fault)
    allowed = {"KILL": (-9, 0), "TERM": (143, -15, 0)}.get(fault.kind, (1, 0))
    if struck.status not in allowed:
        wrong.append(f"status {struck.status}: {struck.out[-300:]}")
    if "Traceback" in struck.out:
        wrong.append(f"a traceback: {struck.out[-600:]}")
    again = run(work, command)
    if again.status:
        return [*wrong, f"the second run: status {again.status}: {again.out[-600:]}"]
    found, expected = _comparable(work), _comparable(after)
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            how = "absent" if name not in found else "left" if name not in expected else "other"
            wrong.append(f"{name} is {how}")
    return wrong


def _comparable(folder: Path) -> dict[str, bytes]:
    return {n: d for n, d in files(folder).items() if not n.startswith(OF_THE_MACHINE)}


def _copy(of: Path, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(of, to, symlinks=True)


Target = tuple[str, tuple[str, ...], Callable[[Path], None]]


def _targets() -> Iterator[Target]:
    """Name, command, and what is done to the study before."""

    def nothing(_: Path) -> None:
        pass

    yield "cache import", sandbox.GIVEN, nothing
    for stage in STAGES:
        yield " ".join(stage), stage, nothing
    yield "cache export", ("cli", "cache", "export", "pets", "tiny", "--to", "export"), nothing
    yield "cache verify --repair", ("cli", "cache", "verify", "--repair"), _flip
    yield "extract pets, damaged", ("extract", "pets"), _flip
    yield "extract pets, relabelled", ("extract", "pets"), _relabel
    yield "cache prune", ("cli", "cache", "prune", "--yes"), _drop
    yield "protocol knn, another k", ("protocol", "knn"), _another_k
    yield "protocol knn, taken back", ("protocol", "knn"), _former_k
    yield "scores import", ("cli", "scores", "import", "theirs.csv"), _theirs
    yield "use", ("cli", "use", "other.yaml"), _other


def _flip(work: Path) -> None:
    path = work / "data/embeddings/pets/tiny.zarr/train/embedding/c/0/0"
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)


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


def _other(work: Path) -> None:
    shutil.copy(work / "params.yaml", work / "other.yaml")
    _edit(work, lambda study: study["models"].pop("own"))


def _edit(work: Path, change: Callable[[dict], object]) -> None:
    path = work / "params.yaml"
    study = YAML().load(path.read_text())
    change(study)
    with path.open("w") as file:
        YAML().dump(study, file)
