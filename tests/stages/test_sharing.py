"""Embeddings shared through a DVC remote: a colleague runs no forward pass."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import warm
from projects import REPOSITORY, RESNET, VIT
from scratch import Scratch

from cache.cell import Cell, CellAddress

pytestmark = pytest.mark.slow

DVC = (sys.executable, "-m", "dvc")
IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.com")

# A process of its own: moto's imports and threads stay out of pytest's, whose warnings are errors.
# It ends when its input does, so also when pytest is killed.
S3_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def local_remote(tmp_path):
    """A folder, as on a file server: its address, and no settings."""
    return str(tmp_path / "remote"), {}


@pytest.fixture
def s3_remote(monkeypatch, tmp_path):
    """A bucket of a pretended S3 service on this machine: its address, and DVC's settings."""
    for module, package in (("dvc_s3", "dvc-s3"), ("moto", "moto[server]"), ("flask", "flask")):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{package} is not installed: pip install -e '.[s3,dev]'")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "pretended",
        "AWS_SECRET_ACCESS_KEY": "pretended",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    with subprocess.Popen(
        [sys.executable, "-c", S3_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        port = server.stdout.readline().strip()
        assert port.isdecimal(), "moto's server did not start"
        endpoint = f"http://127.0.0.1:{port}"
        bucket = urllib.request.Request(f"{endpoint}/bucket", method="PUT")
        urllib.request.urlopen(bucket, timeout=60).close()
        yield "s3://bucket/probeline", {"endpointurl": endpoint}
        server.stdin.close()


def test_colleagues_without_images_change_k_and_extract_nothing(
    local_remote, s3_remote, scratch, kept_study, tmp_path, monkeypatch
):
    """One study, pushed to a folder and to S3; a colleague at each."""
    scratch.finish(kept_study)
    scratch.do("git", "add", "-A")
    scratch.do("git", *IDENTITY, "commit", "-q", "-m", "a study")
    forbid_torch(scratch, monkeypatch, tmp_path)
    for name, (address, settings) in {"folder": local_remote, "s3": s3_remote}.items():
        scratch.do(*DVC, "remote", "add", "-q", "-d", name, address)
        for option, value in settings.items():
            scratch.do(*DVC, "remote", "modify", name, option, value)
        scratch.do("git", "add", "-A")
        scratch.do("git", *IDENTITY, "commit", "-q", "-m", f"the remote {name}")
        scratch.do(*DVC, "push", "-q")
        clone = tmp_path / f"a colleague at {name}"
        scratch.do("git", "clone", "-q", str(scratch.folder), str(clone))
        assert not (clone / "images").exists()
        pull_by_and_by(scratch, clone)
        change_k(scratch, clone)


def pull_by_and_by(scratch: Scratch, clone: Path) -> None:
    """One model on one data set, then one data set, then all; and look at it."""
    embeddings = clone / "data" / "embeddings"
    # A path inside what DVC tracks as a whole.
    scratch.do(*DVC, "pull", "-q", "data/embeddings/pets/tiny.zarr", folder=clone)
    assert stores_in(embeddings) == ["pets/tiny.zarr"]
    for split in ("train", "val"):
        same = (
            Cell.open(CellAddress(folder / "data/embeddings/pets/tiny.zarr", split)).read()
            for folder in (scratch.folder, clone)
        )
        np.testing.assert_array_equal(*same)
    scratch.do(*DVC, "pull", "-q", "extract@pets", folder=clone)
    assert stores_in(embeddings) == ["pets/net.zarr", "pets/tiny.zarr"]
    scratch.do(*DVC, "pull", "-q", folder=clone)
    said = scratch.do(sys.executable, "-m", "stages.cli", "status", folder=clone)
    assert "all 4 cells are cached and scored" in said
    said = scratch.do(sys.executable, "-m", "stages.cli", "cache", "verify", "--deep", folder=clone)
    assert "8 cells checked (every byte read), 0 damaged" in said


def change_k(scratch: Scratch, clone: Path) -> None:
    """Another k runs what votes and what follows, and nothing else."""
    params = (clone / "params.yaml").read_text()
    changed = re.sub(r"k:\n\s+- 3", "k:\n  - 2", params, count=1)
    assert changed != params
    (clone / "params.yaml").write_text(changed)
    said = scratch.do(*DVC, "repro", folder=clone)
    assert set(re.findall(r"Running stage '([^']+)'", said)) == {
        "study",
        "knn",
        "transfer",
        "collect",
        "correlate",
        "report",
    }
    assert "knn: 0 cached, 4 computed" in said


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_cells_linked_with_dvcs_cache_are_replaced_never_written_through(kind, project):
    project.params["models"] = {"tiny": {**VIT}, "net": {**RESNET}}
    project.prepare()
    # `dvc add` stands for the stages: they would take the links away before they run.
    (project.folder / "dvc.yaml").write_text("stages: {}\n")
    dvc(project, "init", "--no-scm", "-q")
    dvc(project, "config", "cache.type", kind)
    shutil.copy(REPOSITORY / ".dvcignore", project.folder)
    dvc(project, "add", "-q", "data/embeddings")
    assert unlinked(project) == []

    # Other weights: the stale cells are replaced.
    before = objects(project)
    project.params["models"]["tiny"]["weights"] = "random(1)"
    project.write()
    project.run("extract", "pets").succeeded("1 cached, 1 computed")
    assert {p.split("/")[3] for p in unlinked(project)} == {"tiny.zarr"}
    assert objects(project) == before
    dvc(project, "add", "-q", "data/embeddings")
    assert unlinked(project) == []

    # A damaged chunk is damaged in DVC's cache, too. It must not come back after the repair.
    chunk = project.folder / "data/embeddings/pets/tiny.zarr/train/embedding/c/0/0"
    flip_a_bit(chunk)
    assert len(damaged_objects(project)) == 1
    before = objects(project)
    project.run("cli", "cache", "verify", "--repair").succeeded("1 cells mended, 1 chunks")
    assert objects(project) == before  # marked, not written
    dvc(project, "add", "-q", "data/embeddings")
    assert damaged_objects(project) == []
    assert unlinked(project) == []
    project.run("cli", "cache", "verify", "--deep").succeeded("4 cells checked", "0 damaged")

    # Neither must a damaged description.
    flip_a_bit(project.folder / "data/embeddings/pets/net.zarr/val/zarr.json")
    project.run("cli", "cache", "verify", "--repair").succeeded("1 cells mended, 0 chunks")
    dvc(project, "add", "-q", "data/embeddings")
    assert damaged_objects(project) == []
    project.run("cli", "cache", "verify", "--deep").succeeded("4 cells checked", "0 damaged")

    # Deleted cells leave the working folder only.
    before = objects(project)
    del project.params["models"]["net"]
    project.write()
    project.run("cli", "cache", "prune", "--yes").succeeded("2 cells deleted")
    assert objects(project) == before
    assert unlinked(project) == []
    assert project.left_overs() == []


def dvc(project, *arguments):
    said = {"python": warm.python(), "DVC_NO_ANALYTICS": "1"}
    project.shell("-m", "dvc", *arguments, **said).succeeded()


def objects(project):
    """The content of DVC's cache: digest of the bytes, by path."""
    files = (project.folder / ".dvc" / "cache" / "files" / "md5").rglob("*")
    return {p: hashlib.md5(p.read_bytes()).hexdigest() for p in files if p.is_file()}


def damaged_objects(project):
    """Objects whose path in DVC's cache is not the digest of their bytes."""
    return [
        path
        for path, digest in objects(project).items()
        if (path.parent.name + path.name).removesuffix(".dir") != digest
    ]


def unlinked(project):
    """Files of cells that are not links to DVC's cache."""
    files = [p for p in (project.folder / "data" / "embeddings").rglob("*") if not p.is_dir()]
    assert files
    return [
        p.relative_to(project.folder).as_posix()
        for p in files
        if not p.is_symlink() and p.stat().st_nlink == 1
    ]


def flip_a_bit(path):
    """As a failing disk does: in place, and neither the time nor the mode of the file changes."""
    facts = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    path.chmod(facts.st_mode)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def stores_in(embeddings):
    """``<data set>/<model>.zarr`` of every store that is there."""
    return sorted(p.relative_to(embeddings).as_posix() for p in embeddings.glob("*/*"))


def forbid_torch(scratch, monkeypatch, tmp_path):
    """From here on, a process that imports torch or timm fails: no network can be run."""
    for module in ("torch", "timm"):
        (tmp_path / "forbidden" / module).mkdir(parents=True)
        (tmp_path / "forbidden" / module / "__init__.py").write_text(
            f"raise AssertionError('{module} was imported')\n"
        )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "forbidden"))
    for module in ("torch", "timm"):
        with pytest.raises(AssertionError, match=f"{module} was imported"):
            scratch.do(sys.executable, "-c", f"import {module}")
