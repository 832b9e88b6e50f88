"""A disk with as much room as it is left: every write beyond it fails, whoever writes.

It is a tmpfs, which only a superuser may mount.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


class SmallDisk:
    """A mounted one.

    Attributes
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def leave(self, size: int) -> None:
        """Have so many bytes free, in whole pages, and not one more."""
        now = os.statvfs(self.folder)
        self._resize((now.f_blocks - now.f_bfree) * now.f_frsize + size)

    def enlarge(self) -> None:
        """Have room for anything."""
        self._resize(1 << 30)

    def _resize(self, size: int) -> None:
        how = f"remount,size={max(size, 4096)}"
        subprocess.run(["mount", "-o", how, str(self.folder)], check=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk | None]:
    """Mount one at a new folder; None where this user may not."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={1 << 30}", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
