"""The recipes as numbers: the paper's, ours of the same values, a modern one. Needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from pipeline.study.finetune import PublishedName, RecipeName, Run

VERSION = 1
"""Part of every result's key: raised when code changes numbers and no setting tells."""

REFERENCE_BATCH = 256
"""Images a step for which learning rates are given; others scale them in proportion."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    optimizer : {"sgd", "adamw"}
        Of momentum 0.9; of betas 0.9 and 0.999.
    epochs, warmup_epochs : int
        See `pipeline.finetuning.schedule`.
    batch_size : int
        Images a step, over all processes and accumulated parts.
    learning_rate, head_learning_rate : float
        Of the backbone's last layer and of the head, for `REFERENCE_BATCH` images a step.
    weight_decay : float
        Of matrices and kernels; biases, norms and tokens have none.
    clip : float
        Norm to which a step's gradient is cut.
    layer_decay : float
        Factor of the learning rate from each layer to the one below.
    drop_path : float
        Probability with which the last block is passed by; smaller towards the first.
    label_smoothing : float
    mixup, cutmix : float
        α of their Beta distributions; 0: not done. With both, each batch takes one of them.
    ema : float
        Decay of the mean over steps of the weights, which is then judged; 0: none.
    partial_batches : bool
        Whether an epoch ends with the images that fill no batch, as one step more.
    """

    optimizer: Literal["sgd", "adamw"]
    epochs: int
    warmup_epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    clip: float
    layer_decay: float = 1.0
    drop_path: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    partial_batches: bool = False

    def scaled(self, rate: float) -> float:
        """A learning rate for this recipe's batch; a smaller batch of an epoch has it, too."""
        return rate * self.batch_size / REFERENCE_BATCH

    def batches(self, images: int, *, join_single: bool = False) -> list[int]:
        """Images of each step of an epoch.

        What fills no batch is one step more, or is left out of this epoch; where that would be all
        of the images, it is the epoch's only step. Mixed images are an even number.

        Parameters
        ----------
        images : int
            To learn from.
        join_single : bool
            Whether a single last image joins the batch before it, as in the SGD probe: for networks
            with a BatchNorm that finds no spread in one image.
        """
        full, rest = divmod(images, self.batch_size)
        sizes = [self.batch_size] * full
        if self.mixup or self.cutmix:
            rest -= rest % 2
        if rest == 1 and full and self.partial_batches and join_single:
            sizes[-1] += 1
        elif rest and (self.partial_batches or not full):
            sizes.append(rest)
        return sizes

    def values(self) -> dict[str, Any]:
        """As in keys, from which keys of results before `partial_batches` differ in nothing."""
        values = asdict(self)
        if not self.partial_batches:
            del values["partial_batches"]
        return values


_SGD = Recipe("sgd", 100, 5, 256, 0.1, 0.1, weight_decay=0.0, clip=0.5)
_FEW = replace(_SGD, epochs=30, warmup_epochs=0)

_OURS: dict[RecipeName, Recipe] = {
    "sgd": _SGD,
    "sgd_byol2": _FEW,
    "sgd_swav": replace(_FEW, epochs=20, learning_rate=0.01, head_learning_rate=0.2),
    "sgd_byol1": replace(_FEW, learning_rate=0.01, head_learning_rate=0.01),
    "sgd_barlowtwins": replace(_FEW, epochs=20, learning_rate=0.005, head_learning_rate=0.5),
}
_PAPERS: dict[RecipeName, Recipe] = {
    name: replace(ours, partial_batches=True)
    for name, ours in zip(get_args(PublishedName), _OURS.values(), strict=True)
}

PRESETS: dict[RecipeName, Recipe] = {
    **_PAPERS,
    **_OURS,
    "modern": Recipe(
        "adamw",
        50,
        5,
        256,
        1e-3,
        1e-3,
        weight_decay=0.05,
        clip=1.0,
        layer_decay=0.75,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        ema=0.9998,
    ),
}
"""For networks that are no vision transformers.

Sources: Marks et al. 2025, arXiv 2407.12210, and its code (``paper…``; the few-shot ones have no
warm-up there), what is not repeated of which docs/finetuning.md lists. ``sgd…``: the same values,
full batches only, and a hold-out that chooses the epoch (`pipeline.study.finetune.Run.keeps`).
``modern``: after He et al. 2021, arXiv 2111.06377, table 9, from which it departs as
docs/finetuning.md says.
"""

_PAPERS_TRANSFORMER = {"layer_decay": 0.65, "label_smoothing": 0.1, "drop_path": 0.2}
_OF_TRANSFORMERS: dict[RecipeName, dict[str, float]] = {
    **dict.fromkeys((*_PAPERS, *_OURS), _PAPERS_TRANSFORMER),
    "modern": {"drop_path": 0.1},
}
"""What vision transformers have besides."""

_SWAV_SCARCE = {"learning_rate": 0.02, "head_learning_rate": 5.0}
_SCARCE: dict[RecipeName, dict[str, float]] = {
    "paper_swav": _SWAV_SCARCE,
    "sgd_swav": _SWAV_SCARCE,
}
SCARCE_BELOW = 0.001**0.5
"""SwAV has values for 1% and for 10% of the labels: the nearer one, by ratio, is taken."""


def recipe_of(run: Run, *, share: float, transformer: bool) -> Recipe:
    """A run's recipe with what the run changes.

    Parameters
    ----------
    run : Run
    share : float
        Of the data set's train images that the run is given, in (0, 1].
    transformer : bool
        Whether the backbone is a vision transformer.
    """
    changes: dict[str, Any] = {}
    if transformer:
        changes |= _OF_TRANSFORMERS[run.recipe]
    if run.as_published and run.fraction is not None:
        share = run.fraction  # what is given may be more: at least an image of every class
    if share < SCARCE_BELOW:
        changes |= _SCARCE.get(run.recipe, {})
    asked = {field.name: getattr(run, field.name, None) for field in fields(Recipe)}
    changes |= {name: value for name, value in asked.items() if value is not None}
    return replace(PRESETS[run.recipe], **changes)


def run_key(run: Run) -> dict[str, Any]:
    """Everything of a run that can change its numbers, as plain values.

    What depends on the network or on the number of images is there in every form, so that no
    network need be built; both are in a result's key besides.
    """
    forms = {
        "network": recipe_of(run, share=1, transformer=False),
        "transformer": recipe_of(run, share=1, transformer=True),
        "scarce": recipe_of(run, share=0, transformer=False),
    }
    given = run.to_key(include={"fraction", "shots", "draw", "train", "flip"})
    given |= run.to_key(include={"precision", "batch_norm", "view_area"})
    given["selection"] = run.keeps
    if run.as_published and run.fraction is not None:
        given["balanced"] = True  # see `Run.budget`
    if run.train == "lora":
        given["lora_rank"] = run.lora_rank
    return {"version": VERSION, **given, "recipe": {n: r.values() for n, r in forms.items()}}
