"""A study from a stranger: none of its names reaches a shell, or a path outside the project."""

from __future__ import annotations

import subprocess

import pytest
from hostile_names import HOSTILE


@pytest.fixture
def surroundings(project):
    """A file that is none of the project's, and one of its own; returns what must stay as it is."""
    folder = project.folder
    (folder.parent / "precious.parquet").write_text("not the project's")
    (folder / "precious.parquet").write_text("the project's")

    def around() -> dict[str, bytes]:
        found = {p: p.read_bytes() for p in folder.parent.glob("*") if p.is_file()}
        kept = {p: p.read_bytes() for p in folder.glob("*") if p.is_file()}
        return {str(p): content for p, content in (found | kept).items() if p.name != "params.yaml"}

    return around


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:20].encode("unicode_escape"))
def test_a_name_that_is_no_name_is_refused_first(project, surroundings, name):
    before = surroundings()
    pets, tiny = project.params["datasets"]["pets"], project.params["models"]["tiny"]
    if name and "\0" not in name:
        for section, kept in (("datasets", pets), ("models", tiny)):
            former = project.params[section]
            project.params[section] = {name: kept}
            project.write()
            for stage in ("study", "index", "extract", "neighbors"):
                arguments = [name] if stage in ("index", "extract") and name[0] != "-" else []
                project.run(stage, *arguments).refused(section, "not a usable name", "rename it")
            project.params[section] = former
    project.write()
    if name[:1] != "-" and "\0" not in name:
        project.run("index", name).refused(*(["no such data set"] if name else ["DVC_STAGE"]))
    assert surroundings() == before
    assert not (project.folder / "data").exists()


@pytest.mark.parametrize("stage", ["index", "extract"])
@pytest.mark.parametrize(
    "said",
    ["", "index", "extract@", "extract@x; touch PWNED", "index@$(touch PWNED)", "index@../pets",
     "other@pets", "index@pets@pets", "index@pets\n", "x/dvc.yml:index@pets"],
)  # fmt: skip
def test_what_dvc_calls_a_stage_is_compared_with_the_study(project, monkeypatch, stage, said):
    monkeypatch.setenv("DVC_STAGE", said)
    project.run(stage).refused("expected")
    assert not (project.folder / "data").exists()


def test_the_stages_own_name_is_enough(project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "index@pets")
    project.run("index").succeeded("index pets: 8 train and 2 val images")
    monkeypatch.setenv("DVC_STAGE", "../dvc.yaml:extract@pets")  # from a folder below
    project.run("extract").succeeded("extract pets: 0 cached, 1 computed")


def test_no_command_holds_a_name():
    from projects import REPOSITORY
    from ruamel.yaml import YAML

    from pipeline.study.protocol_list import PROTOCOLS

    stages = YAML(typ="safe").load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    ours = {protocol.name for protocol in PROTOCOLS}
    for name, stage in stages.items():
        stage = stage.get("do", stage)
        module = f"protocol {name}" if name in ours else name
        assert stage["cmd"] == f"python -m stages.{module}"
        for out in stage["outs"]:
            if "$" in str(out):  # else DVC deletes what the name leads to before the command
                assert list(out.values()) == [{"persist": True}]


@pytest.mark.slow
def test_dvc_runs_nothing_of_such_a_study(scratch, project, surroundings):
    """The real DVC, with each way to start a stage; then the way that does not check first."""

    def dvc(*command: str) -> subprocess.CompletedProcess[str]:
        return scratch.ran("python", "-m", "dvc", *command)

    for rows in (["git", "add", "--all"], [*GIT, "commit", "--quiet", "-m", "all"]):
        scratch.do(*rows)
    assert dvc("repro", "extract@pets").returncode == 0  # there is something to lose
    before = everything(scratch)
    kept = dict(project.params["datasets"])
    usable = [n for n in HOSTILE if n and "\0" not in n]
    up = ["..", "../..", "../../precious"]
    odd = [n for n in usable if "." not in n and "@" not in n]
    for names in (odd, *([name] for name in (*up, *UP)), ["a.b"], ["a@b"]):
        project.params["datasets"] = kept | dict.fromkeys(names, kept["pets"])
        project.write()
        for command in COMMANDS if names in (odd, [".."]) else DELETING:
            done = dvc(*command)
            if command[0] in ("repro", "exp"):
                assert done.returncode != 0, (names, command, done.stdout)
            assert not list(scratch.folder.parent.rglob("PWNED"))
            after = everything(scratch)
            lost = {path for path in before if after.get(path) != before[path]}
            assert not lost, (names, command, done.stdout[-500:], done.stderr[-500:])
        if names == UP[:1]:
            said = dvc("repro", "--single-item", "index").stderr
            assert "letters/digits/and/underscores" in said  # what a name may be
            assert "is ignored by" in said


GIT = ("git", "-c", "user.name=n", "-c", "user.email=e")

UP = ["../../images", "../embeddings/pets", "x/../../../images", "../" * 5 + "precious"]
"""Further ways up: to the user's images, to the project's own cells, out of the project."""

COMMANDS = (
    ["repro"],
    ["repro", "--single-item", "index"],
    ["repro", "--single-item", "--keep-going", "index", "extract"],
    ["exp", "run"],
    ["checkout", "--force"],
    ["status"],
)

DELETING = COMMANDS[3:5]


def everything(scratch) -> dict[str, bytes]:
    """All that may not change: the user's files, and cells that are there."""
    root = scratch.folder.parent
    kept = [p for p in root.rglob("*") if p.is_file() and not {".git", ".dvc"} & {*p.parts}]
    left_out = ("params.yaml", "dvc.lock", ".folder")
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in kept
        if p.name not in left_out
        and "__pycache__" not in p.parts
        and scratch.folder / "data" / "study" not in p.parents  # params.yaml itself, as files
    }
