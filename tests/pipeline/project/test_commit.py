"""Which commit the code is of: the code's own last one, whatever else was committed since."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from pipeline.project.commit import code_commit

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "project"
    (folder / "pipeline").mkdir(parents=True)
    git(folder, "init", "--quiet")
    for name, text in (("name", "A"), ("email", "a@example.org")):
        git(folder, "config", f"user.{name}", text)
    write(folder, "pipeline/a.py", "1")
    commit(folder, "code")
    return folder


def git(folder, *words):
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")


def commit(folder, message):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def test_commits_of_results_are_none_of_the_code(clone):
    code = code_commit(clone)
    assert (code.name, code.changed, code.unknown) == (git(clone, "rev-parse", "HEAD"), False, "")
    write(clone, "dvc.lock", "results")
    write(clone, "params.yaml", "study")
    assert commit(clone, "results") != code.name
    assert code_commit(clone) == code
    write(clone, "pipeline/a.py", "2")
    assert code_commit(clone).changed
    assert code_commit(clone).name == code.name
    newer = commit(clone, "more code")
    assert (code_commit(clone).name, code_commit(clone).changed) == (newer, False)
    write(clone, "pipeline/new.py", "in no commit")
    assert code_commit(clone).changed
    shutil.rmtree(clone / "pipeline")
    assert code_commit(clone).changed


def test_where_git_cannot_tell_it_says_why(clone, tmp_path):
    assert "no git repository" in code_commit(tmp_path).unknown
    inner = clone / "inner"
    inner.mkdir()
    assert "of its own" in code_commit(inner).unknown
    write(clone, "params.yaml", "study")
    commit(clone, "results")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", "1", clone.as_uri(), str(shallow))
    assert "shallow clone" in code_commit(shallow).unknown
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet")
    assert "no commit" in code_commit(empty).unknown
