"""A server that does what no decent one does: an error each time, or the right file."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from servers import serving

from cache.errors import ProbelineError
from pipeline.fetching import transfers
from pipeline.fetching.content import Content
from pipeline.fetching.downloads import download

BODY = np.random.default_rng(0).bytes(200_000)
DIGEST = hashlib.sha256(BODY).hexdigest()


def answer(request, *, length=None, status=200, body=BODY, **headers) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    if length is not None:
        request.send_header("Content-Length", length)
    request.end_headers()
    request.wfile.write(body)
    request.close_connection = True


def endless(request, _) -> None:
    answer(request, body=b"")
    for _ in range(10_000):
        request.wfile.write(bytes(1 << 20))


def trickling(request, _) -> None:
    answer(request, body=b"", length=str(len(BODY)))
    for byte in range(10_000):
        request.wfile.write(BODY[byte : byte + 1])
        if request.server.release.wait(0.01):
            return


SCRIPTS = {
    "a length that is no number": lambda r, _: answer(r, length="many"),
    "a negative length": lambda r, _: answer(r, length="-5"),
    "a length beyond any": lambda r, _: answer(r, length="9" * 40),
    "more than was said": lambda r, _: answer(r, length=str(len(BODY)), body=BODY + BODY[:99]),
    "a shorter file": lambda r, _: answer(r, length="1000", body=BODY[:1000]),
    "another part than asked": lambda r, _: answer(
        r, status=206, Content_Range="bytes 7-9/10", length="3", body=BODY[7:10]
    ),
    "no answer but noise": lambda r, _: r.wfile.write(b"\x00\xff" * 5000),
    "a header without an end": lambda r, _: r.wfile.write(
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000
    ),
    "a thousand headers": lambda r, _: answer(r, **{f"X_{n}": "y" for n in range(1000)}),
    "a redirect to itself": lambda r, _: answer(r, status=302, Location=r.path, body=b""),
    "a redirect to a file": lambda r, _: answer(r, status=302, Location="file:///etc/passwd"),
    "a redirect without address": lambda r, _: answer(r, status=302, body=b""),
    "an odd redirect": lambda r, _: answer(r, status=302, Location="http://[::1/x", body=b""),
    "a status that is none": lambda r, _: r.wfile.write(b"HTTP/1.1 abc OK\r\n\r\n"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_wrong_is_kept(name, tmp_path):
    path = tmp_path / "net.pth"
    with serving() as server:
        server.script = SCRIPTS[name]
        try:
            found = download([server.address], path, Content(DIGEST, len(BODY)), pause=0.001)
        except ProbelineError as error:
            assert error.remedy  # noqa: PT017 - either end will do
            assert not path.exists()
        else:
            assert found.sha256 == DIGEST == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_without_end_leaves_the_disk_some_room(tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "_LOOK_EVERY", 3 << 20)
    free = iter([10 << 30, *range(3 << 30, -1, -(1 << 30))])
    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    path = tmp_path / "net.pth"
    with serving() as server:
        server.script = endless
        with pytest.raises(ProbelineError, match="no room"):
            download([server.address], path, Content(), pause=0.001)
    assert not path.exists()
    assert (tmp_path / ".net.pth.partial").stat().st_size < 30 << 20


def test_more_than_the_known_size_is_not_waited_for(tmp_path):
    with serving() as server:
        server.script = endless
        with pytest.raises(ProbelineError, match="longer than"):
            download([server.address], tmp_path / "x", Content(DIGEST, 2 << 20), pause=0.001)
    assert len(server.asked) == 1


def test_a_trickle_is_no_download(tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "SLOW", 0.05)
    monkeypatch.setattr(transfers, "SLOWEST", 10_000)
    monkeypatch.setattr(transfers, "ATTEMPTS", 1)
    with serving() as server:
        server.script = trickling
        with pytest.raises(ProbelineError, match="fewer than"):
            download([server.address], tmp_path / "x", Content(DIGEST), pause=0.001)


@pytest.mark.parametrize(
    "address", ["https://[::1/x", "https://h:port/x", "https://h/é", "https://h:99999999/x", ""]
)
def test_what_is_no_address(address, tmp_path):
    with pytest.raises(ProbelineError, match="is no address"):
        download([address], tmp_path / "x", Content())
