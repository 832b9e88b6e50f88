"""End-to-end training from each model's weights: heavy, mostly off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from pipeline.project import names
from pipeline.project.later import Later
from pipeline.project.section import Distinct, Section, Seed
from pipeline.study.budget import Budget
from pipeline.study.protocol import Protocol
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study

NAME = "finetune"

PublishedName = Literal["paper", "paper_byol2", "paper_swav", "paper_byol1", "paper_barlowtwins"]
RecipeName = Literal[
    PublishedName, "sgd", "sgd_byol2", "sgd_swav", "sgd_byol1", "sgd_barlowtwins", "modern"
]
Trained = Literal["all", "second_half", "lora", "head"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
RunName = Annotated[str, Field(pattern=f"^{names.NAME}$")]


def _not_a_former_name(name: object) -> object:
    """Until the paper's recipes did what the paper does, others stood under names of its own."""
    if isinstance(name, str) and name.partition("_")[0] == "study":
        ours, published = (name.replace("study", word, 1) for word in ("sgd", "paper"))
        if ours in get_args(RecipeName):
            raise ValueError(
                f"`{ours}`, which is the same training under its new name, or `{published}`, "
                "as published: all images, the last epoch"
            )
    return name


class Run(Section):
    """A recipe, the images that it is given, and what it changes; null: as the recipe has it."""

    recipe: Annotated[RecipeName, BeforeValidator(_not_a_former_name)]
    fraction: float | None = Field(default=None, gt=0, lt=1)
    shots: int | None = Field(default=None, ge=1)
    draw: int = Field(default=0, ge=0)
    train: Trained = "all"
    lora_rank: int = Field(default=8, ge=1)
    flip: bool = True
    view_area: float = Field(default=0.08, gt=0, le=1)
    selection: Literal["holdout", "last"] | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    batch_norm: bool = False

    epochs: int | None = Field(default=None, ge=1)
    warmup_epochs: int | None = Field(default=None, ge=0)
    batch_size: int | None = Field(default=None, ge=1)
    learning_rate: Positive | None = None
    head_learning_rate: Positive | None = None
    weight_decay: float | None = Field(default=None, ge=0)
    clip: Positive | None = None
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    drop_path: Share | None = None
    label_smoothing: Share | None = None
    mixup: float | None = Field(default=None, ge=0)
    cutmix: float | None = Field(default=None, ge=0)
    ema: Share | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.shots is not None and self.fraction is not None:
            raise ValueError("at most one of `shots` and `fraction`")
        if self.draw and not self.few:
            raise ValueError("`shots` or `fraction` beside `draw`: all of train is one draw")
        return self

    @property
    def few(self) -> bool:
        """Whether only a draw of train is learned from."""
        return self.shots is not None or self.fraction is not None

    def budget(self, images: float, classes: int) -> Budget:
        """How many images of each class a few-shot run learns from.

        A fraction is that share of each class; in the paper's recipes equally many images of each,
        the whole number below fraction x images / classes (none, in its code, where that is below
        one; here one).

        Parameters
        ----------
        images, classes : int
            Of the train split.
        """
        if self.fraction is not None and self.as_published:
            return Budget(shots=max(1, int(self.fraction * images / classes)))
        return Budget(shots=self.shots, share=self.fraction)

    @property
    def as_published(self) -> bool:
        """Whether the recipe is one of arXiv 2407.12210, and not our variant of it."""
        return self.recipe in get_args(PublishedName)

    @property
    def keeps(self) -> Literal["holdout", "last"]:
        """Which epoch is kept: as the run asks, or as its recipe has it."""
        return self.selection or ("last" if self.as_published else "holdout")


class Finetune(Section):
    """End-to-end training; off unless `enabled`."""

    enabled: bool = False
    models: Annotated[list[str], Distinct] = []
    datasets: Annotated[list[str], Distinct] = []
    runs: dict[RunName, Run] = {}
    seed: Seed = 0


_is_finetuned = Later("pipeline.finetuning.cells", "is_finetuned")


def _is_wanted(study: Study) -> bool:
    return any(
        _is_finetuned(study, dataset, model) for dataset in study.datasets for model in study.models
    )


FINETUNE = Protocol(
    name=NAME,
    label="fine-tuning",
    sections=(NAME, "fewshot"),
    sentence=Later("pipeline.finetuning.words", "sentence"),
    variants=lambda study: [Variant(protocol=NAME, called=run) for run in study.finetune.runs],
    run=Later("pipeline.finetuning.running", "train_all"),
    finish=Later("pipeline.finetuning.curves", "write_plot"),
    is_wanted=_is_wanted,
    is_asked=_is_finetuned,
    not_run=Later("pipeline.finetuning.cells", "not_run"),
    key=Later("pipeline.finetuning.cells", "record_key"),
    reaches_all=False,
)
