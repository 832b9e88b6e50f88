"""Files from the network: resumed, verified and whole, or not there at all.

A download grows in ``.NAME.partial`` beside its place and is renamed when size and digest are
right. A second run goes on where the first one stopped, if the server can prove that the file is
still the same (ETag or Last-Modified, by If-Range) or the digest is known beforehand.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from cache.files import explain_disk_errors, fsync_directory
from cache.lock import Lock
from pipeline.fetching.content import Content, DownloadError, UnavailableError, state_file, verify
from pipeline.fetching.transfers import NETWORK, transfer
from pipeline.machine.environment import wait_seconds
from pipeline.project.foreign_files import words_of

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


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
                transfer(source, partial, content, pause)
                found = verify(partial, content)
            except (DownloadError, ValueError, *NETWORK) as error:  # the second: odd addresses
                reasons.append(f"{source}: {_reason(error)}")
                if isinstance(error, DownloadError) and not isinstance(error, UnavailableError):
                    kind = DownloadError
                continue
            with explain_disk_errors(path):
                os.replace(partial, path)
                state_file(partial).unlink(missing_ok=True)
                fsync_directory(path.parent)
            return found
    raise kind(
        place or str(path),
        f"{path.name} could not be downloaded",
        found="; ".join(reasons),
        remedy=f"run this again later, or fetch the file otherwise and put it at {path}",
    )


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
