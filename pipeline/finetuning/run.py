"""Fine-tune one model on one data set, as one run asks; the val split is read once, at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.fingerprint import fingerprint
from pipeline.datasets.images import DECODER
from pipeline.datasets.index import Index, read_index
from pipeline.datasets.roots import Root
from pipeline.datasets.sources import dataset_root
from pipeline.embeddings.loading import BatchLoader, Pixels
from pipeline.finetuning.classifier import Classifier, is_transformer, takes_one_image
from pipeline.finetuning.given import Given, Rows, given_to
from pipeline.finetuning.history import Epoch, chosen
from pipeline.finetuning.images import decode_once
from pipeline.finetuning.job import Job, Labelled
from pipeline.finetuning.judging import log_probabilities
from pipeline.finetuning.launching import check_batch, new_fabric, train_within_memory
from pipeline.finetuning.recipes import recipe_of, run_key
from pipeline.finetuning.state import put_tensors, read_state
from pipeline.finetuning.training import Advance
from pipeline.machine.devices import this_machine
from pipeline.models.networks import load_model
from pipeline.models.transforms import VIEW_RULES, Geometry, Resized
from pipeline.probes.scoring import Outcome, make_outcome
from pipeline.study.schema import Study


@dataclass(frozen=True)
class Finetuned:
    """What a run found.

    Attributes
    ----------
    outcome : Outcome
        Of every val image; its variant is the run's name.
    history : tuple of Epoch
    chosen_epoch : int
        From 1: best on the hold-out, or the last.
    n_train : int
        Images of train that were learned from or held out.
    cost : dict
        Plain values: ``seconds`` (of all epochs and of judging val), ``device``, ``processes``,
        ``images_seen`` by the training, ``parameters`` and those ``trained``.
    details : dict
        Plain values: the recipe as it held, counts, and ``notes`` for a reader.
    """

    outcome: Outcome
    history: tuple[Epoch, ...]
    chosen_epoch: int
    n_train: int
    cost: dict[str, Any]
    details: dict[str, Any]


def finetune_cell(
    study: Study,
    dataset: str,
    model: str,
    run: str,
    *,
    kept: Path,
    advance: Advance = lambda _epochs, _words: None,
    processes: int | None = None,
) -> Finetuned:
    """Train a model end to end, from where an earlier call was killed, and judge it on val.

    Parameters
    ----------
    study : Study
    dataset, model, run : str
        Names of the study; the data set is indexed.
    kept : Path
        Folder for what an interrupted training is continued from; the caller removes it once the
        result is stored.
    advance : callable
        Called with epochs done and what to say of the last: at once with those of an earlier call.
    processes : int, optional
        By default one for each GPU, or one on a CPU. Scores agree but for rounding, where no
        BatchNorm takes its statistics of the parts.

    Raises
    ------
    ProbelineError
        When the run can't be done as it is asked for, the training diverges, or the disk is full.
    """
    asked, entry = study.finetune.runs[run], study.models[model]
    place = f"params.yaml: finetune.runs.{run} ({model} on {dataset})"
    index, machine, seed = read_index(dataset), this_machine(), study.finetune.seed
    given = given_to(index, asked, draw_seed=study.fewshot.seed, seed=seed, place=place)
    loaded = load_model(model, entry)
    recipe = recipe_of(asked, share=given.share, transformer=is_transformer(loaded.backbone))
    count = processes or (1 if machine.devices[0].type == "cpu" else len(machine.devices))
    key = {
        "run": run_key(asked) | {"recipe": recipe.values()},
        "seed": seed,
        "images": index.samples_digest("train"),
        "learned": fingerprint(given.learned.tolist()),
        "held_out": fingerprint(given.held_out.tolist()),
        "pixels": {"decoder": DECODER, "views": VIEW_RULES, "pad": index.pad, **index.grey_key},
        "weights": loaded.weights_digest,
        "feature": loaded.feature,
        "transform": loaded.transform.to_dict(),
    }
    root = dataset_root(dataset, study.datasets[dataset])
    source = _Source(root, index, machine.workers, kept, shared=count > 1)
    geometry = loaded.transform.geometry
    job = Job(
        place=place,
        name=model,
        entry=entry,
        run=asked,
        recipe=recipe,
        geometry=geometry,
        classes=len(index.classes),
        seed=seed,
        learned=source.decoded(given.learned, Resized(geometry), "learned"),
        held_out=source.decoded(given.held_out, geometry, "held_out"),
        state=kept / "state.partial",
        key=key,
        workers=machine.workers,
    )
    classifier = job.classifier()
    check_batch(job, classifier, count)
    if job.batches[-1] == 1:
        job = replace(job, join_single=not takes_one_image(classifier))
    parts = train_within_memory(job, count, advance)
    return _finished(job, run, classifier, source, given, machine.name, count, parts)


@dataclass(frozen=True)
class _Source:
    """Where the images of a data set come from, and where they may lie decoded."""

    root: Root
    index: Index
    workers: int
    kept: Path
    shared: bool

    def decoded(self, rows: Rows, pixels: Pixels, name: str) -> Labelled:
        """Images of train, decoded once."""
        samples = self.index.split("train").iloc[rows].reset_index(drop=True)
        images = decode_once(
            self.root,
            samples,
            pixels,
            pad=self.index.pad,
            white=self.index.white,
            workers=self.workers,
            path=self.kept / f"{name}.partial",
            shared=self.shared,
        )
        return Labelled(images, self.index.labels("train")[rows], rows)

    def val(self, geometry: Geometry, size: int) -> Iterator[NDArray[np.uint8]]:
        """Batches of the val split, as the extraction sees them."""
        samples = self.index.split("val")
        pad, white = self.index.pad, self.index.white
        loader = BatchLoader(self.root, samples, [geometry], self.workers, pad=pad, white=white)
        starts = range(0, len(samples), size)
        wanted = [slice(start, min(start + size, len(samples))) for start in starts]
        return (batch[geometry] for _, batch in loader.batches(wanted))


def _finished(
    job: Job,
    run: str,
    classifier: Classifier,
    source: _Source,
    given: Given,
    device: str,
    processes: int,
    parts: int,
) -> Finetuned:
    """Judge the chosen weights on val, which nothing before has read."""
    state = read_state(job.state, job.key)
    assert state is not None
    history = tuple(Epoch(**epoch) for epoch in state["history"])
    start = time.perf_counter()
    fabric = new_fabric(job.run.precision, 1)
    put_tensors(classifier, state["best"])
    classifier.to(fabric.device)
    size = max(1, job.recipe.batch_size // (processes * parts))
    batches = source.val(job.geometry, size)
    scores = log_probabilities(classifier, batches, fabric.device, fabric.autocast())
    judging = time.perf_counter() - start
    seconds = round(sum(epoch.seconds for epoch in history) + judging, 3)
    trained = sum(p.numel() for p in classifier.parameters() if p.requires_grad)
    cost = {
        "seconds": seconds,
        "device": device,
        "processes": processes,
        "images_seen": job.recipe.epochs * sum(job.batches),
        "parameters": sum(p.numel() for p in classifier.parameters()),
        "trained": trained,
    }
    details = {
        "recipe": job.recipe.values(),
        "train": job.run.train,
        "chosen_epoch": chosen(history),
        "images_learned": len(job.learned),
        "images_held_out": len(job.held_out),
        "steps": job.recipe.epochs * job.steps,
        "accumulation": parts,
        "notes": list(given.notes),
    }
    outcome = make_outcome(
        run,
        np.exp(scores.double().numpy()),
        source.index.labels("val"),
        seconds=seconds,
        backend="torch",
        seed=job.seed,
        details=details,
    )
    return Finetuned(outcome, history, chosen(history), given.images, cost, details)
