"""Indexes of data sets that left the study: kept aside, where no stage depends on them.

Stages depend on the whole of ``data/index``. A file there that a colleague's clone can't have (its
data set is in no params.yaml any more) would make all of them run again there.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from pipeline.project.machine_files import machine_file, machine_path
from pipeline.project.names import NAME_PATTERN
from pipeline.project.paths import INDEX, index_path


def sort_indexes(names: Collection[str]) -> list[str]:
    """Put aside what the study does not name, and put back what it names again.

    Parameters
    ----------
    names : collection of str
        Data sets of the study.

    Returns
    -------
    list of str
        Data sets whose index was put aside.
    """
    for name in names:
        kept = machine_path("left", f"{name}.parquet")
        if kept.exists() and not index_path(name).exists():
            INDEX.mkdir(parents=True, exist_ok=True)
            os.replace(kept, index_path(name))
    left = [
        path
        for path in sorted(INDEX.glob("*.parquet"))
        if path.stem not in names and NAME_PATTERN.fullmatch(path.stem)
    ]
    for path in left:
        os.replace(path, machine_file("left", path.name))
    return [path.stem for path in left]
