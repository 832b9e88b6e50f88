"""Files below a folder of this machine."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NoReturn

from cache.errors import ProbelineError
from pipeline.datasets import ledger
from pipeline.datasets.ledger import Ledger, Reason
from pipeline.datasets.roots import Entry, Listing, Root, explain_reading, whole
from pipeline.datasets.unwanted import unwanted


class Folder(Root):
    """Files below a folder.

    Parameters
    ----------
    path : Path
    leave_out : sequence of str
        See `is_named`.
    """

    def __init__(self, path: Path, leave_out: Sequence[str] = ()) -> None:
        self.path, self._leave_out = path, tuple(leave_out)

    def listing(self) -> Listing:
        """All regular files; links are followed.

        Raises
        ------
        ProbelineError
            When a link leads back to a folder that it lies in, or the folder itself can't be read.
        """
        found, folders, passed = [], [], Ledger()
        with explain_reading(Entry(str(self.path), 0, 0)):
            os.scandir(self.path).close()
        todo: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (_identity(self.path),))]
        while todo:
            inside, line = todo.pop()
            try:
                with os.scandir(self.path / inside) as opened:
                    items = list(opened)
            except OSError:
                passed.add(ledger.UNREADABLE_FOLDER, inside)
                continue
            if not items and inside:
                passed.add(ledger.EMPTY_FOLDER, inside)
            for item in items:
                path = f"{inside}/{item.name}" if inside else item.name
                is_folder, reason = _look(item)
                reason = unwanted(path, self._leave_out, is_folder=is_folder) or reason
                if reason is not None:
                    passed.add(reason, path)
                elif not is_folder:
                    found.append(Entry(path, 0, item.stat().st_size))
                else:
                    if (identity := _identity(Path(item.path))) in line:
                        _refuse_loop(Path(item.path))
                    folders.append(path)
                    todo.append((path, (*line, identity)))
        return Listing(sorted(found, key=lambda entry: entry.path), sorted(folders), passed)

    def read(self, entry: Entry) -> bytes:
        """A file's content."""
        with explain_reading(entry):
            return whole((self.path / entry.path).read_bytes(), entry)

    def state(self) -> Hashable:
        """See `Root`; each image is a file of its own here."""
        return None


def _look(item: os.DirEntry[str]) -> tuple[bool, Reason | None]:
    """Whether it is a folder; and why it can be neither read nor entered, if so."""
    try:
        if item.is_dir():
            return True, None
        if item.is_file():
            return False, None
    except OSError:  # of a link that leads to itself, or where one may not look
        return False, ledger.DEAD_LINK if item.is_symlink() else ledger.UNREADABLE_FILE
    return False, ledger.DEAD_LINK if item.is_symlink() else ledger.NO_FILE


def _identity(folder: Path) -> tuple[int, int]:
    """The same for all paths that lead to a folder."""
    known = folder.stat()
    return known.st_dev, known.st_ino


def _refuse_loop(link: Path) -> NoReturn:
    raise ProbelineError(
        str(link),
        "this link leads back to a folder that it lies in",
        expected="folders that end",
        found=f"a link to {link.readlink()}" if link.is_symlink() else "a folder inside itself",
        remedy="delete the link",
    )
