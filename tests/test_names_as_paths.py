"""Names that become paths: one rule, in every function that makes a path and in every command."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from hostile_names import HOSTILE
from hypothesis import example, given
from hypothesis import strategies as st

from cache.errors import ProbelineError
from pipeline.project import paths
from pipeline.project.names import NAME, checked_name, usable
from pipeline.results.foreign_scores import stored_path

MAKERS = [
    function
    for name, function in inspect.getmembers(paths, inspect.isfunction)
    if function.__module__ == paths.__name__ and not name.startswith("_")
]
"""Every function of `pipeline.project.paths`: what is added there is tested here."""

_NAMED = ("dataset", "model", "pretrained", "section")


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
@given(name=st.text(max_size=120))
@example("..")
@example("../..")
@example("a/b")
@example("x\n")
@example("٣")
@example("/etc")
def test_no_path_is_made_of_anything_else(maker, name):
    taken = [p for p in inspect.signature(maker).parameters if p in _NAMED]
    assert taken, "a path that no name is in needs no function"
    for hostile in taken:
        given_ = dict.fromkeys(inspect.signature(maker).parameters, "fine") | {hostile: name}
        if re.fullmatch(NAME, name, re.ASCII):
            maker(**given_)
        else:
            with pytest.raises(ProbelineError, match="not a usable name"):
                maker(**given_)


@given(st.text(max_size=300))
def test_what_is_proposed_is_usable(name):
    assert checked_name(usable(name), "name") == usable(name)


@given(st.from_regex(r"[A-Za-z0-9_]{1,100}", fullmatch=True))
def test_usable_names_are_kept(name):
    assert usable(name) == checked_name(name, "name") == name
    assert stored_path(name) == Path("scores") / f"{name}.csv"


@pytest.fixture
def embeddings(project, kept_project):
    """A folder as `cache export` writes it, and folders of value where a bad name would lead."""
    folder = project.folder

    def build() -> None:
        (folder / "emb").mkdir()
        for split in ("train", "val"):
            np.save(folder / "emb" / f"{split}.npy", np.eye(4, dtype=np.float32))
            (folder / "emb" / f"{split}.csv").write_text("class\na\na\nb\nb\n")
        project.prepare()

    project.once(kept_project, build)
    (folder.parent / "holiday").mkdir()
    (folder.parent / "holiday" / "photo.jpg").write_bytes(b"irreplaceable")
    return project


def everything(project) -> dict[str, bytes]:
    root = project.folder.parent
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file()}


PAIRS = [
    ("..", "embeddings"),
    ("..", ".."),
    ("../..", "data"),
    ("../../..", "holiday"),
    ("pets", "../../embeddings"),
    ("pets", "../../../../holiday"),
    ("pets", ".."),
    ("pets", "."),
    (".", "."),
    ("/", "tmp"),
    *((name, "tiny") for name in HOSTILE if name and "\0" not in name),
    *(("pets", name) for name in HOSTILE if name and "\0" not in name),
]


@pytest.mark.parametrize(("dataset", "model"), PAIRS)
def test_commands_refuse_such_names_and_touch_nothing(embeddings, dataset, model):
    before = everything(embeddings)
    named = (f"--dataset={dataset}", f"--model={model}")
    embeddings.run("cli", "cache", "import", "emb", *named).refused("not a usable name")
    for command in ("show", "export"):
        embeddings.run("cli", "cache", command, "--", dataset, model).refused()
    bad = dataset if dataset != "pets" else model
    for group, verb in (("models", "show"), ("models", "check"), ("datasets", "check"),
                        ("datasets", "show"), ("datasets", "prepare")):  # fmt: skip
        embeddings.run("cli", group, verb, "--", bad).refused()
    embeddings.run("cli", "scores", "import", "emb/train.csv", f"--as={bad}").refused(
        "not a usable name", "--as"
    )
    embeddings.run("cli", "scores", "remove", "--", bad).refused("not a usable name")
    assert everything(embeddings) == before


def test_folders_in_the_cache_with_such_names_are_named(embeddings):
    odd = embeddings.folder / "data" / "embeddings" / "my pets" / "tiny.zarr" / "val"
    odd.mkdir(parents=True)
    for command in ("list", "verify", "prune"):
        embeddings.run("cli", "cache", command).refused("my pets", "not a usable name")
    assert odd.is_dir()
