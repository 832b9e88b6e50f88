"""On real images: a pre-trained network that is fine-tuned beats its probe, and training anew."""

from __future__ import annotations

import numpy as np
import pytest
from projects import REPOSITORY

from cache.records import read_record
from pipeline.finetuning.run import finetune_cell
from pipeline.project.paths import record_path
from pipeline.study.params import load_study

RESNET = {
    "architecture": "resnet18",
    "arguments": {
        "layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "stem_type": "deep", "stem_width": 8
    },
    "input_size": 32,
}  # fmt: skip
TRAINING = {"dataset": "digits", "epochs": 6, "batch_size": 64, "learning_rate": 0.004}
RUN = {
    "recipe": "modern", "fraction": 0.1, "epochs": 15, "warmup_epochs": 2, "batch_size": 16,
    "learning_rate": 0.03, "head_learning_rate": 0.1, "mixup": 0.0, "cutmix": 0.0, "ema": 0.9,
    "layer_decay": 1.0, "drop_path": 0.0, "flip": False, "view_area": 0.8, "selection": "last",
}  # fmt: skip


@pytest.mark.slow
def test_a_tenth_of_the_labels_of_digits_on_photographs(project):
    """The fine-tuned network, its linear probes on the same draw, and the network from scratch."""
    project.params["datasets"] = {
        "digits": {"source": "builtin:digits", "role": "in_domain"},
        "photo": {"source": "builtin:digits_photo", "role": "out_of_domain"},
    }
    project.params["pretrain"] = {
        "pre": {**RESNET, **TRAINING, "method": "simclr"},
        "new": {**RESNET, **TRAINING, "method": "random"},
    }
    project.params["models"] = {n: {**RESNET, "weights": f"pretrain({n})"} for n in ("pre", "new")}
    project.params["fewshot"] = {
        "fractions": [0.1], "episodes_above_five": 2, "heads": ["ridge", "logistic"]
    }  # fmt: skip
    project.params["finetune"] = {"enabled": True, "runs": {"few": RUN}}
    project.write()
    for command in ("index digits", "index photo", "pretrain", "extract digits", "extract photo",
                    "fewshot"):  # fmt: skip
        project.run(*command.split()).succeeded()
    probes = [
        row["value"]
        for row in read_record(record_path("fewshot", "photo", "pre")).scores
        if row["metric"] == "top1"
    ]
    found = {
        name: finetune_cell(load_study(), "photo", name, "few", kept=project.folder / name)
        for name in ("pre", "new")
    }
    top1 = {name: float(np.mean(f.outcome.rank == 1)) for name, f in found.items()}
    assert found["pre"].n_train == found["new"].n_train == pytest.approx(144, abs=3)
    assert top1["pre"] > max(probes) + 0.05, (top1, probes)
    assert top1["pre"] > top1["new"] + 0.05, (top1, probes)


@pytest.mark.slow
def test_a_tenth_of_the_labels_of_sketches(project, shared_data, monkeypatch):
    """A network that saw photographs of ImageNet, on drawings: PACS, where the folder is here."""
    monkeypatch.setenv("PROBELINE_SHARED", str(shared_data))
    pacs = load_study(REPOSITORY / "studies" / "pacs.yaml")
    sketches = pacs.datasets["pacs_sketch"].model_copy(update={"limit_per_class": 200})
    small = {"input_size": 96, "crop": 1.0}
    network = pacs.models["mobilenetv1_050"].model_copy(update=small).model_dump()
    project.params["datasets"] = {"sketches": sketches.model_dump()}
    project.params["models"] = {"pre": network, "new": {**network, "weights": "random(0)"}}
    project.params["fewshot"] = {
        "fractions": [0.1], "episodes_above_five": 2, "heads": ["ridge", "logistic"]
    }  # fmt: skip
    changes = {
        "epochs": 30, "warmup_epochs": 3, "learning_rate": 0.01, "head_learning_rate": 0.05,
        "flip": True, "view_area": 0.4,
    }  # fmt: skip
    project.params["finetune"] = {"enabled": True, "runs": {"few": {**RUN, **changes}}}
    project.write()
    for command in ("index sketches", "extract sketches", "fewshot"):
        project.run(*command.split()).succeeded()
    probes = [
        row["value"]
        for row in read_record(record_path("fewshot", "sketches", "pre")).scores
        if row["metric"] == "top1"
    ]
    top1 = {}
    for name in ("pre", "new"):
        kept = project.folder / name
        found = finetune_cell(load_study(), "sketches", name, "few", kept=kept)
        top1[name] = float(np.mean(found.outcome.rank == 1))
    assert top1["pre"] > max(probes) + 0.03, (top1, probes)
    assert top1["pre"] > top1["new"] + 0.2, (top1, probes)
