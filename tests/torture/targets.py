"""Every stage and command that is struck, and what is done to the study before."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fetched
from forks import run
from ruamel.yaml import YAML
from small_study import GIVEN, STAGES


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


def targets() -> Iterator[Target]:
    """Everything, in an order in which each has what it needs."""
    yield Target("study", ("study",))
    yield Target("cache import", GIVEN)
    for stage in STAGES:
        yield Target(" ".join(stage), stage)
    for words in (
        "status", "plan", "cache list", "cache verify --deep", "cache show pets tiny",
        "datasets", "datasets check", "datasets known", "datasets show pets", "models",
        "models zoo", "models show tiny", "scores list", "scores dictionary", "power",
    ):  # fmt: skip
        yield Target(words, ("cli", *words.split()), reads=True)
    yield Target("datasets check pets", ("cli", "datasets", "check", "pets"), reads=True)
    yield Target("cache export", ("cli", "cache", "export", "pets", "tiny", "--to", "export"))
    yield Target("scores export", ("cli", "scores", "export", "export/scores.csv"))
    yield Target("figures", ("cli", "figures", "--format", "svg", "--out", "export/figures"))
    yield Target("tables", ("cli", "tables", "--out", "export/tables"))
    yield Target("take", ("cli", "take", "tiny", "export/taken", "--dataset", "pets"))
    yield Target("predict", ("cli", "predict", "export/taken", "images/val"), reads=True)
    yield Target("models verify", ("cli", "models", "verify", "tiny"), reads=True)
    yield Target("models check", ("cli", "models", "check", "tiny"), reads=True)
    yield Target("cache verify --repair", ("cli", "cache", "verify", "--repair"), flip_a_chunk)
    yield Target("extract pets, damaged", ("extract", "pets"), flip_a_chunk)
    yield Target("extract pets, relabelled", ("extract", "pets"), _relabel)
    yield Target("neighbors, anew", ("neighbors",), _forget_neighbors)
    yield Target("cache prune", ("cli", "cache", "prune", "--yes"), _drop)
    yield Target("protocol knn, another k", ("protocol", "knn"), _another_k)
    yield Target("protocol knn, taken back", ("protocol", "knn"), _former_k)
    yield Target("scores import", ("cli", "scores", "import", "theirs.csv"), _theirs)
    yield Target("collect, with theirs", ("collect",))
    yield Target("scores remove", ("cli", "scores", "remove", "theirs"))
    yield Target("upgrade", ("cli", "upgrade"), _old)
    yield Target("use", ("cli", "use", "other.yaml"), _other)
    yield Target("models fetch", ("cli", "models", "fetch"), _published)
    prepare = ("cli", "datasets", "prepare", "cub", "--into", "fetched")
    yield Target("datasets prepare", prepare, fetched.offer_birds)


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


def _published(work: Path) -> None:
    _edit(work, lambda study: study["models"].update(published=fetched.model()))


def _edit(work: Path, change: Callable[[dict], object]) -> None:
    path = work / "params.yaml"
    study = YAML().load(path.read_text())
    change(study)
    with path.open("w") as file:
        YAML().dump(study, file)
