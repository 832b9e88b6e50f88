"""Weights, and what says how to use them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from changes import change_bytes, plain_json
from forks import run
from reader import Reader


def readers() -> Iterator[Reader]:
    """Every format of weights, a repository's settings, a taken classifier."""
    import torch
    from safetensors.torch import save

    from pipeline.models import hub, pretrained
    from pipeline.models.checkpoint_files import read_checkpoint
    from pipeline.models.checkpoints import state_dict_of
    from pipeline.models.settings import Checkpoint

    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2)}

    def checkpoint(path: Path) -> object:
        return state_dict_of(read_checkpoint(path, "models.x"), Checkpoint(), "models.x")

    yield Reader("weights, safetensors", "w.safetensors", save(state), change_bytes, checkpoint)
    buffer = io.BytesIO()
    torch.save({"model": state, "epoch": 3}, buffer)
    yield Reader("weights, .pth", "w.pth", buffer.getvalue(), change_bytes, checkpoint)
    buffer = io.BytesIO()
    torch.save({"model": state}, buffer, _use_new_zipfile_serialization=False)
    yield Reader("weights, old .pth", "w.pth", buffer.getvalue(), change_bytes, checkpoint)

    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(5.0), b=np.ones((2, 2)))
    yield Reader("weights, .npz", "w.npz", buffer.getvalue(), change_bytes,
                 lambda path: pretrained._loaded(path, "models.x"))  # fmt: skip
    config = {"architecture": "resnet18", "num_classes": 0, "model_args": {"drop_rate": 0.1},
              "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3}}  # fmt: skip

    def hub_config(path: Path) -> object:
        hub._require_timm(path, "o/n", "models.x")
        return pretrained._read_config(path, "models.x")

    text = json.dumps(config).encode()
    yield Reader("config.json of a hub", "config.json", text, plain_json, hub_config)
    yield from _taken()


def _taken() -> Iterator[Reader]:
    """A classifier that somebody took: its facts changed, and the manifest made right again."""
    from pipeline.taken.classifier import load
    from pipeline.taken.folder import HEAD_FILE, MANIFEST_FILE, manifest_of

    made = run(Path.cwd(), ("cli", "take", "tiny", "taken", "--dataset", "pets"))
    assert made.status == 0, made
    sound = (Path("taken") / HEAD_FILE).read_bytes()

    def taken(path: Path) -> object:
        folder = path.parent / "taken"
        if not folder.exists():
            shutil.copytree("taken", folder)
        shutil.copy(path, folder / HEAD_FILE)
        (folder / MANIFEST_FILE).write_bytes(manifest_of(folder))
        return load(folder)

    yield Reader("taken classifier", "head.json", sound, plain_json, taken)
