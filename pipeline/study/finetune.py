"""End-to-end training from each model's weights: heavy, mostly off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.project import names
from pipeline.project.section import Distinct, Section, Seed
from pipeline.study.protocol import Later, Protocol
from pipeline.study.variant import Variant

if TYPE_CHECKING:
    from pipeline.study.schema import Study

NAME = "finetune"

RecipeName = Literal[
    "study", "study_byol2", "study_swav", "study_byol1", "study_barlowtwins", "modern"
]
Trained = Literal["all", "second_half", "lora", "head"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
RunName = Annotated[str, Field(pattern=f"^{names.NAME}$")]


class Run(Section):
    """A recipe, the images that it is given, and what it changes; null: as the recipe has it."""

    recipe: RecipeName
    fraction: float | None = Field(default=None, gt=0, lt=1)
    shots: int | None = Field(default=None, ge=1)
    draw: int = Field(default=0, ge=0)
    train: Trained = "all"
    lora_rank: int = Field(default=8, ge=1)
    flip: bool = True
    view_area: float = Field(default=0.08, gt=0, le=1)
    selection: Literal["holdout", "last"] = "holdout"
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
