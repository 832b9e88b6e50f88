"""In which order `dvc repro` goes through a study's stages, known without importing DVC."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PIPELINE = Path("dvc.yaml")


def stage_order(datasets: Collection[str], pipeline: Path = PIPELINE) -> list[str]:
    """Names of all stages, as DVC calls them (``index@pets``), in the order that it takes.

    DVC walks the graph of stages depth first, each stage after those that make what it reads: a
    path that is one of its deps, lies above one, or below one.

    Parameters
    ----------
    datasets : collection of str
        Of the study: stages with ``foreach`` are made for each.
    pipeline : Path
        The file that describes them.
    """
    stages = dict(_expanded(YAML(typ="safe").load(pipeline)["stages"], datasets))
    makers = {out: name for name, stage in stages.items() for out in stage["outs"]}
    order: list[str] = []
    begun: set[str] = set()

    def visit(name: str) -> None:
        begun.add(name)
        for dep in stages[name]["deps"]:
            for maker in _makers_of(dep, makers):
                if maker not in begun:
                    visit(maker)
        order.append(name)

    for name in stages:
        if name not in begun:
            visit(name)
    return order


def _expanded(
    stages: Mapping[str, Any], datasets: Collection[str]
) -> Iterator[tuple[str, dict[str, list[str]]]]:
    for name, stage in stages.items():
        if "foreach" not in stage:
            yield name, _described(stage, "")
        else:
            for key in datasets:
                yield f"{name}@{key}", _described(stage["do"], key)


def _described(stage: Mapping[str, Any], key: str) -> dict[str, list[str]]:
    def paths(*fields: str) -> list[str]:
        found = [entry for name in fields for entry in stage.get(name, [])]
        names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in found]
        return [name.replace("${key}", key) for name in names]

    return {"deps": paths("deps"), "outs": paths("outs", "metrics", "plots")}


def _makers_of(dep: str, makers: Mapping[str, str]) -> Iterator[str]:
    """The stages whose output a dep is, lies in, or holds."""
    parts = Path(dep).parts
    for number in range(1, len(parts) + 1):
        if (above := "/".join(parts[:number])) in makers:
            yield makers[above]
    for out, maker in makers.items():
        if out.startswith(f"{'/'.join(parts)}/"):
            yield maker
