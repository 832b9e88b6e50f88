"""A small finished study to take classifiers of, made once for all tests of a process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from projects import REPOSITORY, RESNET, VIT, Project, fill_folder

CLASSES = ("<b>cat", "=SUM(A1)", 'dog "x", y')
"""Names of folders that mean something to HTML, to spreadsheets and to CSV."""


@contextmanager
def entered(folder: Path) -> Iterator[None]:
    """Work in a folder, on one CPU and without the caller's settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("PROBELINE_", "DASK_"))]:
            if name != "PROBELINE_SHARED":
                patch.delenv(name)
        patch.setenv("PROBELINE_DEVICE", "cpu")
        patch.setenv("PROBELINE_WORKERS", "0")
        patch.setattr("pipeline.machine.process_pool.cpu_count", lambda: 1)
        patch.setattr(os, "fsync", lambda handle: None)
        patch.chdir(folder)
        yield


SHARED = Path(os.environ.get("PROBELINE_SHARED", REPOSITORY / "../shared/data"))

_MOBILENET = {
    "architecture": "timm.models.efficientnet:_gen_mobilenet_v1",
    "weights": str(SHARED.resolve() / "weights" / "mobilenetv1_025_96_vww.safetensors"),
    "arguments": {
        "variant": "mobilenetv1_100",
        "channel_multiplier": 0.25,
        "pad_type": "same",
        "act_layer": "relu",
        "bn_eps": 0.001,
    },
    "input_size": 96,
    "crop": 1.0,
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
}
"""With real weights, where they are here."""


def finished(folder: Path) -> Project:
    """A study of 30 images of three classes, scored by kNN and by linear heads."""
    folder.mkdir()
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    fill_folder(folder / "images", dict.fromkeys(CLASSES, 10))
    project = Project(folder)
    project.params["models"] = {"tiny": VIT, "other": RESNET}
    if Path(_MOBILENET["weights"]).exists():
        project.params["models"]["real"] = _MOBILENET
    project.params["datasets"]["pets"] |= {"val_fraction": 0.4}
    project.params["neighbors"] |= {
        "n_neighbors": 6,
        "metric": ["euclidean", "cosine"],
        "normalization": ["none", "centered_l2"],
    }
    project.params["knn"] = {"k": [3], "weighting": ["distance", "softmax"], "tuned": True}
    project.params["linear"] |= {
        "heads": ["logistic", "ridge"],
        "normalization": ["none", "zscore", "l2"],
    }
    with entered(folder):
        project.prepare()
        for stage in ("neighbors", "knn", "linear", "collect", "correlate"):
            project.run(stage).succeeded()
    return project
