"""`probeline plan`: what `dvc repro` is going to cost, and what would stop it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cache.errors import ProbelineError
from pipeline.statistics.written import counted
from pipeline.study.params import load_study
from pipeline.study.schema import Study
from stages._run import explain_errors
from stages.table import print_table

if TYPE_CHECKING:
    from pipeline.finetuning.planning import FinetunePlan
    from pipeline.planning.plan import DatasetPlan
    from pipeline.planning.planned_downloads import PlannedDownloads
    from pipeline.planning.survey import Survey

_HEADER = [
    *("data set", "images", "train", "val", "models to run", "forward passes", "disk", "time")
]

MOST_NAMED = 8
"""Models that one line names."""


@click.command(short_help="Say what `dvc repro` will fetch, extract and take.")
@click.option(
    "--measure", is_flag=True, help="Time a batch of each network that has not run here yet."
)
@explain_errors
def plan(measure: bool) -> None:
    """Say what `dvc repro` still has to fetch and extract, how much disk that takes, and how long.

    Lists the images' folders, and checks that paths and weights are there. Times are of forward
    passes: at the rates measured in this project, else reckoned from the networks' multiply-adds
    and two seconds of trial on this machine; --measure times each network. Needs no weights. Ends
    with status 1 if something would stop `dvc repro`.
    """
    from pipeline.planning.overview import data_lines
    from pipeline.planning.question import open_question
    from pipeline.planning.survey import survey
    from stages.models_commands import warn_of_defaults

    study = load_study()
    found = survey(study, _probed(study) if measure else None)
    _print_datasets(found)
    for line in data_lines(study):
        click.echo(line)
    for name, images in found.counted.items():
        for line in images.said:
            click.echo(f"{name}: {line}")
    _say_times(study, found)
    _say_downloads(found.downloads)
    _say_training(study, found.training)
    _say_memory(found)
    if found.transforms:
        click.echo("\nimages, as the networks see them:")
        for line, names in found.transforms.items():
            click.echo(f"  {_some(names)}: {line}")
    for name, entry in study.models.items():
        warn_of_defaults(name, entry)
    if lacking := open_question(study):
        click.echo("\n" + "\n".join(lacking))
    if found.problems:
        click.echo("")
        raise _all_problems(found.problems)


def _print_datasets(found: Survey) -> None:
    rows = [
        [
            p.name,
            found.counted[p.name].how or "?",
            *map(_count, (p.train, p.val, p.missing, p.passes)),
            _disk(p.size),
            _time(p.seconds, about=bool(found.reckoned)),
        ]
        for p in found.plans
    ]
    missing, passes, size, seconds = _totals(found.plans)
    rows.append(
        ["all", "", "", "", _count(missing), _count(passes), _disk(size),
         _time(seconds, about=bool(found.reckoned))]
    )  # fmt: skip
    print_table(_HEADER, rows)
    if math.isnan(passes + size + seconds):
        click.echo("? is not known yet: no images to list, or a hub's network")


def _totals(plans: Sequence[DatasetPlan]) -> list[float]:
    names = ("missing", "passes", "size", "seconds")
    return [sum(getattr(p, name) for p in plans) for name in names]


def _say_times(study: Study, found: Survey) -> None:
    """How times were found; and remember them for the stages' own announcements."""
    from pipeline.planning.stage_order import stage_order
    from pipeline.planning.stage_times import in_words, record_plan, stage_times

    if found.speed is not None:
        click.echo(
            f"{_some(found.reckoned)}: time reckoned at {found.speed.convolutions:,.0f} GMAC a "
            f"second for convolutions and {found.speed.products:,.0f} for transformers, within a "
            "factor of about two; reading and decoding images comes on top"
        )
    record_plan({f"extract@{p.name}": p.seconds for p in found.plans if p.seconds == p.seconds})
    times = stage_times()
    stages = [s for s in stage_order(study.datasets) if not s.startswith("extract@")]
    known = [times[stage] for stage in stages if stage in times]
    if known:
        click.echo(
            f"{len(known)} of the {len(stages)} stages other than extract took "
            f"{in_words(sum(known))} when they last ran here"
        )
    else:
        click.echo(f"how long the {len(stages)} other stages take is known once they have run here")


def _say_memory(found: Survey) -> None:
    from pipeline.machine.memory import memory_budget

    free = memory_budget()
    for stage in found.memory:
        click.echo(
            f"memory of {stage.stage}: about {_disk(stage.size)} ({stage.why})"
            + (f"; MORE than the {_disk(free)} that it may take" if stage.size > free else "")
        )
    for probe in found.probes:
        line = f"{probe.protocol}: {counted(probe.cells, 'cell')} to score, about "
        line += f"{_time(probe.seconds)} on all processors, within a factor of about three; "
        line += f"memory of the largest about {_disk(probe.size)}"
        if probe.streamed:
            line += f"; the features of {probe.streamed:,} do not fit and are read in parts"
        click.echo(line)
        if probe.refused:
            click.echo(
                f"  MORE than the {_disk(free)} that it may take: {_some(probe.refused)} will be "
                "left out, with an error"
            )


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
        size = _at_least(planned.checkpoint_bytes)
        click.echo(f"{counted(planned.checkpoints, 'checkpoint')} to fetch, {size}")
    if planned.of_hubs:
        weights = counted(planned.of_hubs, "file of weights", "files of weights")
        click.echo(f"{weights} to fetch of timm or a hub, {_at_least(planned.hub_bytes)}")
    if planned.datasets:
        click.echo(
            f"{counted(len(planned.datasets), 'known data set')} to prepare, archives of about "
            f"{_disk(planned.dataset_bytes)}: see `probeline datasets prepare NAME`"
        )


def _say_training(study: Study, trained: FinetunePlan | None) -> None:
    if study.pretrain:
        epochs = sum(entry.epochs for entry in study.pretrain.values())
        click.echo(f"{len(study.pretrain)} models to pre-train, {epochs:,} epochs in all")
    if trained is not None:
        click.echo(
            f"{trained.runs} runs of fine-tuning, {trained.epochs:,} epochs of "
            f"{_count(trained.images)} images in all, about {_time(trained.seconds)} of one device"
        )


def _all_problems(problems: Sequence[ProbelineError]) -> ProbelineError:
    """What would stop the run, together; a single one as it is."""
    if len(problems) == 1:
        return problems[0]
    return ProbelineError(
        "params.yaml",
        f"{len(problems)} things would stop `dvc repro`",
        found="\n            ".join(
            f"{e.place}: {e.problem}" + (f" ({e.found})" if e.found else "") for e in problems
        ),
        remedy="\n            ".join(dict.fromkeys(e.remedy for e in problems if e.remedy)),
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _at_least(size: float) -> str:
    if math.isnan(size):
        return "of unknown size"
    return f"at least {_disk(size)}, by their networks' parameters"


def _count(number: float) -> str:
    return "?" if math.isnan(number) else f"{number:,.0f}"


def _disk(size: float) -> str:
    if math.isnan(size):
        return "?"
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _time(seconds: float, *, about: bool = False) -> str:
    from pipeline.planning.stage_times import in_words

    if math.isnan(seconds) or not seconds:
        return "?" if seconds else "0 s"
    return f"{'about ' if about else ''}{in_words(seconds)}"
