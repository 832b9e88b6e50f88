"""Which files and folders are passed over by their names, and what is left of a list of paths."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from pipeline.datasets import ledger
from pipeline.datasets.ledger import Ledger, Reason
from pipeline.datasets.roots import Entry, Listing

SYSTEM_FILES = frozenset(
    ["thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r"]
)
SYSTEM_FOLDERS = frozenset(
    ["@eadir", "@__thumb", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
     "__macosx", "$recycle.bin", "system volume information", "lost+found", "__pycache__"]
)  # fmt: skip
"""What Windows, macOS and network drives put beside images, in small letters."""


def unwanted(path: str, leave_out: Sequence[str], *, is_folder: bool) -> Reason | None:
    """Why a path is passed over by its last name alone; None if it is not."""
    name = path.rpartition("/")[2]
    if is_named(path, leave_out):
        return ledger.LEFT_OUT
    if name.startswith("."):
        return ledger.HIDDEN_FOLDER if is_folder else ledger.HIDDEN_FILE
    if name.casefold() in (SYSTEM_FOLDERS if is_folder else SYSTEM_FILES):
        return ledger.SYSTEM_FOLDER if is_folder else ledger.SYSTEM_FILE
    return None


def is_named(path: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern (``*.txt``, ``drafts``, ``train/green``) names this file or folder.

    One without ``/`` names files and folders of that name anywhere; others, a path below the root.
    """
    name = path.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(path if "/" in pattern.strip("/") else name, pattern.strip("/"))
        for pattern in patterns
    )


def open_folders(
    paths: Iterable[str], named: Iterable[str], leave_out: Sequence[str], passed: Ledger
) -> set[str]:
    """All folders that are not passed over, nor lie in one that is; "" for the outermost.

    Parameters
    ----------
    paths : iterable of str
        Of all files.
    named : iterable of str
        Folders that are listed as such, empty ones too.
    leave_out : sequence of str
        See `is_named`.
    passed : Ledger
        Counts those that are passed over, and the empty ones.
    """
    filled: set[str] = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in filled:
            filled.add(path)
    folders = {""}
    for folder in sorted(filled.union(named)):
        if folder.rpartition("/")[0] not in folders:
            continue
        reason = unwanted(folder, leave_out, is_folder=True)
        if reason is None:
            folders.add(folder)
        if reason is None and folder not in filled:
            reason = ledger.EMPTY_FOLDER
        if reason is not None:
            passed.add(reason, folder)
    return folders


def listed(
    sizes: Mapping[str, int], named: Iterable[str], leave_out: Sequence[str], passed: Ledger
) -> Listing:
    """What an archive or a remote folder holds.

    Parameters
    ----------
    sizes : mapping of str to int
        Bytes of each file, by path.
    named, leave_out, passed
        See `open_folders`.
    """
    folders = open_folders(sizes, named, leave_out, passed)
    found = []
    for path in sorted(sizes):
        if path.rpartition("/")[0] in folders:
            if (reason := unwanted(path, leave_out, is_folder=False)) is not None:
                passed.add(reason, path)
            else:
                found.append(Entry(path, 0, sizes[path]))
    return Listing(found, sorted(folders - {""}), passed)
