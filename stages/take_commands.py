"""`probeline take` and `probeline predict`: a classifier of the study, and what it says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from pipeline.report.formats import percent
from pipeline.study.knn import KNN
from pipeline.study.linear import LINEAR
from pipeline.study.params import load_study
from stages._run import explain_errors


@click.command(short_help="Write a model's classifier into a folder that runs without the project.")
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dataset", help="Whose classes; without it, the first out-of-domain one.")
@click.option(
    "--head",
    default=LINEAR.name,
    show_default=True,
    help="linear or knn (the headline of each), or a variant, as logistic_none.",
)
@click.option("--without-weights", is_flag=True, help="Leave the backbone's weights out.")
@click.pass_obj
@explain_errors
def take(
    started_in: Path, model: str, out: Path, dataset: str | None, head: str, without_weights: bool
) -> None:
    """Write the classifier of MODEL into the new folder OUT.

    It holds the head, the backbone's weights, predict.py (which needs torch, timm, Pillow, numpy
    and safetensors, not this project) and a README. Before it is kept, the head is compared with
    what the report holds of every test image, and some of these are predicted from their files.
    """
    from pipeline.taken.beside import require_free
    from pipeline.taken.choosing import choose

    study = load_study()
    require_free(started_in / out)
    chosen = choose(study, model, dataset, head)
    from pipeline.taken.taking import take as take_home  # imports torch

    taken = take_home(study, chosen, started_in / out, with_weights=not without_weights)
    facts = taken.facts
    top1 = next((row for row in facts["scores"] if row["metric"] == "top1"), None)
    right = ""
    if top1 is not None:
        ends = f" ({percent(top1['ci_low'])} to {percent(top1['ci_high'])})"
        right = f", {percent(top1['value'])} of {top1['n_test']:,} test images right"
        right += ends if top1["ci_low"] is not None else ""
    click.echo(f"{out}: {facts['model']} for {facts['dataset']}, {facts['label']}{right}")
    click.echo(
        f"{len(facts['classes']):,} classes, {taken.bytes / 1e6:,.1f} MB; licence of the weights: "
        f"{facts['weights']['licence'] or 'not recorded'} ({facts['weights']['source']})"
    )
    click.echo(f"the head says what the report holds of all {taken.same:,} test images")
    if taken.unchecked:
        click.echo(f"note: no image was predicted from its file: {taken.unchecked}")
    else:
        click.echo(
            f"from their files, {taken.agreeing} of {taken.checked} test images get the same class"
        )
    if not facts["abstention"]:
        other = next((v.name for v in LINEAR.variants(study) if v.head == "logistic"), KNN.name)
        click.echo(f"note: its scores are no probabilities; --head {other} gives some")
    click.echo(f"python {out}/predict.py IMAGES...   or   probeline predict {out} IMAGES...")


@click.command(short_help="Predict the classes of images by a folder that `take` wrote.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True)
@click.option("--risk", type=float, help="Share of answers that may be wrong, e.g. 0.05.")
@click.option("--weights", type=click.Path(path_type=Path), help="Of a folder without them.")
@click.option("--device", default="cpu", show_default=True, help="As torch names it.")
@click.pass_obj
@explain_errors
def predict(
    started_in: Path,
    folder: Path,
    images: tuple[str, ...],
    risk: float | None,
    weights: Path | None,
    device: str,
) -> None:
    """Predict the class of IMAGES (files, or folders of them), as CSV: a row for each image.

    No code of FOLDER is executed, whoever made it. Images that can't be read are named, in the
    table too, and the exit status is then 1.
    """
    from pipeline.taken.answering import write_answers
    from pipeline.taken.classifier import load

    os.chdir(started_in)  # paths are read, and shown, as they were typed
    classifier = load(folder, weights=weights, device=device)
    if write_answers(classifier, images, risk, sys.stdout, sys.stderr):
        sys.exit(1)
