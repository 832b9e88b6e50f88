"""dvc.yaml says of each stage what it depends on: the modules and the sections that it reads."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest
from projects import REPOSITORY
from ruamel.yaml import YAML

from pipeline.datasets import source_list
from pipeline.project.later import Later
from pipeline.project.paths import PARAMS, SECTIONS, name_path, provenance_path, section_path
from pipeline.study import protocol_list
from pipeline.study.params import load_study
from pipeline.study.schema import Study

FLOORS = ("cache", "pipeline", "stages")

_CONSTANT = re.compile(r"^[A-Z_]*(FORMAT|DECODER|VERSION|RULES)\b *(:[^=]*)?= ", re.MULTILINE)
"""Part of keys: raised when numbers or their storage change, and then stages have to run."""


def stages() -> dict[str, dict]:
    found = YAML(typ="safe").load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in found.items()}


def file_of(module: str) -> Path | None:
    path = REPOSITORY.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file() and module.split(".")[0] in FLOORS:
            return file
    return None


@cache
def imported(file: Path) -> frozenset[Path]:
    """Files of the project that one imports, inside functions too; not for types only."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(filter(None, map(file_of, names)))


def closure(*files: Path) -> set[Path]:
    """Files and all that they import, directly or not."""
    seen: set[Path] = set()
    ahead = list(files)
    while ahead:
        here = ahead.pop()
        if here not in seen:
            seen.add(here)
            ahead.extend(imported(here))
    return seen


RUN = ("run", "finish", "sentence")
"""What of a protocol only its own stage calls, or changes no number."""


def imported_by(name: str) -> set[Path]:
    """Files that a stage imports, those too that protocols name and import when they are called."""
    protocol = protocol_list.find_protocol(name)
    if protocol is not None:
        return closure(REPOSITORY / "stages/protocol.py", *named_by(protocol))
    seen = closure(REPOSITORY / "stages" / f"{name}.py")
    if REPOSITORY / "pipeline/datasets/sources.py" in seen:  # which opens and lists all sources
        seen = closure(*seen, *(f for source in source_list.SOURCES for f in named_by(source)))
    if REPOSITORY / "pipeline/study/records.py" in seen:  # keys of all protocols
        seen = closure(*seen, *(f for p in protocol_list.PROTOCOLS for f in named_by(p, *RUN)))
    return seen


def named_by(thing, *without: str) -> list[Path]:
    fields = {n: value for n, value in vars(thing).items() if n not in without}
    return [file_of(value.module) for value in fields.values() if isinstance(value, Later)]


def undeclared(name: str, deps: list[str]) -> list[str]:
    """Modules that a stage imports, that hold a constant of keys, and that its deps do not name."""
    declared = [REPOSITORY / dep for dep in deps]
    return sorted(
        str(file.relative_to(REPOSITORY))
        for file in imported_by(name)
        if _CONSTANT.search(file.read_text(encoding="utf-8"))
        and not any(file == dep or dep in file.parents for dep in declared)
    )


@pytest.mark.parametrize("name", stages())
def test_a_stage_depends_on_every_constant_of_keys_that_it_imports(name):
    assert undeclared(name, stages()[name]["deps"]) == []


def test_that_test_sees_what_is_missing():
    deps = [dep for dep in stages()["knn"]["deps"] if dep != "pipeline/study"]
    assert undeclared("knn", deps) == ["pipeline/study/records.py"]
    assert len(imported_by("knn")) > 50
    assert REPOSITORY / "pipeline/finetuning/cells.py" in imported_by("collect")


@pytest.mark.parametrize("name", stages())
def test_what_a_stage_depends_on_is_there(name):
    deps = [dep for dep in stages()[name]["deps"] if dep.split("/")[0] in FLOORS]
    assert [dep for dep in deps if not (REPOSITORY / dep).exists()] == []
    assert len(set(deps)) == len(deps)


class Recording(Study):
    """A study that knows which of its sections were read."""

    def __getattribute__(self, name):
        if name in Study.model_fields:
            READ.add(name)
        return super().__getattribute__(name)


READ: set[str] = set()


def load_recording() -> Study:
    study = Recording(**dict(load_study()))
    READ.clear()  # its own checks read everything
    return study


CARRIED = {
    "datasets": ("data/index", "data/index/${key}.parquet", "data/study/datasets/${key}.json"),
    "models": ("data/cells", "data/provenance", "results/scores.nc"),
    "extraction": ("data/cells", "results/scores.nc"),
    "pretrain": ("data/checkpoints", "data/cells"),
    "neighbors": ("data/neighbors", "results/knn"),
    **{p: (f"results/{p}", "results/scores.nc") for p in ("knn", "linear", "fewshot", "transfer")},
    "transferability": ("results/predictors", "results/scores.nc"),
}
"""Sections whose changes reach a stage through files that it depends on; scores.nc has a digest of
all records."""

ASKED_ONLY = {
    "neighbors": {"knn"},  # refuses a k beyond the train images before it searches
    "fewshot": {"finetune", "transferability", "transfer"},  # whether these are asked for at all
    "predictors": {"fewshot", "finetune", "transfer"},
}
"""Sections that a stage reads, and that change nothing of what it writes."""


@pytest.fixture
def recorded(project, monkeypatch):
    """Runs a stage; gives the sections that it read."""
    project.params["fewshot"] = {"shots": [1], "episodes": 2, "episodes_above_five": 2}
    project.params["transferability"] = {"names": ["rankme", "logme"]}
    project.params["datasets"]["more"] = {**project.params["datasets"]["pets"]}
    project.params["transfer"] = {"sources": ["more"]}
    project.params["models"]["other"] = {**project.params["models"]["tiny"], "weights": "random(1)"}
    project.write()

    def run(name: str) -> set[str]:
        ours = protocol_list.find_protocol(name) is not None
        module = importlib.import_module(f"stages.{'protocol' if ours else name}")
        monkeypatch.setattr(module, "load_study", load_recording)
        sections: set[str] = set()
        of_datasets = name in ("index", "extract")
        for argument in (["pets"], ["more"]) if of_datasets else ([],):
            project.run(name, *argument).succeeded()
            sections |= READ
        return sections

    return run


def test_what_an_import_takes_away_are_outputs_that_dvc_does_not_restore_by_itself():
    """`cache import` and `models fetch` remove them, so that DVC runs the stage (see `imported`).

    Of an output that is not `persist`, DVC would fetch the former content from its run cache.
    """
    taken = {"index": name_path("KEY"), "extract": provenance_path("KEY", "m").parent}
    for stage, path in taken.items():
        outs = [out for out in stages()[stage]["outs"] if str(path).replace("KEY", "${key}") in out]
        assert [out[next(iter(out))]["persist"] for out in outs] == [True], stage


def test_a_stage_names_the_sections_that_it_reads(recorded):
    wrong = {}
    for name, stage in stages().items():
        whole = {str(PARAMS), str(SECTIONS)} & set(stage["deps"])
        named = {s for s in Study.model_fields if whole or str(section_path(s)) in stage["deps"]}
        carried = {s for s, files in CARRIED.items() if set(files) & set(stage["deps"])}
        read = recorded(name)
        if missing := read - named - carried - ASKED_ONLY.get(name, set()):
            wrong[name] = missing
    assert not wrong, "\n".join(f"{n}: {sorted(s)}" for n, s in wrong.items())


@pytest.mark.parametrize("section", list(Study.model_fields))
def test_a_section_left_out_is_refused_before_dvc_stops_at_it(project, section):
    """DVC: "Parameters 'pretrain' are missing"; with one rule, status and stages say it first."""
    del project.params[section]
    project.write()
    for command in (("study",), ("cli", "status"), ("knn",)):
        project.run(*command).refused(section, "a required key is absent")
