"""README.md of a taken folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.taken.risk import images_needed

_SHOWN = 6
"""Scores that the page lists."""


def readme(facts: Mapping[str, Any], *, with_weights: bool) -> str:
    """The page, as Markdown; class names, which may be anything, stand in head.json alone."""
    weights, transform = facts["weights"], facts["transform"]
    scores = "\n".join(
        f"| {row['metric']} | {row['value']:.4f} | {_interval(row)} | {row['n_test']:,} |"
        for row in facts["scores"][:_SHOWN]
    )
    options = ["--dataset " + facts["dataset"], "--head " + facts["variant"]]
    options += [] if with_weights else ["--without-weights"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return f"""# {facts["model"]} for {facts["dataset"]}

{facts["label"]}, on the feature `{facts["feature"]}` of `{facts["architecture"]}`;
{len(facts["classes"]):,} classes, learned from {facts["n_train"]:,} images.

    python predict.py IMAGES...                  # or folders of them: a CSV, a row for each image
    python predict.py --risk 0.05 IMAGES...      # no class where it is not sure enough

`predict.py` needs torch, timm, Pillow, numpy and safetensors (pillow-heif for HEIC). In a clone of
Probeline, `probeline predict FOLDER IMAGES...` gives the same without running code of this folder.
In Python, with this folder on the path:

    from predict import load
    for answer in load("FOLDER").predict(["photo.jpg"]):
        print(answer.image, answer.label, answer.probability)

## How good it is

On {facts["n_test"]:,} test images of the study, none of which the head has seen:

| metric | value | 95% interval | test images |
|---|---|---|---|
{scores}

The model was perhaps chosen among others by these very images: then its score is a little too good.
It holds for images like them, of these classes. {_abstaining(facts)}

The same image in another batch, or on another processor, gives the same features but for rounding:
probabilities may differ in the fifth digit, and a class only where two are as good as equal.

## What is in the folder

| file | what |
|---|---|
| `head.json` | classes, transform, scores, where all of it comes from |
| `head.safetensors` | the head's numbers |
{_weights_row(facts, with_weights=with_weights)}
| `predict.py` | the program |
| `manifest.json` | SHA-256 of each of these; they are compared before anything is used |

Images are decoded upright, {transform["size"]} px after a {transform["mode"]} crop
of {transform["crop"]:g}, {transform["interpolation"]}; features are computed in
{facts["precision"]}.

## Licence

Weights of the backbone: {weights["source"] or "source not recorded"}.
Their licence: {weights["licence"] or "nobody recorded one; ask who published them"}.
{_copy_words(with_weights=with_weights)}
The head was learned from your images. `predict.py` is put together from Probeline (Apache-2.0).

## Made by

    probeline take {facts["model"]} {" ".join(options)} FOLDER

record `{facts["record"]}`, train embeddings `{facts["embeddings"]}`,
weights `{weights["digest"]}`; {versions}.
"""


def _interval(row: Mapping[str, Any]) -> str:
    if row["ci_low"] is None or row["ci_high"] is None:
        return "–"
    return f"{row['ci_low']:.4f} to {row['ci_high']:.4f}"


def _abstaining(facts: Mapping[str, Any]) -> str:
    if not facts["abstention"]:
        return "Its scores are no probabilities, so `--risk` is refused."
    return (
        "`--risk R` takes the lowest threshold at which these test images show, with 95% "
        f"confidence, that at most a share R of the answers is wrong; for 0.05 that takes "
        f"{images_needed(0.05)} test images without an error, or more with some."
    )


def _weights_row(facts: Mapping[str, Any], *, with_weights: bool) -> str:
    if with_weights:
        return "| `weights.safetensors` | a copy of the backbone's weights |"
    return "| (no `weights.safetensors`) | put it here, or name it by `--weights`; see Licence |"


def _copy_words(*, with_weights: bool) -> str:
    if with_weights:
        return (
            "`weights.safetensors` is a copy of them: pass the folder on only if that licence lets "
            "you, or take it again with `--without-weights`."
        )
    return (
        "They are not in this folder. `predict.py --weights FILE` wants them as safetensors under "
        "timm's own names\n(`safetensors.torch.save_file(model.state_dict(), FILE)` of the model "
        "with `num_classes=0`), and compares their digest."
    )
