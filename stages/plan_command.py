"""`probeline plan`: what `dvc repro` is going to cost."""

from __future__ import annotations

import datetime as dt
import math

import click

from pipeline.params import load_study
from stages._run import explain_errors
from stages.table import print_table

_HEADER = ["data set", "train", "val", "models to run", "forward passes", "disk", "time"]


@click.command()
@explain_errors
def plan() -> None:
    """Say what `dvc repro` still has to extract, how much disk it takes, and how long.

    Times are of forward passes, at the rates measured in this project.
    """
    from pipeline.plan import plan as make_plan

    study = load_study()
    plans = make_plan(study)
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
    if study.pretrain:
        epochs = sum(entry.epochs for entry in study.pretrain.values())
        click.echo(f"{len(study.pretrain)} models to pre-train, {epochs:,} epochs in all")
    if math.isnan(passes + size + seconds):
        click.echo("? is not known yet: images not indexed, or a model that never ran here")


def _count(number: float) -> str:
    return "?" if math.isnan(number) else f"{number:,.0f}"


def _disk(size: float) -> str:
    return "?" if math.isnan(size) else f"{size / 1e9:,.3f} GB"


def _time(seconds: float) -> str:
    return "?" if math.isnan(seconds) else str(dt.timedelta(seconds=round(seconds)))
