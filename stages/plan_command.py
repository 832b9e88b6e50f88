"""`probeline plan`: what `dvc repro` is going to cost."""

from __future__ import annotations

import datetime as dt
import math

import click

from pipeline.planning.planned_downloads import PlannedDownloads
from pipeline.study.params import load_study
from pipeline.study.schema import Study
from stages._run import explain_errors
from stages.table import print_table

_HEADER = ["data set", "train", "val", "models to run", "forward passes", "disk", "time"]


@click.command(short_help="Say what `dvc repro` will fetch, extract and take.")
@click.option(
    "--measure", is_flag=True, help="Time a batch of each network that has not run here yet."
)
@explain_errors
def plan(measure: bool) -> None:
    """Say what `dvc repro` still has to fetch and extract, how much disk that takes, and how long.

    Times are of forward passes, at the rates measured in this project. Needs no data and no
    weights; --measure builds networks with random weights, which takes some seconds for each.
    """
    from pipeline.planning.overview import data_lines
    from pipeline.planning.plan import finetune_plan
    from pipeline.planning.plan import plan as make_plan
    from pipeline.planning.planned_downloads import planned_downloads

    study = load_study()
    plans = make_plan(study, _probed(study) if measure else None)
    rows = [
        [
            p.name,
            *map(_count, (p.train, p.val, p.missing, p.passes)),
            _disk(p.size),
            _time(p.seconds),
        ]
        for p in plans
    ]
    missing, passes, size, seconds = (
        sum(getattr(p, name) for p in plans) for name in ("missing", "passes", "size", "seconds")
    )
    rows.append(["all", "", "", _count(missing), _count(passes), _disk(size), _time(seconds)])
    print_table(_HEADER, rows)
    for line in data_lines(study):
        click.echo(line)
    _say_downloads(planned_downloads(study))
    if study.pretrain:
        epochs = sum(entry.epochs for entry in study.pretrain.values())
        click.echo(f"{len(study.pretrain)} models to pre-train, {epochs:,} epochs in all")
    unknown = passes + size + seconds
    if study.finetune.enabled:
        trained = finetune_plan(study)
        unknown += trained.images + trained.seconds
        click.echo(
            f"{trained.runs} runs of fine-tuning, {trained.epochs:,} epochs of "
            f"{_count(trained.images)} images in all, about {_time(trained.seconds)} of one device"
        )
    if math.isnan(unknown):
        click.echo("? is not known yet: images not indexed, or a model that never ran here")


def _probed(study: Study) -> dict[str, tuple[float, int]]:
    from pipeline.embeddings.probing import probe
    from pipeline.planning.plan import without_rate

    rates, memory = probe(
        study, without_rate(study), lambda name: click.echo(f"timing {name} …", err=True)
    )
    if rates:
        click.echo(f"memory with one network and one batch: {memory / 1e9:,.1f} GB")
    return {name: (rate.seconds, rate.columns) for name, rate in rates.items()}


def _say_downloads(planned: PlannedDownloads) -> None:
    if planned.checkpoints:
        size = "of unknown size"
        if not math.isnan(planned.checkpoint_bytes):
            size = f"at least {_disk(planned.checkpoint_bytes)}, by their backbones' parameters"
        click.echo(f"{planned.checkpoints} checkpoints to fetch, {size}")
    if planned.of_hubs:
        click.echo(
            f"{planned.of_hubs} models with timm's or a hub's own weights, which these fetch"
        )
    if planned.datasets:
        click.echo(
            f"{len(planned.datasets)} known data sets are not there, archives of about "
            f"{_disk(planned.dataset_bytes)}: see `probeline datasets prepare NAME`"
        )


def _count(number: float) -> str:
    return "?" if math.isnan(number) else f"{number:,.0f}"


def _disk(size: float) -> str:
    return "?" if math.isnan(size) else f"{size / 1e9:,.3f} GB"


def _time(seconds: float) -> str:
    return "?" if math.isnan(seconds) else str(dt.timedelta(seconds=round(seconds)))
