"""What reduced precision changes: some images through every network both ways, before extraction.

Measured on real features, bfloat16 computation changed 3 to 9 % of k-nearest-neighbour
predictions; so a study that computes in it says how many it changes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from cache.errors import NonFiniteError
from pipeline.datasets.index import Index
from pipeline.datasets.roots import Root
from pipeline.embeddings.forward import Forward
from pipeline.embeddings.jobs import Job
from pipeline.embeddings.loading import BatchLoader
from pipeline.machine.devices import Machine

IMAGES = 256
NEIGHBORS = 20


@dataclass(frozen=True)
class Audit:
    """How far a model's reduced-precision features are from its float32 ones.

    Attributes
    ----------
    images : int
        Compared, spread evenly over the train split.
    median, maximum : float
        Of the rows' differences ‖reduced - exact‖ / ‖exact‖.
    changed : float
        Share of the images whose leave-one-out kNN prediction changes (see `predict_others`).
    """

    images: int
    median: float
    maximum: float
    changed: float


def audit_rows(rows: int) -> NDArray[np.int64]:
    """The rows that are compared: all, or `IMAGES` of them at even distances.

    Returns
    -------
    ndarray of shape (n_images,)
        Increasing.
    """
    count = min(rows, IMAGES)
    return np.arange(count, dtype=np.int64) * rows // count


def audit_jobs(index: Index, root: Root, jobs: Sequence[Job], machine: Machine) -> dict[str, Audit]:
    """Run the same images through each job's network in float32 and as the job runs it.

    Parameters
    ----------
    index : Index
    root : Root
        Where the images are.
    jobs : sequence of Job
        Of the train split, or of val where there is no other. Those that share a `Forward` share
        the passes here, too.
    machine : Machine

    Returns
    -------
    dict of str to Audit
        By the jobs' names.

    Raises
    ------
    BadImageError
        When an image can't be decoded.
    NonFiniteError
        When a feature is NaN or infinite in either precision.
    """
    split = index.split_names[0]
    samples, labels = index.split(split), index.labels(split)
    rows = audit_rows(len(samples))
    features = _both_ways(samples.iloc[rows].reset_index(drop=True), root, jobs, machine, index)
    return {name: compare(ways[0], ways[1], labels[rows]) for name, ways in features.items()}


def _both_ways(
    samples: pd.DataFrame, root: Root, jobs: Sequence[Job], machine: Machine, index: Index
) -> dict[str, NDArray[np.float32]]:
    """For each job an array of shape (2, n_images, n_features): float32, and as the job runs."""
    ways = {
        run: (Forward(job.model, machine, "float32", device=run.device), run)
        for run, job in {job.forward: job for job in jobs}.items()
    }
    features = {
        job.name: np.empty((2, len(samples), job.model.columns), np.float32) for job in jobs
    }
    paths = samples["path"].tolist()
    loader = BatchLoader(
        root,
        samples,
        list(dict.fromkeys(job.pixels for job in jobs)),
        machine.workers,
        pad=index.pad,
        white=index.white,
    )
    size = machine.batch_size
    wanted = [slice(s, min(s + size, len(paths))) for s in range(0, len(paths), size)]
    for batch, pixels in loader.batches(wanted):
        for forward, runs in ways.items():
            sharing = [job for job in jobs if job.forward is forward]
            seen = pixels[sharing[0].pixels]
            kinds = list(dict.fromkeys(job.model.feature for job in sharing))
            for way, run in enumerate(runs):
                found = run(seen, kinds)
                for job in sharing:
                    values = found[job.model.feature]
                    _require_finite(job.name, run, values, seen, paths[batch])
                    features[job.name][way, batch] = values
    return features


def compare(
    exact: NDArray[np.float32], reduced: NDArray[np.float32], labels: NDArray[np.int64]
) -> Audit:
    """Judge features of the same images, computed both ways.

    Parameters
    ----------
    exact, reduced : ndarray of shape (n_images, n_features)
    labels : ndarray of shape (n_images,)
    """
    before, after = exact.astype(np.float64), reduced.astype(np.float64)
    difference = np.linalg.norm(after - before, axis=1)
    # A row of zeros has no norm to divide by: one that does not stay zero differs by all of it.
    norms = np.linalg.norm(before, axis=1)
    norms = np.where(norms > 0, norms, difference)
    difference = np.divide(difference, norms, out=np.zeros_like(norms), where=norms > 0)
    changed = predict_others(before, labels) != predict_others(after, labels)
    return Audit(
        len(labels), float(np.median(difference)), float(difference.max()), float(changed.mean())
    )


def predict_others(features: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each image's class by its neighbours among the other images (leave one out).

    The study's protocol: Euclidean distance, votes weighted by 1/distance, at most `NEIGHBORS`
    neighbours (all others, where there are fewer).

    Returns
    -------
    ndarray of shape (n_images,)
    """
    distances = cdist(features, features)
    np.fill_diagonal(distances, 2 * distances.max() + 1)  # never among the nearest
    model = KNeighborsClassifier(
        min(NEIGHBORS, len(labels) - 1), weights="distance", metric="precomputed"
    )
    predicted: NDArray[np.int64] = model.fit(distances, labels).predict(distances)
    return predicted


def _require_finite(
    name: str,
    run: Forward,
    values: NDArray[np.float32],
    pixels: NDArray[np.uint8],
    paths: Sequence[str],
) -> None:
    finite = np.isfinite(values).all(axis=1)
    if finite.all():
        return
    row = int(np.argmin(finite))
    raise NonFiniteError(
        f"model {name} on image {paths[row]}",
        "the model's feature is not a finite number",
        found=f"NaN or infinity, first in the output of {run.first_layer_not_finite(pixels[row])}",
        remedy="check the weights; with half-precision compute, set "
        "`extraction.precision: float32`",
    )
