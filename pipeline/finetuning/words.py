"""What fine-tuning does, in plain words, by the settings in force."""

from __future__ import annotations

from pipeline.finetuning.recipes import REFERENCE_BATCH, recipe_of
from pipeline.study.finetune import Run
from pipeline.study.schema import Study

TRAINED = {
    "all": "all weights",
    "second_half": "the second half of the network",
    "lora": "low-rank adapters",
    "head": "the head alone",
}


def sentence(study: Study) -> str:
    """Its runs, of which the first is the headline."""
    runs = study.finetune.runs
    if not runs:
        return ""
    return (
        "The network itself is trained, from each model’s weights, with a new head. "
        + " ".join(f"{name}: {run_words(run)}." for name, run in runs.items())
        + f" Headline: {next(iter(runs))}. Learning rates are for {REFERENCE_BATCH} images a step "
        "and scaled to the batch. The test split is used once, to score."
    )


def run_words(run: Run) -> str:
    """A run in one line: what it learns from, what is trained, and how."""
    recipe = recipe_of(run, share=1, transformer=False)
    given = "all of train"
    if run.few:
        budget = f"{100 * run.fraction:g}%" if run.fraction else f"{run.shots} images"
        given = f"{budget} of each class"
        if run.fraction and run.as_published:
            given = f"{budget} of train, equally many images of each class"
        given += f" (draw {run.draw} of the few-shot draws)"
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}[recipe.optimizer]
    kept = "the best epoch by a hold-out" if run.keeps == "holdout" else "the last epoch"
    return (
        f"{given}, {TRAINED[run.train]}, {optimizer} for {recipe.epochs} epochs in batches of "
        f"{recipe.batch_size} (recipe {run.recipe}), {kept}"
    )
