"""Preparing known data sets from a local server, in the real archives' layouts."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest
import servers
from projects import draw

from cache.errors import CellLockedError, DiskFullError, ProbelineError
from cache.lock import Lock
from pipeline.datasets import preparing
from pipeline.datasets.known import KnownDataset, known_dataset, known_names
from pipeline.datasets.preparing import describe_counts, prepare
from pipeline.fetching import transfers
from pipeline.fetching.archives import is_archive

BIRDS = ("001.Albatross", "002.Sparrow")
COUNTS = {"train": 2, "val": 2, "classes": 2}


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    draw(seed).save(file, "JPEG")
    return file.getvalue()


def cub_files(top: str = "CUB_200_2011/") -> dict[str, bytes]:
    names = [f"{bird}/{n}.jpg" for bird in BIRDS for n in range(2)]
    tables = {
        "images.txt": "".join(f"{n} {name}\n" for n, name in enumerate(names, 1)),
        "classes.txt": f"1 {BIRDS[0]}\n2 {BIRDS[1]}\n",
        "image_class_labels.txt": "1 1\n2 1\n3 2\n4 2\n",
        "train_test_split.txt": "1 1\n2 0\n3 1\n4 0\n",
    }
    files = {f"{top}images/{name}": jpeg(n) for n, name in enumerate(names)}
    return files | {top + name: text.encode() for name, text in tables.items()}


def tgz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch):
    """Serves `server.files` by name; a pause between attempts would only cost time."""
    monkeypatch.setattr(transfers.time, "sleep", lambda _: None)
    with servers.serving() as running:
        running.files = {}
        running.script = lambda request, _: servers.send(
            request, running.files[request.path.rpartition("/")[2]]
        )
        yield running


@pytest.fixture
def offered(server, monkeypatch) -> Callable[[str, dict[str, bytes]], KnownDataset]:
    """A known data set whose files lie on the server, with their digests; commands know it too."""

    def offer(name: str, files: dict[str, bytes], **changes: object) -> KnownDataset:
        server.files |= files
        base = server.address.rpartition("/")[0]
        known = known_dataset(name)
        here = [
            replace(
                file,
                address=f"{base}/{file.file}",
                md5=hashlib.md5(files[file.file]).hexdigest() if file.md5 else "",
            )
            for file in known.files
        ]
        entry = {**known.entry, "expected": COUNTS}
        made = replace(known, files=tuple(here), **{"entry": entry, **changes})
        for module in (
            "pipeline.datasets.settings",
            "stages.datasets_commands",
            "pipeline.datasets.known_layouts",
        ):
            monkeypatch.setattr(f"{module}.known_dataset", lambda _: made)
        return made

    return offer


@pytest.fixture
def cub(offered) -> KnownDataset:
    return offered("cub", {"CUB_200_2011.tgz": tgz({**cub_files(), "attributes.txt": b""})})


def test_one_archive_becomes_the_folder_and_a_second_run_does_nothing(cub, server, tmp_path):
    folder, made = prepare(cub, tmp_path / "images")
    assert (folder, made) == (tmp_path / "images" / "CUB_200_2011", True)
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")
             if p.is_file()}  # fmt: skip
    assert found == cub_files("")
    assert describe_counts(cub, folder) == "2 train and 2 val images of 2 classes, as expected"
    assert [p.name for p in folder.parent.iterdir()] == ["CUB_200_2011"]
    assert prepare(cub, tmp_path / "images") == (folder, False)
    assert len(server.asked) == 1


def test_several_files_and_a_shared_folder(offered, server, tmp_path):
    def files(domain: str) -> dict[str, bytes]:
        names = [f"{domain}/{c}/{n}.jpg" for c in ("cat", "dog") for n in range(2)]
        lists = ("".join(f"{n} 0\n" for n in names[i::2]).encode() for i in (0, 1))
        parts = zip((f"{domain}_train.txt", f"{domain}_test.txt"), lists, strict=True)
        return {f"{domain}.zip": zipped({n: jpeg(0) for n in names}), **dict(parts)}

    for domain in ("sketch", "real"):
        known = offered(f"imagenet_d_{domain}", files(domain))
        folder, made = prepare(known, tmp_path)
        assert made
        assert describe_counts(known, folder).startswith("2 train and 2 val")
    assert folder == tmp_path / "domainnet"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        f"{d}{end}" for d in ("sketch", "real") for end in ("", "_train.txt", "_test.txt")
    )
    (folder / "real_test.txt").unlink()
    asked = len(server.asked)
    assert prepare(known, tmp_path) == (folder, True)  # fetches what is missing, no more
    assert len(server.asked) == asked + 1


def test_a_cut_connection_goes_on_in_the_next_run(cub, server, tmp_path):
    whole = server.files["CUB_200_2011.tgz"]
    server.script = lambda request, number: (
        servers.send(request, whole, stop_after=len(whole) // 2)
        if number == 1
        else request.send_error(503)
    )
    with pytest.raises(ProbelineError, match="could not be downloaded"):
        prepare(cub, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".CUB_200_2011.partial"]
    server.script = lambda request, _: servers.send(request, whole)
    server.asked.clear()
    assert prepare(cub, tmp_path)[1]
    assert server.asked == [f"bytes={len(whole) // 2}-"]
    assert [p.name for p in tmp_path.iterdir()] == ["CUB_200_2011"]


def test_another_file_than_its_publishers_is_refused(cub, server, tmp_path):
    server.files["CUB_200_2011.tgz"] = tgz(cub_files() | {"CUB_200_2011/evil": b""})
    with pytest.raises(ProbelineError, match=r"not the file that was expected.*MD5"):
        prepare(cub, tmp_path)
    assert not (tmp_path / "CUB_200_2011").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"../evil": b"x"}, "leads out"),
        ({"CUB/images.txt": b""}, "does not hold what was expected"),
    ],
)
def test_an_archive_with_something_else_leaves_nothing(offered, tmp_path, files, words):
    known = offered("cub", {"CUB_200_2011.tgz": tgz(files)})
    with pytest.raises(ProbelineError, match=words):
        prepare(known, tmp_path / "in")
    assert not (tmp_path / "in" / "CUB_200_2011").exists()
    assert not list((tmp_path / "in").rglob("unpacked"))
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_full_disk_leaves_nothing_half_done_and_is_gone_on_from(
    cub, server, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "makefile", full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        prepare(cub, tmp_path)
    assert not (tmp_path / "CUB_200_2011").exists()
    monkeypatch.undo()
    assert prepare(cub, tmp_path)[1]
    assert len(server.asked) == 1  # what was fetched was kept


def test_a_run_that_was_killed_while_unpacking_is_done_again(cub, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "_rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(cub, tmp_path)
    monkeypatch.undo()
    unpacked = tmp_path / ".CUB_200_2011.partial" / "unpacked"
    (unpacked / "CUB_200_2011").mkdir(parents=True)  # as a killed process leaves it
    (unpacked / "CUB_200_2011" / "half.jpg").write_bytes(b"half")
    folder, made = prepare(cub, tmp_path)
    assert made
    assert not (folder / "half.jpg").exists()


def test_two_runs_at_once_are_told_of_each_other(cub, tmp_path):
    with (
        Lock(tmp_path / ".CUB_200_2011.lock.partial", "CUB"),
        pytest.raises(CellLockedError, match="another process"),
    ):
        prepare(cub, tmp_path)


def test_what_is_missing_in_an_existing_folder_is_counted(cub, tmp_path):
    folder, _ = prepare(cub, tmp_path)
    (folder / "images" / BIRDS[0] / "0.jpg").unlink()
    with pytest.raises(ProbelineError) as caught:
        describe_counts(cub, folder)
    assert caught.value.expected == "4 images"
    assert caught.value.found == f"3; these are missing: images/{BIRDS[0]}/0.jpg"


def test_counts_that_differ_are_said(offered, tmp_path):
    known = offered("cub", {"CUB_200_2011.tgz": tgz(cub_files())})
    folder, _ = prepare(known, tmp_path)
    other = replace(known, entry={"expected": {"train": 5994, "val": 2, "classes": 200}})
    with pytest.raises(ProbelineError) as caught:
        describe_counts(other, folder)
    assert (caught.value.expected, caught.value.found) == (
        "5,994 train, 200 classes",
        "2 train, 2 classes",
    )


def test_the_command_says_all_first_then_how_to_use_it(project, cub, server, monkeypatch):
    monkeypatch.setenv("PROBELINE_IMAGES", str(project.folder / "pictures"))
    done = project.run("cli", "datasets", "prepare", "cub").succeeded(
        "licence", "research and education only", "vision.caltech.edu", "about 1.15 GB",
        "cub: ready, 2 train and 2 val images of 2 classes, as expected",
        'cub: {source: "known:cub", path: $PROBELINE_IMAGES/CUB_200_2011}',
    )  # fmt: skip
    assert done.index("licence") < done.index("ready")
    project.run("cli", "datasets", "prepare", "cub").succeeded("was there already")
    assert len(server.asked) == 1
    project.params["datasets"] = {
        "cub": {"source": "known:cub", "path": "$PROBELINE_IMAGES/CUB_200_2011"}
    }
    project.write()
    project.run("index", "cub").succeeded("2 train and 2 val images of 2 classes")
    shutil.rmtree(project.folder / "pictures")
    project.run("cli", "datasets", "prepare", "cub", "--into", "here").succeeded(
        f"path: {project.folder / 'here' / 'CUB_200_2011'}}}"
    )


def test_what_needs_a_registration_is_told_to_the_letter(project):
    said = project.run("cli", "datasets", "prepare", "imagenet", "--into", "here")
    said.refused(
        "does not let a program fetch it", "ILSVRC2012_img_train.tar", "register", "image-net.org",
        str(project.folder / "here" / "imagenet"), "torchvision.datasets",
    )  # fmt: skip
    assert "about 155 GB" in said.out


def test_an_unknown_name_gets_the_nearest(project):
    project.run("cli", "datasets", "prepare", "imagnet").refused("did you mean imagenet")


def test_every_known_data_set_says_what_it_is_made_of():
    for known in map(known_dataset, known_names()):
        assert known.into
        assert known.pieces
        for file in known.files:
            assert 0 < file.gigabytes < 200
            assert not file.md5 or len(bytes.fromhex(file.md5)) == 16
            assert file.address.startswith("https://") or file.md5 or known.by_hand
            assert not file.address or file.address.endswith(f"/{file.file}")
            assert is_archive(file.file) or file.gives == {file.file: file.file}
            assert bool(file.address) != bool(known.by_hand)
