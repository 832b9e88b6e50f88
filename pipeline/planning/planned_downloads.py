"""What a study still has to fetch, before it starts: checkpoints, and images of known data sets."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.datasets.doors import is_there
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
        Weights that timm or a hub has, and this machine has not.
    hub_bytes : float
        Of those: what the networks' parameters take in float32. NaN where they are not known.
    datasets : tuple of str
        Known data sets (``known:NAME``) whose folder is not there; a person has to prepare them.
    dataset_bytes : float
        Of their archives, about.
    """

    checkpoints: int
    checkpoint_bytes: float
    of_hubs: int
    hub_bytes: float
    datasets: tuple[str, ...]
    dataset_bytes: float


def planned_downloads(
    study: Study,
    parameters: Mapping[str, float] | None = None,
    not_needed: Collection[str] = (),
) -> PlannedDownloads:
    """Look at what is here; fetches nothing and imports no torch.

    Parameters
    ----------
    study : Study
    parameters : mapping of str to float, optional
        Of models' networks, where they are known; the zoo's are.
    not_needed : collection of str
        Models whose weights are here, or that have no cell to compute.
    """
    parameters = parameters or {}
    sizes: dict[str, float] = {}
    of_hubs: dict[str, float] = {}
    for name, entry in study.models.items():
        if name in not_needed:
            continue
        weight = 4 * parameters.get(name, known_parameters(entry.architecture))
        if entry.weights == "pretrained":
            of_hubs[entry.architecture] = weight
        if entry.is_remote and entry.weights_file is not None:
            path = expand_path(entry.weights_file, f"model {name}")
            if not path.is_file():
                recorded = locked(path.name).get("size")
                sizes[str(path)] = float(weight if recorded is None else recorded)
    absent = {}
    for name, dataset in study.datasets.items():
        if dataset.known_as is not None and not is_there(name, dataset):
            files_of = known_dataset(dataset.known_as).files
            absent[name] = [(f.file, f.gigabytes) for f in files_of]
    files = {file for files in absent.values() for file in files}  # some share theirs
    return PlannedDownloads(
        len(sizes),
        math.fsum(sizes.values()),
        len(of_hubs),
        math.fsum(of_hubs.values()),
        tuple(absent),
        1e9 * math.fsum(gigabytes for _, gigabytes in files),
    )
