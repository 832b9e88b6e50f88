"""The ten real checkpoints of studies/pacs.yaml load, and see a real image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from projects import REPOSITORY

from pipeline.datasets.images import decode
from pipeline.datasets.tars import Tar
from pipeline.models.features import compute_features
from pipeline.models.networks import load_model
from pipeline.study.params import load_study

pytestmark = pytest.mark.slow

STUDY = load_study(REPOSITORY / "studies" / "pacs.yaml")


def test_the_study_names_ten_models():
    assert len(STUDY.models) == 10


@pytest.mark.parametrize("name", STUDY.models)
def test_a_real_checkpoint_loads_and_its_feature_is_finite(name, shared_data, monkeypatch):
    monkeypatch.setenv("PROBELINE_SHARED", str(shared_data))
    model = load_model(name, STUDY.models[name])
    tar = Tar(shared_data / "pacs96.tar")
    entries = [e for e in tar.entries() if e.path.endswith(".jpg")]
    pictures = [decode(tar.read(e), e.path) for e in (entries[0], entries[-1])]
    see = model.transform
    pixels = np.stack([see.geometry.apply(p) for p in pictures]) / 255.0
    batch = torch.from_numpy((pixels - see.mean) / see.std).float().permute(0, 3, 1, 2)
    with torch.inference_mode():
        features = compute_features(model.backbone, batch, [model.feature])[model.feature].numpy()
    assert features.shape == (2, model.columns)
    assert np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 1e-3
