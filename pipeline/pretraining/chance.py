"""Has a training learnt anything? Its loss against those of knowing nothing; needs no torch.

Two references, neither of which looks at a score: the loss of outputs that say nothing about the
image, which a formula gives for every method but those that reconstruct pixels, and the loss of the
network as it was drawn, on the very batches of the last epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.study.pretraining import PROJECTED, Pretrain

SMALLEST_FALL = 0.01
"""Share of the untrained network's loss by which a training must have lowered it."""


def chance_loss(entry: Pretrain, counts: Sequence[int]) -> float | None:
    """The mean loss of outputs that are the same for all images.

    - ``supervised``: entropy of the labels' frequencies, ln C for C equally frequent classes;
      ``rotnet``: ln 4; ``jigsaw``: ln 24.
    - ``simclr``: ln(2N - 1) in batches of N; ``moco``: ln(queue + 1).
    - ``dino``, ``swav``: ln K of K prototypes, which a teacher or an assignment uses alike.
    - ``byol``, ``simsiam``: 0, the cosine of unrelated directions. (Equal directions for all images
      have -1: that is what the rank of the features is for.)
    - ``barlow_twins``: one for each of the projection's columns, none of which agrees with itself.
    - ``vicreg``: 25 (1 - √0.0001), columns without variance.

    Parameters
    ----------
    entry : Pretrain
    counts : sequence of int
        Images of each class.

    Returns
    -------
    float or None
        None of the control, and of ``mae`` and ``simmim``, whose reference are the pixels: see
        `pipeline.pretraining.masked_methods.Masked.chance`.
    """
    total = sum(counts)
    known = {
        "supervised": -sum(n / total * math.log(n / total) for n in counts if n),
        "rotnet": math.log(4),
        "jigsaw": math.log(24),
        "simclr": math.log(max(1, 2 * entry.batch_size - 1)),
        "moco": math.log(entry.queue + 1),
        "dino": math.log(entry.prototypes),
        "swav": math.log(entry.prototypes),
        "byol": 0.0,
        "simsiam": 0.0,
        "barlow_twins": float(PROJECTED),
        "vicreg": 25 * (1 - 1e-4**0.5),
    }
    return known.get(entry.method)


def remarks_on(record: Mapping[str, Any]) -> list[str]:
    """What a reader should know of a training, in sentences; nothing of one that went well.

    Parameters
    ----------
    record : mapping
        See `pipeline.pretraining.run`; one of an earlier version may lack the losses.
    """
    if not record.get("epochs"):
        return []  # the control
    said = []
    loss = float(record["epochs"][-1]["loss"])
    chance, untrained = record.get("chance_loss"), record.get("untrained_loss")
    if chance is not None and loss >= chance:
        said.append(
            f"has hardly been trained: its last loss, {loss:.3f}, is not below {chance:.3f}, that "
            "of outputs that say nothing about the image"
        )
    elif untrained is not None and loss >= untrained - SMALLEST_FALL * abs(untrained):
        said.append(
            f"has hardly been trained: its last loss, {loss:.3f}, is not below {untrained:.3f}, "
            "that of the network before training"
        )
    if record.get("collapsed"):
        said.append(
            f"has collapsed, as far as the rank of its features tells: its {record['width']} "
            f"features have an effective rank of {record['rankme']:.1f}"
        )
    return said
