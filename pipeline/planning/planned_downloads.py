"""What a study still has to fetch, before it starts: checkpoints, and images of known data sets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cache.errors import ProbelineError
from pipeline.datasets.known import known_dataset
from pipeline.machine.environment import expand_path
from pipeline.models.lockfile import locked
from pipeline.models.zoo import known_parameters
from pipeline.study.schema import Study


@dataclass(frozen=True)
class PlannedDownloads:
    """Files that are not here yet.

    Attributes
    ----------
    checkpoints : int
        With an address of their own, which `dvc repro` fetches.
    checkpoint_bytes : float
        Of those: as recorded when they were fetched before, else what the backbone's parameters
        take in float32, the least that such a file holds. NaN where neither is known.
    of_hubs : int
        Models whose weights timm or a hub fetches, where its own cache lacks them.
    datasets : tuple of str
        Known data sets (``known:NAME``) whose folder is not there; a person has to prepare them.
    dataset_bytes : float
        Of their archives, about.
    """

    checkpoints: int
    checkpoint_bytes: float
    of_hubs: int
    datasets: tuple[str, ...]
    dataset_bytes: float


def planned_downloads(study: Study) -> PlannedDownloads:
    """Look at what is here; fetches nothing and imports no torch."""
    sizes: dict[str, float] = {}
    for name, entry in study.models.items():
        if entry.is_remote and entry.weights_file is not None:
            path = expand_path(entry.weights_file, f"model {name}")
            if not path.is_file():
                recorded = locked(path.name).get("size")
                least = 4 * known_parameters(entry.architecture)
                sizes[str(path)] = float(least if recorded is None else recorded)
    absent = {}
    for name, dataset in study.datasets.items():
        _, is_known, of = dataset.source.partition("known:")
        if is_known and not _is_here(dataset.path):
            absent[name] = [(f.file, f.gigabytes) for f in known_dataset(of).files]
    files = {file for files in absent.values() for file in files}  # some share theirs
    return PlannedDownloads(
        len(sizes),
        math.fsum(sizes.values()),
        sum(entry.weights == "pretrained" for entry in study.models.values()),
        tuple(absent),
        1e9 * math.fsum(gigabytes for _, gigabytes in files),
    )


def _is_here(path: str | None) -> bool:
    try:
        return path is not None and expand_path(path, "").exists()
    except ProbelineError:  # its variable is not set
        return False
