"""Probeline in Python: read a finished study, and predict with a classifier that was taken of it.

Everything here reads, nothing computes or writes: studies are run by ``dvc repro``. The package is
light; pandas, xarray and torch are imported by what needs them.

>>> import probeline
>>> study = probeline.open(".")                                       # the project's folder
>>> study.models[:2]
['tiny', 'other']
>>> top1 = study.scores.query("metric == 'top1' and variant == 'logistic_none'")
>>> top1[["model", "dataset", "n_test"]].values.tolist()[:2]
[['tiny', 'pets', 14], ['other', 'pets', 14]]
>>> outcomes = study.outcomes("linear", "pets", "tiny", "logistic_none")
>>> bool(outcomes["hit"].mean() == top1["value"].iloc[0])
True
>>> study.embeddings("pets", "tiny", "train")["embedding"].sizes["sample"]
16

A folder that ``probeline take`` wrote:

>>> classifier = probeline.load("taken/tiny")
>>> classifier.predict(["images/<b>cat/000.png"])[0].image
'images/<b>cat/000.png'
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cache.errors import ProbelineError
from probeline.study import OpenedStudy

if TYPE_CHECKING:
    from pipeline.taken.classifier import Classifier

__all__ = ["OpenedStudy", "ProbelineError", "load", "open"]


def open(folder: str | os.PathLike[str] = ".") -> OpenedStudy:  # noqa: A001 - as of a file: read it
    """Read the study of a project's folder.

    Parameters
    ----------
    folder : path
        Where dvc.yaml and params.yaml are.

    Raises
    ------
    ProbelineError
        When it is no project, or its params.yaml no study.
    """
    return OpenedStudy(folder)


def load(
    folder: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
) -> Classifier:
    """Read a classifier that ``probeline take`` wrote; no code of the folder is executed.

    Parameters
    ----------
    folder : path
    weights : path, optional
        The backbone's weights, for a folder without them.
    device : str
        Where the network runs, as torch names it.

    Returns
    -------
    Classifier
        ``predict(images, risk=None)`` takes paths, contents of files (bytes) or Pillow's images,
        and gives for each of them an object with image, label, probability and answered.

    Raises
    ------
    ProbelineError
        When a file is missing or altered, or weights or transform are not those of the head.
    """
    from pipeline.taken.classifier import load as load_taken

    return load_taken(folder, weights=weights, device=device)
