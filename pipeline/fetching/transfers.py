"""A file from one server: what is missing of it, tried again where a connection breaks."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from cache.files import explain_disk_errors, not_through_links, write_durably
from cache.fingerprint import load_json
from pipeline.fetching.content import Content, DownloadError, UnavailableError, state_file
from pipeline.machine.progress import Progress

ATTEMPTS = 5
"""At one source, before the next one is tried; only those that bring nothing new are counted."""

ATTEMPTS_TO_CONNECT = 2
"""At a host that does not answer at all; at one that did not a moment ago, none."""

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""

SPARE = 1 << 30
"""Bytes of the disk that a file of unannounced length leaves free."""

SLOW = 300.0
"""Seconds in which at least `SLOWEST` bytes must come."""

SLOWEST = 300_000

_BLOCK = 1 << 20
_LOOK_EVERY = 64 << 20
NETWORK = (
    *(urllib.error.URLError, http.client.HTTPException, ssl.SSLError),
    *(ConnectionError, TimeoutError),
)
_silent: set[str] = set()
"""Hosts that did not answer in this process: their other files are not waited for."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from an encrypted address to a plain one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        new = urllib.parse.urlsplit(newurl)
        if new.scheme not in ("http", "https") or (req.type == "https" and new.scheme == "http"):
            fp.close()
            raise urllib.error.URLError(f"redirected to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def transfer(source: str, partial: Path, content: Content, pause: float) -> None:
    """Bring the partial file to its full length."""
    host = urllib.parse.urlsplit(source).netloc
    if host in _silent:
        raise UnavailableError(source, f"no connection to {host} a moment ago")
    fruitless = 0
    while True:
        before = _length(partial)
        try:
            return _fetch_once(source, partial, content)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and before:  # nothing follows what is there
                if error.headers.get("Content-Range", "").endswith(f"/{before}"):
                    return None
                partial.unlink()
            elif error.code < 500 and error.code not in (408, 429):
                raise
            last: Exception = error
        except NETWORK as error:
            last = error
        fruitless = 0 if _length(partial) > before else fruitless + 1
        # urllib wraps what goes wrong before an answer begins; what goes wrong later it does not.
        no_answer = type(last) is urllib.error.URLError and isinstance(last.reason, OSError)
        if fruitless >= (ATTEMPTS_TO_CONNECT if no_answer else ATTEMPTS):
            if no_answer:
                _silent.add(host)
            raise last
        time.sleep(pause * 2 ** min(fruitless, 6))


def _fetch_once(source: str, partial: Path, content: Content) -> None:
    request = urllib.request.Request(source, headers={"User-Agent": "probeline"})  # noqa: S310 - checked
    begun = _resume(request, partial, content)
    with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT) as answer:
        if answer.headers.get_content_type() == "text/html":
            raise UnavailableError(
                source,
                "answers with a web page instead of the file",
                remedy="open the address in a browser and download the file by hand",
            )
        if answer.status != 206:  # the whole file: there was nothing, or it has changed
            begun = 0
        part = answer.headers.get("Content-Range", "")
        if begun and part and not part.startswith(f"bytes {begun}-"):
            raise http.client.HTTPException("the server sends another part than was asked for")
        total = _total(answer.headers.get("Content-Length", ""), begun, content.size)
        _remember(answer.headers, partial)
        _check_room(partial, (total or 0) - begun)
        _copy(answer, partial, begun, total)


def _total(length: str, begun: int, expected: int | None) -> int | None:
    """How long the whole file is going to be, if anybody says it."""
    if not length:
        return expected
    if not (length.isascii() and length.isdecimal() and len(length) < 19):
        raise http.client.HTTPException(f"the server gives no length: {length[:40]!r}")
    total = begun + int(length)
    if expected is not None and total != expected:
        raise DownloadError(
            "",
            "is not the file that was expected",
            expected=f"{expected:,} bytes",
            found=f"{total:,} bytes",
        )
    return total


def _resume(request: urllib.request.Request, partial: Path, content: Content) -> int:
    """Ask for what is missing, where that is safe; returns how many bytes there are."""
    begun = _length(partial)
    if not begun:
        return 0
    try:
        validator = str(load_json(state_file(partial).read_text())["validator"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        validator = ""
    if not validator and not content.md5 and len(content.sha256) < 64:
        return 0  # nobody could tell whether the rest belongs to what is there
    request.add_header("Range", f"bytes={begun}-")
    if validator:
        request.add_header("If-Range", validator)
    return begun


def _remember(headers: http.client.HTTPMessage, partial: Path) -> None:
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    write_durably(state_file(partial), json.dumps({"validator": validator}).encode())


def _copy(answer: http.client.HTTPResponse, partial: Path, begun: int, total: int | None) -> None:
    name = partial.name.removeprefix(".").removesuffix(".partial")
    with (
        explain_disk_errors(partial),
        open(partial, "ab", opener=not_through_links) as file,
        Progress(f"download {name}", total or 0, "bytes") as progress,
    ):
        file.truncate(begun)
        progress.advance(begun)
        since, at, looked = time.monotonic(), file.tell(), file.tell()
        while block := answer.read1(_BLOCK):  # `read` would wait for the block to be full
            file.write(block)
            progress.advance(len(block))
            if total is not None and file.tell() > total:
                raise DownloadError(str(partial), f"is longer than the {total:,} bytes expected")
            if total is None and file.tell() - looked >= _LOOK_EVERY:
                looked = file.tell()
                _check_room(partial, SPARE)
            if time.monotonic() - since > SLOW:
                if file.tell() - at < SLOWEST:
                    raise TimeoutError(f"fewer than {SLOWEST:,} bytes came in {SLOW:.0f} s")
                since, at = time.monotonic(), file.tell()
        file.flush()
        os.fsync(file.fileno())
        if total is not None and file.tell() < total:
            raise http.client.IncompleteRead(b"", total - file.tell())


def _check_room(partial: Path, wanted: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if wanted > free:
        raise DownloadError(
            str(partial.parent),
            "the disk has no room for the file",
            expected=f"{wanted:,} bytes free",
            found=f"{free:,}",
            remedy="free some space and run this again",
        )


def _length(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0
