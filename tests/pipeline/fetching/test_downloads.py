"""Downloads against a local server that truncates, stalls, redirects, changes its mind and lies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import servers
from servers import Server, serving

from cache.errors import CellLockedError, ProbelineError
from cache.lock import Lock
from pipeline.fetching import transfers
from pipeline.fetching.content import Content, DownloadError
from pipeline.fetching.downloads import download

BODY = np.random.default_rng(0).bytes(3_000_000)
ANY = Content()
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def send(request, body=BODY, **options):
    """Answer as a decent server does."""
    servers.send(request, body, **options)


def fetch(server, tmp_path, content=ANY, sources=None):
    path = tmp_path / "weights" / "net.pth"
    found = download(sources or [server.address], path, content, pause=0.001)
    assert path.read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["net.pth"]
    return found


def test_a_file_arrives_whole_with_its_digest(server, tmp_path):
    server.script = lambda request, _: send(request)
    assert fetch(server, tmp_path) == Content(DIGEST, len(BODY))
    assert fetch(server, tmp_path, Content(DIGEST[:8])) == Content(DIGEST, len(BODY))
    assert len(server.asked) == 1  # the second time it was there


def test_a_cut_connection_is_taken_up_where_it_ended(server, tmp_path):
    server.script = lambda request, turn: send(request, stop_after=1_000_000 if turn < 3 else None)
    fetch(server, tmp_path)
    assert server.asked == ["", "bytes=1000000-", "bytes=2000000-"]


def test_a_stalled_connection_is_taken_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "TIMEOUT", 0.2)

    def stall_once(request, turn):
        if turn > 1:
            return send(request)
        request.send_response(200)
        request.send_header("Content-Length", str(len(BODY)))
        request.send_header("ETag", '"one"')
        request.end_headers()
        request.wfile.write(BODY[:500])
        request.wfile.flush()
        server.release.wait(10)
        return None

    server.script = stall_once
    fetch(server, tmp_path)
    assert len(server.asked) == 2


def test_a_second_run_goes_on_from_the_first(server, tmp_path):
    def stingy(request, turn):
        send(request, stop_after=700_000 if turn == 1 else 0)

    server.script = stingy
    with pytest.raises(DownloadError, match=r"2,300,000 bytes missing"):
        fetch(server, tmp_path)
    first = len(server.asked)
    server.script = lambda request, _: send(request)
    fetch(server, tmp_path)
    assert server.asked[first:] == ["bytes=700000-"]


@pytest.mark.parametrize("there", [BODY, BODY + b"more"])
def test_a_partial_file_that_needs_nothing_more(server, tmp_path, there):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / ".net.pth.partial").write_bytes(there)
    server.script = lambda request, _: send(request)
    fetch(server, tmp_path, Content(DIGEST))
    assert server.asked[0] == f"bytes={len(there)}-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    old = bytes(len(BODY))
    server.script = lambda request, turn: (
        send(request, old, stop_after=1_000_000, etag='"old"')
        if turn == 1
        else send(request, etag='"new"')
    )
    fetch(server, tmp_path)


def test_without_a_validator_or_digest_nothing_is_pieced_together(server, tmp_path):
    server.script = lambda request, turn: send(
        request, stop_after=1_000_000 if turn == 1 else None, etag=""
    )
    fetch(server, tmp_path)
    assert server.asked == ["", ""]


def test_with_the_digest_known_it_is_resumed_without_a_validator(server, tmp_path):
    server.script = lambda request, turn: send(
        request, stop_after=1_000_000 if turn == 1 else None, etag=""
    )
    fetch(server, tmp_path, Content(DIGEST))
    assert server.asked == ["", "bytes=1000000-"]


def test_an_md5_is_checked_and_enough_to_resume(server, tmp_path):
    right = Content(md5=hashlib.md5(BODY).hexdigest())
    server.script = lambda request, number: send(
        request, etag="", stop_after=1_000_000 if number == 1 else None
    )
    assert fetch(server, tmp_path, right) == Content(DIGEST, len(BODY))
    assert server.asked == ["", "bytes=1000000-"]
    with pytest.raises(DownloadError, match="MD5 0000"):
        download([server.address], tmp_path / "weights" / "net.pth", Content(md5="0" * 32))


@pytest.mark.parametrize(
    "content",
    [Content("0" * 8), Content(size=5), Content(DIGEST[:-1] + "x"), Content(md5="0" * 32)],
)
def test_another_file_is_refused_and_not_kept(server, tmp_path, content):
    server.script = lambda request, _: send(request)
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path, content)
    assert "not the file that was expected" in str(caught.value)
    assert list((tmp_path / "weights").iterdir()) == []


def test_what_is_there_already_is_verified(server, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(b"other")
    with pytest.raises(DownloadError, match="not the file that was expected"):
        download([server.address], path, Content(DIGEST))
    assert path.read_bytes() == b"other"  # the user's: never deleted
    assert server.asked == []


def test_a_mirror_takes_over(server, tmp_path):
    def mirrored(request, _):
        if request.path == "/weights.pth":
            request.send_error(404)
        else:
            send(request)

    server.script = mirrored
    mirror = server.address.replace("weights", "mirror")
    fetch(server, tmp_path, sources=[server.address, mirror])


def test_redirects_are_followed(server, tmp_path):
    def redirect(request, _):
        if request.path != "/weights.pth":
            return send(request)
        request.send_response(302)
        request.send_header("Location", "/elsewhere.pth")
        request.end_headers()
        return None

    server.script = redirect
    fetch(server, tmp_path)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_redirects_out_of_the_web_are_not_followed(server, tmp_path, target):
    def redirect(request, _):
        request.send_response(302)
        request.send_header("Location", target)
        request.end_headers()

    server.script = redirect
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)


def test_a_web_page_instead_of_the_file_is_said(server, tmp_path):
    server.script = lambda request, _: send(request, b"<html>sign in</html>", kind="text/html")
    with pytest.raises(DownloadError, match="web page"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_final(server, tmp_path, status):
    server.script = lambda request, _: request.send_error(status)
    with pytest.raises(DownloadError, match=str(status)):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


def test_an_overloaded_server_is_asked_again(server, tmp_path):
    server.script = lambda request, turn: request.send_error(503) if turn < 4 else send(request)
    fetch(server, tmp_path)


def test_nobody_there_is_said(server, tmp_path):
    with pytest.raises(DownloadError, match="could not be downloaded"):
        download(["http://127.0.0.1:9/x"], tmp_path / "x", Content(), pause=0.001)


@pytest.mark.parametrize("address", ["http://example.org/x", "ftp://example.org/x", "x.pth"])
def test_addresses_that_cannot_be_trusted(tmp_path, address):
    with pytest.raises(DownloadError, match="trusted"):
        download([address], tmp_path / "x", Content())


def test_a_full_disk_keeps_what_came(server, tmp_path, monkeypatch):
    server.script = lambda request, _: send(request)
    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(ProbelineError, match="no room"):
        fetch(server, tmp_path)
    monkeypatch.undo()
    fetch(server, tmp_path)


def test_two_runs_do_not_write_into_one_file(server, tmp_path):
    server.script = lambda request, _: send(request)
    (tmp_path / "weights").mkdir()
    with (
        Lock(tmp_path / "weights" / ".net.pth.lock.partial", "net.pth"),
        pytest.raises(CellLockedError, match="another process"),
    ):
        fetch(server, tmp_path)
