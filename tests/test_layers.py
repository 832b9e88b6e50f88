"""The house: imports point down only, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FLOORS = ("cache", "pipeline", "stages", "probeline")
HEAVY = ("torch", "timm", "torchvision", "sklearn", "pandas", "fsspec", "aiohttp")


def modules_of(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too, for types only too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            within = {f"{node.module}.{name.name}" for name in node.names}
            found |= within if node.module in FLOORS else {node.module or ""}
    return found


def imports_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in modules_of(path)}


def files_of(floor: str) -> list[Path]:
    return sorted((REPOSITORY / floor).rglob("*.py"))


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_point_only_down(floor):
    above = set(FLOORS[FLOORS.index(floor) + 1 :]) | {"tests", "benchmarks"}
    files = files_of(floor)
    assert len(files) > 1
    wrong = {f.name: bad for f in files if (bad := imports_of(f) & above)}
    assert not wrong


def test_what_is_read_in_python_runs_no_stage():
    assert not {f.name for f in files_of("probeline") if "stages" in imports_of(f)}


def test_the_cache_knows_no_models_and_no_images():
    forbidden = {"torch", "timm", "torchvision", "PIL", "sklearn", "pipeline", "stages"}
    assert not {f.name: b for f in files_of("cache") if (b := imports_of(f) & forbidden)}


def test_only_the_cache_knows_how_chunks_lie_on_disk():
    known = ("chunk_name", "manifest.chunk_rows", "manifest.digests", "embedding/c")
    wrong = [
        f"{path.relative_to(REPOSITORY)}: {word}"
        for path in files_of("pipeline")
        for word in known
        if word in path.read_text(encoding="utf-8")
    ]
    assert not wrong


ROOMS = (
    ("machine", "project"),
    ("fetching",),
    ("models",),
    ("datasets",),
    ("study",),
    ("embeddings",),
    ("neighbors", "heads"),
    ("probes",),
    ("pretraining", "finetuning", "results"),
    ("statistics", "taken"),
    ("report", "planning"),
)
"""The packages of pipeline/, from the ground up: each imports from those of lower rows only."""


def test_every_module_of_the_pipeline_lies_in_a_room():
    rooms = {f.name for f in (REPOSITORY / "pipeline").iterdir() if (f / "__init__.py").exists()}
    assert rooms == {name for row in ROOMS for name in row}
    assert [f.name for f in (REPOSITORY / "pipeline").glob("*.py")] == ["__init__.py"]


def test_the_rooms_of_the_pipeline_import_downwards():
    height = {name: i for i, row in enumerate(ROOMS) for name in row}
    wrong = [
        f"{path.relative_to(REPOSITORY)}: {module}"
        for path in sorted((REPOSITORY / "pipeline").glob("*/*.py"))
        for module in sorted(modules_of(path))
        if module.startswith("pipeline.")
        and (there := module.split(".")[1]) != (here := path.parent.name)
        and height[there] >= height[here]
    ]
    assert not wrong


@pytest.mark.parametrize("floor", FLOORS)
def test_packages_are_two_levels_deep_at_most(floor):
    folder = REPOSITORY / floor
    assert all(len(f.relative_to(folder).parts) <= 2 for f in files_of(floor))


MODULES = """
import runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_module({module!r}, run_name="__main__")
except SystemExit as end:
    status = end.code or 0
loaded = [m for m in {heavy!r} if m in sys.modules]
print("LOADED", loaded, "STATUS", status)
"""


def loaded_by(project, module: str, *arguments: str) -> str:
    code = MODULES.format(argv=[module, *arguments], module=module, heavy=HEAVY)
    ran = project.shell("-c", code)
    assert ran.status == 0, ran.err
    return ran.out.splitlines()[-1]


def test_stages_without_work_import_nothing_heavy(project):
    project.prepare()
    for stage in ("neighbors", "knn", "linear"):
        project.run(stage).succeeded("1 computed")
    for module, arguments in (
        ("stages.extract", ["pets"]),
        ("stages.cli", ["status"]),
        ("stages.cli", ["cache", "list"]),
        ("stages.cli", ["cache", "verify", "--deep"]),
    ):
        assert loaded_by(project, module, *arguments) == "LOADED [] STATUS 0", module
    for stage in (
        ("neighbors",),
        ("protocol", "knn"),
        ("protocol", "linear"),
        ("protocol", "fewshot"),
        ("protocol", "transfer"),
        ("protocol", "predictors"),
        ("similarity",),
    ):  # these know scikit-learn, but never torch
        line = loaded_by(project, f"stages.{stage[0]}", *stage[1:])
        assert "torch" not in line
        assert "timm" not in line
        assert line.endswith("STATUS 0")


def test_the_check_itself_sees_torch(project):
    project.write()
    project.run("index", "pets").succeeded()
    assert "'torch', 'timm'" in loaded_by(project, "stages.extract", "pets")


def test_every_module_says_what_it_is():
    files = [f for floor in FLOORS for f in files_of(floor)]
    silent = [f.name for f in files if not ast.get_docstring(ast.parse(f.read_text()))]
    assert not silent
    assert sys.version_info >= (3, 11)


def test_the_description_of_the_package_is_one_that_setuptools_takes():
    """Installing reads it only in a fresh environment, which no other test makes."""
    pytest.importorskip("setuptools", minversion="77")
    from setuptools.config.pyprojecttoml import read_configuration

    found = read_configuration(REPOSITORY / "pyproject.toml")["tool"]["setuptools"]["packages"]
    assert {*FLOORS, *(f"pipeline.{name}" for row in ROOMS for name in row)} <= set(found)


def test_tests_mirror_the_rooms():
    """A test of a room lies in its folder; what tests share lies in tests/ itself."""
    folder = REPOSITORY / "tests/pipeline"
    assert not list(folder.glob("*.py"))
    rooms = {path.name for path in (REPOSITORY / "pipeline").iterdir() if path.is_dir()}
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} <= rooms
