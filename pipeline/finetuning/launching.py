"""Running a training on this machine's devices; in smaller parts where memory does not do."""

from __future__ import annotations

import sys
from functools import partial

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from cache.errors import ProbelineError
from pipeline.finetuning.classifier import Classifier, has_batch_norm
from pipeline.finetuning.job import Job
from pipeline.finetuning.training import Advance, train
from pipeline.machine.device_memory import release
from pipeline.machine.devices import this_machine

_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def new_fabric(precision: str, processes: int | None = None) -> Fabric:
    """Fabric for this machine: one process for each GPU, or on a CPU one (or as many as asked)."""
    devices = this_machine().devices
    on_cpu = devices[0].type == "cpu"
    count = processes or (1 if on_cpu else len(devices))
    return Fabric(
        accelerator=devices[0].type,
        devices=count if on_cpu else [device.index for device in devices[:count]],
        strategy="ddp_spawn" if count > 1 else "auto",
        precision=_PRECISION[precision],
    )


def train_within_memory(job: Job, processes: int, advance: Advance) -> int:
    """Train to the end; each time that memory runs out, in twice as many parts of a batch.

    The batch stays the same; only BatchNorm sees fewer images together. What was done before is
    continued from the last state.

    Returns
    -------
    int
        Parts in which a process took its share of a batch.

    Raises
    ------
    ProbelineError
        When memory does not do for the smallest part, or the training fails.
    """
    share = job.recipe.batch_size // processes
    parts, counted = 1, _Counted(advance)
    while True:
        if _trained(job, processes, parts, counted.begin()):
            return parts
        smallest = 2 if has_batch_norm(job.classifier().train()) else 1
        if share // (2 * parts) < smallest:
            raise ProbelineError(
                job.place,
                "the device's memory does not do for the smallest part of a batch",
                found=f"out of memory with {share // parts} images at once",
                remedy="use a device with more memory, `train: lora`, or precision: bfloat16",
            )
        parts *= 2
        print(
            f"{job.place}: out of memory with {2 * share // parts} images at once; goes on with "
            f"{parts} parts of a batch of {share}, accumulated: the same effective batch",
            file=sys.stderr,
            flush=True,
        )
        release()


class _Counted:
    """Passes on each epoch once, however often the training is begun."""

    def __init__(self, advance: Advance) -> None:
        self._advance, self._most = advance, 0

    def begin(self) -> Advance:
        """What to give to a training that counts its epochs from the first."""
        done = 0

        def advance(epochs: int, words: str) -> None:
            nonlocal done
            done += epochs
            new, self._most = max(0, done - self._most), max(done, self._most)
            self._advance(new, words)

        return advance


def _trained(job: Job, processes: int, parts: int, advance: Advance) -> bool:
    """Train; False when memory ran out."""
    fabric = new_fabric(job.run.precision, processes)
    # The caller's function can't go to another process; it hears of all epochs at the end.
    said = advance if processes == 1 else _silent
    try:
        failed = fabric.launch(partial(train, job=job, accumulation=parts, advance=said))
    except (RuntimeError, MemoryError, ProcessRaisedException) as error:
        if not is_out_of_memory(error):
            raise
        return False
    if failed is not None:
        raise failed
    if processes > 1:
        advance(job.recipe.epochs, "")
    return True


def _silent(_epochs: int, _words: str) -> None:
    pass


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the CPU had too little memory; of another process there is only text."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return "OutOfMemoryError" in text or "can't allocate memory" in text


def check_batch(job: Job, classifier: Classifier, processes: int) -> None:
    """Refuse a batch that the processes or the network can't make.

    Raises
    ------
    ProbelineError
        When it is no multiple of the number of processes, odd where images are mixed in pairs, or
        of a single image for a BatchNorm.
    """
    size, recipe = job.recipe.batch_size, job.recipe
    place = f"{job.place}.batch_size"
    if size % processes:
        raise ProbelineError(
            place,
            "the processes can't share a batch evenly",
            expected=f"a multiple of {processes}",
            found=str(size),
            remedy="change `batch_size`, or choose one device with PROBELINE_DEVICE",
        )
    share = size // processes
    if (recipe.mixup or recipe.cutmix) and share % 2:
        raise ProbelineError(
            place,
            "mixup and CutMix take the images of a batch in pairs",
            expected="an even number for each process",
            found=str(share),
            remedy="change `batch_size`, or set `mixup: 0.0` and `cutmix: 0.0`",
        )
    if share == 1 and has_batch_norm(classifier.train()):
        raise ProbelineError(
            place,
            "a BatchNorm has no statistics of one image",
            expected="at least 2",
            found=str(size),
            remedy="raise `batch_size`",
        )
