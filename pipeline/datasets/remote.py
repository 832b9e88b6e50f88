"""Images elsewhere: objects of S3 and Google Cloud Storage, files of a web server; by fsspec.

Nothing is kept on the disk, and nothing is trusted that the index does not hold: every image's
bytes are compared with its digest, whoever sent them. Who may read is for the environment to say
(docs/data.md), never for params.yaml.
"""

from __future__ import annotations

import functools
import io
import os
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, urlsplit

from cache.errors import ProbelineError
from pipeline.datasets.ledger import Ledger
from pipeline.datasets.roots import UNKNOWN, Entry, Listing, Root, whole
from pipeline.datasets.unwanted import listed
from pipeline.project.foreign_files import words_of

PROTOCOLS = ("s3", "gs", "https", "http")
PAUSES = (0.5, 2.0)
"""Seconds before a broken connection is tried again."""

_PART = 1 << 20
"""Bytes that are fetched at once of a file that is read in pieces."""

_STATE = ("size", "ETag", "etag", "generation", "md5Hash", "Content-MD5", "Digest",
          "LastModified", "Last-Modified")  # fmt: skip
"""What stores say of an object, as far as it tells one from another."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Remote:
    """An address of a folder or a file, without a slash at its end."""

    address: str

    def __str__(self) -> str:
        return self.address

    @property
    def lists(self) -> bool:
        """Whether folders can be listed there; web servers have none."""
        return not self.address.startswith("http")

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(urlsplit(self.address).path).name

    @property
    def parent(self) -> Remote:
        """The folder that it lies in."""
        return Remote(self.address.rpartition("/")[0])

    def join(self, path: str) -> Remote:
        """What lies below it."""
        spelled = path if self.lists else quote(path)  # `#` and `?` mean something to the web
        return Remote(f"{self.address}/{spelled}")

    def sizes(self) -> dict[str, int]:
        """Bytes of every file below it, by path.

        Raises
        ------
        ProbelineError
            When there is none, or it can't be listed.
        """
        if not self.lists:
            raise ProbelineError(
                self.address,
                "a web server lists no folders",
                expected="the address of a .tar, .zip or .parquet file; or `source: manifest`, "
                "whose table names the images",
                found="an address of something else",
                remedy="name one of these as `path`",
            )
        root = str(_filesystem(self.address)._strip_protocol(self.address))
        found = self._tried(lambda fs: fs.find(root, detail=True))
        sizes = {name[len(root) + 1 :]: int(of["size"]) for name, of in found.items()}
        sizes.pop("", None)  # the place of a folder, as some tools write it
        if not sizes:
            raise _not_there(self.address)
        return sizes

    def read(self, start: int | None = None, end: int | None = None) -> bytes:
        """Content, or a part of it.

        Raises
        ------
        ProbelineError
        """
        data = self._tried(lambda fs: fs.cat_file(self.address, start=start, end=end))
        if start is not None and end is not None and len(data) > end - start:
            raise _no_parts(self.address)
        return cast("bytes", data)

    def read_if_there(self, name: str) -> bytes | None:
        """The content of a file below it; None where there is none."""
        try:
            return self.join(name).read()
        except BrokenConnectionError:
            raise
        except ProbelineError:  # nothing there; or, as S3 says it, no right to know
            return None

    def _tried(self, ask: Callable[[Any], Result]) -> Result:
        """An answer of the store; broken connections are tried again.

        Raises
        ------
        ProbelineError
            Which says what is the matter.
        """
        for pause in (*PAUSES, None):
            try:
                return ask(_filesystem(self.address))
            except ProbelineError:
                raise
            except Exception as error:  # noqa: BLE001 - each store has its own kinds
                matter = _matter(self.address, error)
                if pause is None or not isinstance(matter, BrokenConnectionError):
                    raise matter from None
                time.sleep(pause)
        raise AssertionError("the last try either returns or raises")


class BrokenConnectionError(ProbelineError):
    """A store that does not answer, or not wholly."""


@dataclass(frozen=True)
class RemoteBlob:
    """A file of a store that is read in pieces; see `pipeline.datasets.blobs.Blob`."""

    at: Remote

    def __str__(self) -> str:
        return str(self.at)

    def open(self) -> BinaryIO:
        """See `Blob`."""
        file = self.at._tried(
            lambda fs: fs.open(self.at.address, "rb", block_size=_PART, cache_type="readahead")
        )
        if not file.seekable():
            raise _no_parts(self.at.address)
        return cast("BinaryIO", io.BufferedReader(_Explained(self.at, file), _PART))

    def read_at(self, offset: int, size: int) -> bytes:
        """See `Blob`."""
        return self.at.read(offset, offset + size)

    def state(self) -> Hashable:
        """See `Blob`."""
        facts = self.at._tried(self._ask_anew)
        return tuple(str(facts[name]) for name in _STATE if facts.get(name) is not None)

    def _ask_anew(self, filesystem: Any) -> dict[str, Any]:
        filesystem.invalidate_cache()
        return dict(filesystem.info(self.at.address))


class _Explained(io.RawIOBase):
    """A file of a store whose failures are explained."""

    def __init__(self, at: Remote, file: Any) -> None:
        self._at, self._file = at, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        start = self._file.tell()

        def read(_: Any) -> bytes:
            self._file.seek(start)
            return cast("bytes", self._file.read(len(view)))

        data = self._at._tried(read)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class RemoteFolder(Root):
    """Images below an address; see `pipeline.datasets.roots.Root`.

    Parameters
    ----------
    at : Remote
    leave_out : sequence of str
        See `pipeline.datasets.unwanted.is_named`.
    named : bool
        Whether a table names the files, of a server that can't list them.
    """

    def __init__(self, at: Remote, leave_out: Sequence[str] = (), *, named: bool = False) -> None:
        self.at, self._leave_out = at, tuple(leave_out)
        self.is_named_by_a_table = named and not at.lists

    def listing(self) -> Listing:
        """All objects; none where only a table can name them."""
        sizes = {} if self.is_named_by_a_table else self.at.sizes()
        return listed(sizes, (), self._leave_out, Ledger())

    def entry(self, path: str) -> Entry:
        """A file that a table names, of which nobody knows yet whether it is there."""
        return Entry(path, 0, UNKNOWN)

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        return whole(self.at.join(entry.path).read(), entry)

    def state(self) -> Hashable:
        """See `Root`; each image is an object of its own here."""
        return None


def remote(text: str, place: str) -> Remote | None:
    """The address that a text is; None of a path on this machine.

    Raises
    ------
    ProbelineError
        When it is of a kind that is not read, or holds a password.
    """
    protocol, separator, rest = text.partition("://")
    if not separator or "/" in protocol:
        return None
    parts = urlsplit(text)
    problem = expected = ""
    if protocol not in PROTOCOLS:
        problem, expected = "addresses of this kind are not read", "s3://, gs:// or https://"
    elif protocol == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        problem, expected = "what comes by http may be changed on its way", "https://"
    elif "@" in parts.netloc:
        problem, expected = "holds a name or a password", "an address without them"
    elif not rest.strip("/"):
        problem, expected = "names no place", "s3://BUCKET/FOLDER, or https://HOST/FILE"
    if problem:
        raise ProbelineError(
            place,
            problem,
            expected=expected,
            found=text if "password" not in problem else f"{protocol}://…@{parts.hostname}/…",
            remedy="correct `path`; credentials are for the environment: see docs/data.md",
        )
    return Remote(text.rstrip("/"))


@functools.lru_cache(maxsize=16)
def _of_process(protocol: str, process: int) -> Any:
    try:
        import fsspec

        return fsspec.filesystem(protocol, skip_instance_cache=True)
    except ImportError as error:
        raise ProbelineError(
            f"{protocol}://",
            f"needs the package `{error.name or 'fsspec'}`",
            found=words_of(error),
            remedy="install it: pip install -e '.[remote]'",
        ) from None


def _filesystem(address: str) -> Any:
    """Fsspec's object for a kind of store; one for each process, as they don't survive a fork."""
    return _of_process(address.partition("://")[0], os.getpid())


def _matter(address: str, error: Exception) -> ProbelineError:
    """What an exception of a store's library means."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and type(cause).__module__.startswith("aiohttp"):
        error = cast("Exception", cause)  # fsspec calls every failure of a web server that
    said = f"{type(error).__name__}: {words_of(error)}"
    status = getattr(error, "status", None)
    if isinstance(error, ValueError) and "range requests" in said:
        return _no_parts(address)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return _not_there(address)
    if isinstance(error, PermissionError) or status in (401, 403) or "redential" in said:
        return ProbelineError(
            address,
            "may not be read by this account",
            expected="rights to list the folder and to read its files",
            found=said,
            remedy="give this account the rights; log in by the store's own tools (AWS_PROFILE, "
            "GOOGLE_APPLICATION_CREDENTIALS); or, of a public bucket, set FSSPEC_S3_ANON=true or "
            "FSSPEC_GS_TOKEN=anon",
        )
    return BrokenConnectionError(
        address,
        "can't be read: the store does not answer, or not wholly",
        found=f"{said}, {1 + len(PAUSES)} times",
        remedy="run the same command again; what is done stays",
    )


def _not_there(address: str) -> ProbelineError:
    return ProbelineError(
        address,
        "there is nothing at this address",
        remedy="correct `path` in params.yaml, or the variable that it names",
    )


def _no_parts(address: str) -> ProbelineError:
    return ProbelineError(
        address,
        "the server gives whole files only",
        expected="an answer to requests for a part of a file (HTTP ranges)",
        found="the whole file",
        remedy="download it, and name the copy as `path`",
    )
