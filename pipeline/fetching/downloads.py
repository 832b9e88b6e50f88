"""Files from the network: resumed, verified and whole, or not there at all.

A download grows in ``.NAME.partial`` beside its place and is renamed when size and digest are
right. A second run goes on where the first one stopped, if the server can prove that the file is
still the same (ETag or Last-Modified, by If-Range) or the digest is known beforehand.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cache.errors import ProbelineError
from cache.files import (
    explain_disk_errors,
    fsync_directory,
    not_through_links,
    sha256_file,
    write_durably,
)
from cache.fingerprint import load_json
from cache.lock import Lock
from pipeline.machine.environment import wait_seconds
from pipeline.machine.progress import Progress
from pipeline.project.foreign_files import words_of

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
_NETWORK = (
    *(urllib.error.URLError, http.client.HTTPException, ssl.SSLError),
    *(ConnectionError, TimeoutError),
)
_silent: set[str] = set()
"""Hosts that did not answer in this process: their other files are not waited for."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class DownloadError(ProbelineError):
    """A file that could not be fetched, or is not what was expected."""


class UnavailableError(DownloadError):
    """What nobody has now: a later try, or a person, may bring it; nothing wrong was received."""


@dataclass(frozen=True)
class Content:
    """What a file must be, as far as it is known.

    Attributes
    ----------
    sha256 : str
        All 64 hexadecimal digits, the first few of them (many files carry those in their names),
        or "" where nothing is known.
    size : int or None
        Bytes.
    md5 : str
        All 32 hexadecimal digits, where the file's publisher gives no better digest, or "". Nobody
        can yet make another file with a given MD5.
    """

    sha256: str = ""
    size: int | None = None
    md5: str = ""


def download(
    sources: Sequence[str], path: Path, content: Content, *, place: str = "", pause: float = 1.0
) -> Content:
    """Fetch a file from the first source that has it.

    Parameters
    ----------
    sources : sequence of str
        Addresses of the same file. HTTPS, with the certificate verified; plain HTTP only where a
        digest is known, or from this machine.
    path : Path
        Where the file goes. One that is there already is verified, never fetched again.
    content : Content
        What is known of it.
    place : str, optional
        Who wants the file, for errors; its path by default.
    pause : float
        Seconds before the first repetition; each further one waits twice as long.

    Returns
    -------
    Content
        Digest and size of the file, complete.

    Raises
    ------
    UnavailableError
        When no source has the file. What was fetched of it is kept for the next run.
    DownloadError
        When a source gave another file than was expected, or there is no room for it.
    DiskFullError
        When the disk is full; what was fetched is kept.
    """
    for source in sources:
        _check_address(source, content)
    partial = path.with_name(f".{path.name}.partial")
    reasons = []
    kind: type[DownloadError] = UnavailableError
    with Lock(path.with_name(f".{path.name}.lock.partial"), str(path), wait=wait_seconds()):
        if path.exists():
            return verify(path, content)
        for source in sources:
            try:
                _fetch(source, partial, content, pause)
                found = verify(partial, content)
            except (DownloadError, ValueError, *_NETWORK) as error:  # the second: odd addresses
                reasons.append(f"{source}: {_reason(error)}")
                if isinstance(error, DownloadError) and not isinstance(error, UnavailableError):
                    kind = DownloadError
                continue
            with explain_disk_errors(path):
                os.replace(partial, path)
                _state_file(partial).unlink(missing_ok=True)
                fsync_directory(path.parent)
            return found
    raise kind(
        place or str(path),
        f"{path.name} could not be downloaded",
        found="; ".join(reasons),
        remedy=f"run this again later, or fetch the file otherwise and put it at {path}",
    )


def verify(path: Path, content: Content) -> Content:
    """Digest and size of a file, which must be the expected ones.

    Raises
    ------
    DownloadError
        When they are not. A partial file is removed: going on from it would not mend it.
    """
    found = Content(sha256_file(path), path.stat().st_size)
    right = content.size in (None, found.size) and found.sha256.startswith(content.sha256)
    md5 = _md5(path) if right and content.md5 else ""
    if right and md5 == content.md5:
        return found
    if path.suffix == ".partial":
        path.unlink()
        _state_file(path).unlink(missing_ok=True)
    size = "" if content.size is None else f"{content.size:,} bytes, "
    of_md5 = (f", MD5 {content.md5}", f", MD5 {md5}") if md5 else ("", "")
    raise DownloadError(
        str(path),
        "is not the file that was expected",
        expected=f"{size}SHA-256 {content.sha256 or 'any'}{of_md5[0]}",
        found=f"{found.size:,} bytes, SHA-256 {found.sha256}{of_md5[1]}",
        remedy="delete it and run this again; if it differs again, its author may have replaced it",
    )


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check_address(source: str, content: Content) -> None:
    try:
        parts = urllib.parse.urlsplit(source)
        _ = parts.port
        source.encode("ascii")
    except ValueError as error:  # brackets that do not close, a port that is none, other alphabets
        raise DownloadError(
            source,
            "is no address",
            expected="https://HOST/PATH, other alphabets as % and two digits",
            found=words_of(error),
            remedy="correct it",
        ) from None
    if parts.scheme == "https" or parts.hostname in _LOOPBACK:
        return
    if parts.scheme != "http" or not (content.sha256 or content.md5):
        raise DownloadError(
            source,
            "is no address that can be trusted",
            expected="an https address, or http with a known digest",
            found=parts.scheme or "no scheme",
            remedy="give the https address, or the file's SHA-256",
        )


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


def _fetch(source: str, partial: Path, content: Content, pause: float) -> None:
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
        except _NETWORK as error:
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
        validator = str(load_json(_state_file(partial).read_text())["validator"])
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
    write_durably(_state_file(partial), json.dumps({"validator": validator}).encode())


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


def _state_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.stem}.state.partial")


def _reason(error: Exception) -> str:
    if isinstance(error, DownloadError):
        wanted = f", expected {error.expected}" if error.expected else ""
        found = f", found {error.found}" if error.found else ""
        return f"{error.problem}{wanted}{found}"
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection ended with {error.expected:,} bytes missing"
    return str(getattr(error, "reason", error)) or type(error).__name__
