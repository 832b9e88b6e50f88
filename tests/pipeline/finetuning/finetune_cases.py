"""What the tests of fine-tuning share: a tiny study, its images and one run of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from projects import RESNET, VIT, Project, fill_folder

from pipeline.finetuning.run import Finetuned, finetune_cell
from pipeline.study.params import load_study

SMALL = {"recipe": "sgd", "epochs": 3, "batch_size": 8, "warmup_epochs": 1, "drop_path": 0.0}
"""Of 32 train images of two classes."""


def prepare(project: Project, images: int = 20, **runs: dict[str, Any]) -> None:
    """Index 2 x `images` pictures, four fifths of them to train on, and write a study."""
    shutil.rmtree(project.folder / "images", ignore_errors=True)
    train = images * 4 // 5
    fill_folder(project.folder / "images/train", {"cat": train, "dog": train})
    fill_folder(
        project.folder / "images/val", dict.fromkeys(("cat", "dog"), images - train), seed=500
    )
    project.params["models"] = {"tiny": {**VIT, "arguments": {"img_size": 32}}, "net": RESNET}
    ask(project, **(runs or {"small": SMALL}))
    project.run("index", "pets").succeeded()


def ask(project: Project, seed: int = 0, **runs: dict[str, Any]) -> None:
    """Write a study with `runs`."""
    project.params["finetune"] = {"enabled": True, "runs": runs, "seed": seed}
    project.write()


def finetuned(model: str = "tiny", run: str = "small", **options: Any) -> Finetuned:
    """One cell of the study in this folder."""
    kept = options.pop("kept", Path("kept") / model / run)
    return finetune_cell(load_study(), "pets", model, run, kept=kept, **options)


def weights(kept: Path, which: str = "tensors") -> dict[str, torch.Tensor]:
    """Of the state in a folder."""
    state = torch.load(kept / "state.partial", weights_only=True)
    return state[which]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Largest difference of two networks' values."""
    return max(float((one[n].double() - other[n].double()).abs().max()) for n in one)


def same_outcome(one: Finetuned, other: Finetuned) -> bool:
    """Bit for bit."""
    return bool(np.array_equal(one.outcome.log_probability, other.outcome.log_probability))
