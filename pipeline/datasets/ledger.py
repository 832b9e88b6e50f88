"""What listing a data set passes over: counted by reason, so that nothing vanishes unseen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Reason:
    """Why a file or folder is passed over.

    Attributes
    ----------
    one, many : str
        What it is called: one of them, several of them.
    serious : bool
        Whether an image may be lost by it.
    """

    one: str
    many: str
    serious: bool = False


HIDDEN_FILE = Reason("hidden file", "hidden files")
HIDDEN_FOLDER = Reason("hidden folder", "hidden folders")
SYSTEM_FILE = Reason("file of a system (Thumbs.db …)", "files of systems (Thumbs.db …)")
SYSTEM_FOLDER = Reason("folder of a system (@eaDir …)", "folders of systems (@eaDir …)")
LEFT_OUT = Reason("path that `leave_out` names", "paths that `leave_out` names")
EMPTY_FOLDER = Reason("empty folder", "empty folders")
DEAD_LINK = Reason("link that leads nowhere", "links that lead nowhere", serious=True)
TAR_LINK = Reason("link to nothing in the tar file", "links to nothing in the tar file", True)
SPARSE = Reason("sparse member of the tar file", "sparse members of the tar file", True)
NO_FILE = Reason("pipe, socket or device", "pipes, sockets and devices", serious=True)
UNREADABLE_FILE = Reason("file that can't be read", "files that can't be read", serious=True)
UNREADABLE_FOLDER = Reason("folder that can't be read", "folders that can't be read", serious=True)
UNLISTED = Reason("image that the data set's list leaves out",
                  "images that the data set's list leaves out")  # fmt: skip
FILTERED = Reason("row that `filter` leaves out", "rows that `filter` leaves out")
OTHER_SPLIT = Reason("image of a split that the study does not take",
                     "images of splits that the study does not take")  # fmt: skip
LIMITED = Reason("image beyond `limit_per_class`", "images beyond `limit_per_class`")


def other_suffix(path: str) -> Reason:
    """The reason why a file that is not called like an image is passed over."""
    suffix = PurePosixPath(path).suffix.lower()
    if not suffix:
        return Reason("file without an ending", "files without an ending", serious=True)
    return Reason(f"{suffix} file", f"{suffix} files", serious=suffix not in _TEXTS)


_TEXTS = frozenset(
    [".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg",
     ".md", ".rst", ".html", ".htm", ".log", ".py", ".ipynb", ".sh", ".md5", ".sha256", ".parquet",
     ".doc", ".docx", ".xlsx", ".lnk", ".url"]
)  # fmt: skip
"""Endings of files that lie beside images and are none. Of all others, one may think so."""


@dataclass(frozen=True)
class PassedOver:
    """All that was passed over for one reason.

    Attributes
    ----------
    what : str
        In words: ``link that leads nowhere``, or several of them, as `count` asks.
    count : int
    example : str
        The path of one of them.
    serious : bool
    """

    what: str
    count: int
    example: str
    serious: bool

    def __str__(self) -> str:
        return f"{self.count:,} {self.what}, e.g. {self.example}"


class Ledger:
    """Counts by reason; of each reason and folder, the first path is kept as an example."""

    def __init__(self) -> None:
        self._found: dict[Reason, dict[str, tuple[int, str]]] = {}

    def add(self, reason: Reason, path: str, number: int = 1) -> None:
        """Count a path, or so many that it stands for."""
        of_folders = self._found.setdefault(reason, {})
        # By the first two folders (split and class): as many entries as classes, not as files.
        folder = "/".join(path.split("/")[:-1][:2])
        count, example = of_folders.get(folder, (0, path))
        of_folders[folder] = (count + number, min(example, path))

    def add_paths(self, reason: Reason, paths: Iterable[str]) -> None:
        """Count paths that are passed over for one reason."""
        for path in paths:
            self.add(reason, path)

    def add_all(self, other: Ledger, above: str = "") -> None:
        """Count all that another one counted, of a part that lies at `above`."""
        for reason, folders in other._found.items():
            for folder, (count, example) in folders.items():
                of_folders = self._found.setdefault(reason, {})
                place = f"{above}/{folder}".strip("/")
                before, first = of_folders.get(place, (0, f"{above}/{example}".lstrip("/")))
                of_folders[place] = (before + count, first)

    def passed_over(self, within: str = "", of: Sequence[Reason] = ()) -> tuple[PassedOver, ...]:
        """Everything, or what lies within a folder; what may lose images first.

        Parameters
        ----------
        within : str
            One of the first two folders of a path, e.g. ``train/cat``.
        of : sequence of Reason
            These alone, if any.
        """
        found = []
        for reason, folders in self._found.items():
            if of and reason not in of:
                continue
            here = [
                seen
                for folder, seen in folders.items()
                if not within or folder == within or folder.startswith(f"{within}/")
            ]
            if count := sum(number for number, _ in here):
                what = reason.one if count == 1 else reason.many
                example = min(path for _, path in here)
                found.append(PassedOver(what, count, _printable(example), reason.serious))
        return in_order(found)


def in_order(passed_over: Iterable[PassedOver]) -> tuple[PassedOver, ...]:
    """What may lose images first, and of that the most."""
    return tuple(sorted(passed_over, key=lambda p: (not p.serious, -p.count, p.what)))


def describe(passed_over: Sequence[PassedOver]) -> str:
    """One line on what was passed over; "" where nothing was."""
    return "left out: " + "; ".join(map(str, passed_over)) if passed_over else ""


def _printable(path: str) -> str:
    """A path that can be printed and stored, line breaks and undecodable bytes included."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)
