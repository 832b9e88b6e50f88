"""Where the files are that a table names and that are not there: what to do about it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.project.words import yaml_text

Locate = Callable[[str, str], object]
"""From a folder below the root, and a path from there, to the file; None where there is none."""


@dataclass(frozen=True)
class Missing:
    """Files that a table names and that are not there.

    Attributes
    ----------
    paths : sequence of str
        As the table spells them; some will do.
    base : str
        The folder below the root where they begin; ``.`` is the root.
    locate : callable
    root : Path or None
        None of an archive.
    table : str
        The table, as params.yaml names it.
    """

    paths: Sequence[str]
    base: str
    locate: Locate
    root: Path | None
    table: str

    def remedy(self) -> str:
        """What to do, where all of them are somewhere else; "" where they are not found."""
        rules = (self._at_the_root, self._behind_folders, self._without_ending,
                 self._in_a_folder, self._in_other_capitals)  # fmt: skip
        return next(filter(None, (rule() for rule in rules)), "")

    def _all(self, base: str, paths: Sequence[str]) -> bool:
        return all(self.locate(base, path) is not None for path in paths)

    @property
    def _whole_table(self) -> str:
        assert self.root is not None
        return f"`manifest: {yaml_text(str((self.root / self.table).resolve()))}`"

    def _at_the_root(self) -> str:
        if self.base == "." or not self._all(".", self.paths):
            return ""
        if self.root is None:
            return "put the table where the paths begin"
        return f"they begin in `path`: name the table by its whole path, {self._whole_table}"

    def _behind_folders(self) -> str:
        parts = [path.strip().replace("\\", "/").lstrip("/").split("/") for path in self.paths]
        for number in range(1, min(map(len, parts))):
            begin, short = parts[0][:number], ["/".join(of[number:]) for of in parts]
            if all(of[:number] == begin for of in parts) and self._all(self.base, short):
                first = self.paths[0].removesuffix(short[0])
                return f"take {first} away before them: {short[0]} is there"
        return ""

    def _without_ending(self) -> str:
        for suffix in sorted(SUFFIXES):
            if self._all(self.base, [path + suffix for path in self.paths]):
                return f"add their ending: {self.paths[0]}{suffix} is there"
        return ""

    def _in_a_folder(self) -> str:
        for folder in self._folders():
            inside = posixpath.join(folder, self.base)
            if self.root is not None and self._all(inside, self.paths):
                path = yaml_text(os.path.normpath(self.root / inside))
                return f"they are in {folder}/: `path: {path}` and {self._whole_table}"
        return ""

    def _folders(self) -> Iterator[str]:
        if self.root is not None:
            yield from sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())

    def _in_other_capitals(self) -> str:
        if self.root is None:
            return ""
        found = self.root
        for part in PurePosixPath(
            posixpath.normpath(posixpath.join(self.base, self.paths[0]))
        ).parts:
            try:
                names = [p.name for p in found.iterdir() if p.name.casefold() == part.casefold()]
            except OSError:
                return ""
            if not names:
                return ""
            found /= names[0]
        return f"mind capitals: {found.relative_to(self.root).as_posix()} is there"
