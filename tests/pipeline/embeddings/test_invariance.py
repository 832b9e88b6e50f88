"""How the machine is set changes no stored row, no neighbour and no prediction.

Rows are compared, not elements: single elements near zero may differ by more than a percent. The
limit is 1e-3 of a row's norm. Neighbours whose distances are within 1e-3 of each other are ties.
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from cache.cell import Cell
from pipeline.datasets.indexing import build_index
from pipeline.datasets.samples import entries_of
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root
from pipeline.embeddings.engine import extract_splits
from pipeline.embeddings.forward import Forward
from pipeline.embeddings.jobs import Job
from pipeline.machine.devices import this_machine
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.project.paths import SPLITS, cell_address

K = 20
TOLERANCE = 1e-3
MODELS = {
    "mobilenet": Model(
        architecture="mobilenetv2_050", weights="random(0)", input_size=32, crop=1.0
    ),
    "vit": Model(
        architecture="vit_tiny_patch16_224",
        weights="random(0)",
        arguments={"img_size": 32, "patch_size": 16, "depth": 4},
        input_size=32,
        crop=1.0,
    ),
}


@dataclass(frozen=True)
class Stored:
    """What extraction stored, and what kNN makes of it."""

    train: np.ndarray
    val: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray


def judge(train: np.ndarray, val: np.ndarray, labels: np.ndarray) -> Stored:
    model = KNeighborsClassifier(K, weights="distance", algorithm="brute").fit(train, labels)
    return Stored(train, val, labels, model.predict(val))


class Lab:
    """One data set and two networks; extracts them under any setting of the machine."""

    def __init__(self, per_class: int) -> None:
        self.dataset = Dataset(source="builtin:digits", role="in_domain", limit_per_class=per_class)
        self.index = build_index("digits", self.dataset)
        self.models = {name: load_model(name, entry) for name, entry in MODELS.items()}
        self.runs = itertools.count()

    def extract(self, batch_size=64, workers=0, threads=1) -> dict[str, Stored]:
        machine = replace(this_machine(), batch_size=batch_size, workers=workers)
        root = dataset_root("digits", self.dataset)
        jobs = [
            Job(name, model, Forward(model, machine), {"run": next(self.runs), "model": name})
            for name, model in self.models.items()
        ]
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            of_splits = dict.fromkeys(SPLITS, jobs)
            extract_splits(self.index, of_splits, root, machine, "float16", lambda *_: None)
        finally:
            torch.set_num_threads(before)
        return {job.name: self._read(job.name) for job in jobs}

    def _read(self, name: str) -> Stored:
        cells = {s: Cell.open(cell_address("digits", name, s)) for s in SPLITS}
        for split, cell in cells.items():
            assert cell.ids() == self.index.split(split)["path"].tolist()
        train, val = (cells[s].read().astype(np.float32) for s in SPLITS)
        labels = cells["train"].labels()
        return judge(train, val, labels)


@pytest.fixture(scope="module", params=[4, pytest.param(15, marks=pytest.mark.slow)])
def lab(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("invariance"))
        patch.setenv("PROBELINE_DEVICE", "cpu")
        yield Lab(request.param)


@pytest.fixture(scope="module")
def usual(lab):
    return lab.extract()


def neighbors(stored: Stored) -> tuple[np.ndarray, np.ndarray]:
    """Distances from every val row to every train row, and the K nearest."""
    distances = cdist(stored.val.astype(np.float64), stored.train.astype(np.float64))
    return distances, np.argsort(distances, axis=1)[:, :K]


def require_equal(found: Stored, expected: Stored) -> None:
    """Rows within the tolerance; neighbours and predictions equal, up to ties."""
    for a, b in ((found.train, expected.train), (found.val, expected.val)):
        error = np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
        assert error.max() <= TOLERANCE
    distances, nearest = neighbors(expected)
    _, others = neighbors(found)
    for row, (one, two) in enumerate(zip(nearest, others, strict=True)):
        border = distances[row, one[-1]]
        swapped = [*set(one.tolist()) ^ set(two.tolist())]
        assert np.all(np.abs(distances[row, swapped] - border) <= TOLERANCE * border)
        if not swapped and found.predicted[row] != expected.predicted[row]:
            votes = np.bincount(expected.labels[one], 1 / distances[row, one])
            first, second = np.sort(votes)[::-1][:2]
            assert first - second <= TOLERANCE * first, "not a tie"


SETTINGS = [
    {"batch_size": 1},
    {"batch_size": 7},  # divides nothing: the last batch is a partial one
    {"workers": 1},
    {"workers": 3},
    {"threads": 2},
    {"batch_size": 7, "workers": 3},
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_machine_changes_no_row_no_neighbor_and_no_prediction(lab, usual, setting):
    found = lab.extract(**setting)
    for name, stored in found.items():
        require_equal(stored, usual[name])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_memory_format_changes_no_row_no_neighbor_and_no_prediction(lab, usual, name, layout):
    """The stored rows are those of a plain loop in either format."""
    model = load_model(name, MODELS[name])
    network = model.backbone.to(memory_format=layout)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (model.transform.mean, model.transform.std)
    )
    root = dataset_root("digits", lab.dataset)
    rows = {}
    for split in SPLITS:
        parts = []
        for entry in entries_of(lab.index.split(split)):
            image = Image.open(io.BytesIO(root.read(entry))).convert("RGB")
            parts.append(torch.from_numpy(model.transform.geometry.apply(image).copy()))
        images = torch.stack(parts).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        assert images.is_contiguous(memory_format=layout)
        with torch.inference_mode():
            plain = network.forward_head(
                network.forward_features((images / 255 - mean) / std), pre_logits=True
            )
        rows[split] = plain.numpy().astype(np.float16).astype(np.float32)
    require_equal(usual[name], judge(rows["train"], rows["val"], usual[name].labels))


def test_the_comparison_itself_can_fail(usual):
    """Another network's rows, other neighbours and other predictions are all told apart."""
    stored = usual["vit"]
    with pytest.raises(AssertionError):
        require_equal(replace(stored, train=stored.train * 1.002), stored)
    with pytest.raises(AssertionError):
        require_equal(replace(stored, val=np.roll(stored.val, 1, axis=0)), stored)
    with pytest.raises(AssertionError, match="not a tie"):
        require_equal(replace(stored, predicted=(stored.predicted + 1) % 10), stored)
