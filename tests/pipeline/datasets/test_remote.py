"""Images of a web server and of S3: digests as on the disk, and every failure explained."""

from __future__ import annotations

import builtins
import http.server
import io
import os
import pickle
import tarfile
import threading
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from projects import fill_folder

from cache.errors import ProbelineError
from pipeline.datasets import remote
from pipeline.datasets.blobs import LocalBlob
from pipeline.datasets.folders import Folder
from pipeline.datasets.index import Index
from pipeline.datasets.indexing import build_index
from pipeline.datasets.remote import Remote
from pipeline.datasets.settings import Dataset
from pipeline.datasets.zips import Zip

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


class Store(http.server.ThreadingHTTPServer):
    """A web server that gives files out by ranges, as far as a test lets it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.files: dict[str, bytes] = {}
        self.ranges, self.cut, self.status, self.asked = True, 0, 0, 0
        self.change_after = self.die_after = -1

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are what these tests are about."""


class Asked(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        store = self.server
        store.asked += 1
        data = store.files.get(self.path)
        status = store.status or (404 if data is None else 200)
        if 0 <= store.die_after < store.asked:
            self.close_connection = True
            return
        if status >= 400:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range", "") if store.ranges else ""
        body = data
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            body = data[int(first) : int(last) + 1 if last else None]
            status = 206
        self.send_response(status)
        if asked:
            self.send_header(
                "Content-Range", f"bytes {first}-{int(first) + len(body) - 1}/{len(data)}"
            )
        if store.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hash(data)}-{0 <= store.change_after < store.asked}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            if store.cut:
                store.cut -= 1
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    with Store() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("remote") / "images"
    fill_folder(folder / "train", {"cat": 4, "dog": 4})
    fill_folder(folder / "val", {"cat": 2, "dog": 2}, seed=50)
    (folder / "val" / "cat" / "notes.txt").write_text("x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "000.png").write_bytes(b"x")
    return folder


def tar(folder: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(folder, ".")
    return file.getvalue()


def zipped(folder: Path, **more: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
        for name, data in more.items():
            archive.writestr(name, data)
    return file.getvalue()


def table(folder: Path) -> bytes:
    rows = [p.relative_to(folder) for p in sorted(folder.glob("*/*/*.png"))]
    lines = [f"{p.as_posix()},{p.parts[1]},{p.parts[0]}" for p in rows]
    return "\n".join(["path,label,split", *lines, ""]).encode()


def build(path: str, **entry) -> Index:
    return build_index(
        "pets", Dataset(**{"source": "folder", "role": "in_domain", "path": path, **entry})
    )


def refused(path: str, **entry) -> str:
    with pytest.raises(ProbelineError) as caught:
        build(path, **entry)
    assert caught.value.remedy
    return str(caught.value)


def same(found: Index, expected: Index) -> None:
    for column in ("path", "sha256", "class", "split"):
        assert found.rows[column].to_pylist() == expected.rows[column].to_pylist(), column


def test_archives_and_files_of_a_web_server_have_the_digests_of_the_disk(store, images, tmp_path):
    local = build(str(images))
    store.files = {"/a/pets.tar": tar(images), "/a/pets.zip": zipped(images)}
    for name in ("pets.tar", "pets.zip"):
        found = build(f"{store.address}/a/{name}")
        same(found, local)
        assert found.passed_over == local.passed_over
    odd = tmp_path / "odd"
    fill_folder(odd / "train", {"cat #1": 2, "dog?": 2})
    fill_folder(odd / "val", {"cat #1": 1, "dog?": 1}, seed=9)
    paths = {p.relative_to(odd).as_posix(): p for p in odd.glob("*/*/*.png")}
    store.files = {f"/x/{quote(name)}": path.read_bytes() for name, path in paths.items()}
    store.files["/x/list.csv"] = table(odd)
    same(build(f"{store.address}/x", source="manifest", manifest="list.csv"), build(str(odd)))
    paths = {p.relative_to(images).as_posix(): p for p in images.glob("*/*/*.png")}
    store.files = {f"/x/{name}": path.read_bytes() for name, path in paths.items()}
    store.files["/x/list.csv"] = table(images)
    (tmp_path / "here.csv").write_bytes(table(images))
    for manifest in ("list.csv", str(tmp_path / "here.csv"), f"{store.address}/x/list.csv"):
        same(build(f"{store.address}/x", source="manifest", manifest=manifest), local)
    one = f"/x/{local.rows['path'][0].as_py()}"
    del store.files[one]
    said = refused(f"{store.address}/x", source="manifest", manifest="list.csv")
    assert "1 of 12 files can't be read" in said
    assert f"{one.removeprefix('/x/')}: there is nothing at this address" in said
    assert "a web server lists no folders" in refused(f"{store.address}/x")


def test_shards_of_a_web_server(store, tmp_path):
    from test_parquet_images import picture, shard, struct

    for split, start in (("train", 0), ("val", 20)):
        rows = [struct(picture(n)) for n in range(start, start + 6)]
        shard(tmp_path / f"{split}.parquet", rows, [0, 1] * 3, names=["a", "b"], split=[split] * 6)
    import pyarrow as pa
    import pyarrow.parquet as pq

    both = pa.concat_tables(pq.read_table(tmp_path / f"{s}.parquet") for s in ("train", "val"))
    pq.write_table(both, tmp_path / "all.parquet", row_group_size=4)
    store.files = {"/all.parquet": (tmp_path / "all.parquet").read_bytes()}
    found = build(f"{store.address}/all.parquet", source="parquet")
    same(found, build(str(tmp_path / "all.parquet"), source="parquet"))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number in range(12):
            for suffix, data in (("png", picture(number)), ("cls", str(number % 2).encode())):
                member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    store.files = {"/train-0.tar": file.getvalue(), "/classnames.txt": b"ant\nbee\n"}
    none = {"train": [], "val": []}
    found = build(f"{store.address}/train-0.tar", source="webdataset", splits=none)
    assert found.classes == ("ant", "bee")


def test_a_broken_connection_is_tried_again_and_then_explained(store, images, project):
    store.files = {"/pets.tar": tar(images)}
    store.cut = 2
    same(build(f"{store.address}/pets.tar"), build(str(images)))
    assert store.cut == 0
    project.params["datasets"]["pets"]["path"] = f"{store.address}/pets.tar"
    project.write()
    project.run("index", "pets").succeeded()
    indexed = project.files("data/index")
    project.run("cli", "status").succeeded("not on this machine, not looked at: pets")
    store.cut = 10**6
    project.run("index", "pets").refused("the store does not answer, or not wholly")
    assert project.files("data/index") == indexed


def test_a_connection_that_breaks_in_the_middle_is_no_bad_image_to_skip(store, images):
    root = f"{store.address}/x"
    paths = {p.relative_to(images).as_posix(): p for p in images.glob("*/*/*.png")}
    store.files = {f"/x/{name}": path.read_bytes() for name, path in paths.items()}
    store.files["/x/list.csv"] = table(images)
    store.die_after = 5
    entry = {"source": "manifest", "manifest": "list.csv", "on_bad_image": "skip"}
    assert "the store does not answer" in refused(root, **entry)
    store.die_after = -1
    del store.files["/x/val/cat/000.png"]
    assert list(build(root, **entry).skipped) == ["val/cat/000.png"]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (403, "may not be read"),
        (401, "may not be read"),
        (404, "nothing at this address"),
        (500, "does not answer"),
    ],
)
def test_a_server_that_refuses(store, status, word):
    store.status = status
    for name in ("pets.tar", "pets.zip", "all.parquet"):
        source = "parquet" if name.endswith("parquet") else "folder"
        assert word in refused(f"{store.address}/{name}", source=source)


def test_a_server_without_ranges(store, images):
    store.files, store.ranges = {"/pets.tar": tar(images), "/pets.zip": zipped(images)}, False
    for name in ("pets.tar", "pets.zip"):
        assert "gives whole files only" in refused(f"{store.address}/{name}")


def test_what_changes_while_it_is_read_is_refused(store, images):
    store.files, store.change_after = {"/pets.tar": tar(images)}, 5
    assert "has changed while it was read" in refused(f"{store.address}/pets.tar")


def test_other_bytes_than_were_indexed_give_no_row(store, images, project):
    store.files = {"/pets.tar": tar(images)}
    project.params["datasets"]["pets"]["path"] = f"{store.address}/pets.tar"
    project.write()
    project.run("index", "pets").succeeded()
    data = bytearray(store.files["/pets.tar"])
    at = data.index(b"IDAT") + 6
    data[at] ^= 1
    store.files["/pets.tar"] = bytes(data)
    project.run("extract", "pets").refused("is not the one that was indexed")


ADDRESSES = {
    "http://example.org/pets.tar": "what comes by http may be changed",
    "https://me:secret@example.org/pets.tar": "holds a name or a password",
    "ftp://example.org/pets.tar": "addresses of this kind are not read",
    "file:///etc/passwd.tar": "addresses of this kind are not read",
    "simplecache::s3://bucket/x.tar": "addresses of this kind are not read",
    "s3://": "names no place",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_are_not_read(address):
    said = refused(address)
    assert ADDRESSES[address] in said
    assert "secret" not in said


def test_the_package_that_is_missing_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name == "fsspec":
            raise ImportError("no such module", name="fsspec")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    remote._of_process.cache_clear()
    assert "pip install -e '.[remote]'" in refused("s3://bucket/pets")


def test_zip_files_of_this_disk(images, tmp_path):
    path = tmp_path / "pets.zip"
    path.write_bytes(zipped(images))
    same(build(str(path)), build(str(images)))
    path.write_bytes(zipped(images)[:-40])
    assert "can't be unpacked" in refused(str(path))
    data = bytearray(zipped(images))
    data[data.index(b"train/cat/000.png") + 30] ^= 1
    path.write_bytes(data)
    assert "1 of 12 files can't be read as images: train/cat/000.png" in refused(str(path)).replace(
        "\n  expected  files that decode\n  found    ", ":"
    )
    link = zipfile.ZipInfo("train/cat/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "000.png")
        archive.writestr("../../out.png", b"x")
        for file in sorted(images.glob("*/*/*.png")):
            archive.write(file, file.relative_to(images))
    root = Zip(LocalBlob(path))
    listing = root.listing()
    entry = listing.entries[0]  # an open archive stays behind where it travels to other processes
    assert pickle.loads(pickle.dumps(root)).read(entry) == root.read(entry)
    assert "link that leads nowhere" in [p.what for p in listing.ledger.passed_over()]
    assert len(listing.entries) == 12
    data = bytearray(zipped(images))
    data[data.rindex(b"train/cat/000.png")] = 0xC3  # in the list of members
    data[data.rindex(b"PK\x01\x02", 0, data.rindex(b"rain/cat/000.png")) + 9] |= 8  # UTF-8
    path.write_bytes(data)
    assert "can't be unpacked" in refused(str(path))


def test_a_bucket(images, monkeypatch, project):
    """Through moto's server, an S3 of this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        remote._of_process.cache_clear()
        client = boto3.client("s3")
        client.create_bucket(Bucket="pets")
        for path in sorted(images.rglob("*")):
            if path.is_file():
                key = f"a/{path.relative_to(images).as_posix()}"
                client.put_object(Bucket="pets", Key=key, Body=path.read_bytes())
        client.put_object(Bucket="pets", Key="a/", Body=b"")
        client.put_object(Bucket="pets", Key="pets.tar", Body=tar(images))
        local = build(str(images))
        for address in ("s3://pets/a", "s3://pets/a/", "s3://pets/pets.tar"):
            found = build(address)
            same(found, local)
            assert found.passed_over == local.passed_over
        monkeypatch.setenv("BUCKET", "s3://pets")
        project.params["datasets"]["pets"]["path"] = "$BUCKET/a"
        project.prepare()
        project.run("extract", "pets").succeeded("1 cached, 0 computed")
        assert "nothing at this address" in refused("s3://none/a")
        assert "nothing at this address" in refused("s3://pets/b")
    finally:
        running.stop()
        remote._of_process.cache_clear()


def test_a_bucket_without_rights(store, monkeypatch):
    pytest.importorskip("s3fs")
    store.status = 403
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    remote._of_process.cache_clear()
    assert "may not be read by this account" in refused("s3://pets/a")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", os.fspath(Path.cwd()))
    remote._of_process.cache_clear()
    assert "FSSPEC_S3_ANON=true" in refused("s3://pets/a")
    remote._of_process.cache_clear()
    assert Remote("s3://pets/a").parent == Remote("s3://pets")
    assert Folder(Path()).state() is None
