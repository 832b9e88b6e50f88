"""Pre-train the models of a study that are missing, side by side where there are processors."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from safetensors.torch import save

from cache.files import sha256_bytes, write_durably
from cache.fingerprint import fingerprint
from cache.seals import sealed_json
from pipeline.datasets.index import Index
from pipeline.machine.device_memory import first_that_fits
from pipeline.machine.devices import this_machine
from pipeline.machine.failures import all_in_one
from pipeline.machine.process_pool import Report, process_count, run_jobs
from pipeline.machine.progress import Progress
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.pretraining.encoder import Encoder
from pipeline.pretraining.entries import pretrain_key, record_path, unfinished_path
from pipeline.pretraining.images import training_images
from pipeline.pretraining.rank import rank_of
from pipeline.pretraining.training import Training
from pipeline.project.paths import checkpoint_path
from pipeline.study.schema import Study

_PACKAGES = ("torch", "timm", "lightly", "numpy", "pillow")

Job = tuple[Study, str, Index]
"""What is trained: an entry of `pretrain`, and the index of its data set."""


def pretrain_all(study: Study, indexes: dict[str, Index]) -> None:
    """Train entries and write their checkpoints; one that fails leaves the others.

    On a CPU every training has one thread and a process of its own, so that its numbers do not
    depend on how many run at once; on GPUs they run one after the other.

    Parameters
    ----------
    study : Study
    indexes : dict of str to Index
        By entry of `pretrain`, of its data set.

    Raises
    ------
    ProbelineError
        When some entries failed; the others are finished.
    """
    epochs = sum(study.pretrain[n].epochs for n in indexes if study.pretrain[n].method != "random")
    jobs = [(study, name, index) for name, index in indexes.items()]
    on_cpu = this_machine().devices[0].type == "cpu"
    workers = process_count(len(jobs)) if on_cpu else 1
    progress = Progress("pretrain", epochs, "epochs")
    failed = run_jobs(_train, jobs, workers, progress, cluster=False)
    if failed:
        raise all_in_one("pretrain", failed, len(jobs), "trainings")


def _train(job: Job, report: Report) -> None:
    pretrain_one(*job, lambda epochs: report(epochs, ""))


def pretrain_one(study: Study, name: str, index: Index, advance: Callable[[int], None]) -> None:
    """Train one entry from where it was left, and write its checkpoint and its record.

    Parameters
    ----------
    study : Study
    name : str
        Of an entry of `pretrain`.
    index : Index
        Of that entry's data set.
    advance : callable
        Called with a number of epochs done.

    Raises
    ------
    ProbelineError
        When its settings do not fit together, or its loss diverges; a former checkpoint stays.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # What can't be done in parts, as taking the network to a device, fails with words.
        first_that_fits(
            [lambda: _pretrain(study, name, index, advance)],
            f"params.yaml: pretrain.{name}",
            lambda _: None,
        )
    finally:
        torch.set_num_threads(threads)


def _pretrain(study: Study, name: str, index: Index, advance: Callable[[int], None]) -> None:
    entry, machine = study.pretrain[name], this_machine()
    place = f"params.yaml: pretrain.{name}"
    asked = entry.model_dump(include={"architecture", "arguments", "input_size"})
    initial = Model.model_validate({**asked, "weights": f"random({entry.seed})", "crop": 1.0})
    model = load_model(name, initial, place)
    images = training_images(study, entry, index, model.transform.geometry, place)
    training = Training(entry, Encoder(model), images, machine.devices[0], place)
    key = pretrain_key(entry, index)
    training.run(unfinished_path(name), fingerprint(key), advance)
    kept = training.method.kept
    rank = rank_of(kept, images.pixels)
    weights = save({k: v.cpu().contiguous() for k, v in kept.backbone.state_dict().items()})
    record: dict[str, Any] = {
        "key": key,
        "weights": sha256_bytes(weights),
        "dataset": entry.dataset,
        "images": len(images.labels),
        "parameters": model.parameters,
        "epochs": training.epochs,
        "chance_loss": _rounded(training.chance_loss()),
        "untrained_loss": _rounded(training.untrained_loss),
        "seconds": round(sum(epoch["seconds"] for epoch in training.epochs), 3),
        "rankme": round(rank.rankme, 3),
        "width": rank.width,
        "collapsed": rank.collapsed and bool(training.epochs),
        "device": machine.name,
        "processor": platform.processor() or platform.machine(),
        "versions": {package: version(package) for package in _PACKAGES},
        "python": platform.python_version(),
    }
    write_durably(checkpoint_path(name), weights)
    write_durably(record_path(name), sealed_json(record))
    unfinished_path(name).unlink(missing_ok=True)


def _rounded(loss: float | None) -> float | None:
    """For JSON, which has no infinite numbers."""
    return None if loss is None or not math.isfinite(loss) else round(loss, 6)
