"""Indexes of data sets that left the study: kept aside, where no stage depends on them.

Stages depend on the whole of ``data/index`` and of ``data/cells``. A file there that a clone can't
have (its data set is in no params.yaml any more) would make all of them run again there.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from pipeline.project.machine_files import machine_file, machine_path
from pipeline.project.names import NAME_PATTERN
from pipeline.project.paths import CELLS, INDEX

_FILES = ((INDEX, ".parquet"), (CELLS, ".json"))
"""A data set's files, by folder."""


def sort_indexes(names: Collection[str]) -> list[str]:
    """Put aside what the study does not name, and put back what it names again.

    Parameters
    ----------
    names : collection of str
        Data sets of the study.

    Returns
    -------
    list of str
        Data sets whose index, or digests of cells, were put aside.
    """
    left = set()
    for folder, suffix in _FILES:
        for name in names:
            kept = machine_path("left", f"{name}{suffix}")
            if kept.exists() and not (folder / kept.name).exists():
                folder.mkdir(parents=True, exist_ok=True)
                os.replace(kept, folder / kept.name)
        for path in sorted(folder.glob(f"*{suffix}")):
            if path.stem not in names and NAME_PATTERN.fullmatch(path.stem):
                os.replace(path, machine_file("left", path.name))
                left.add(path.stem)
    return sorted(left)
