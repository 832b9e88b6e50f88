"""`probeline power`: how many models, data sets and test images would settle it."""

from __future__ import annotations

import click

from cache.errors import ProbelineError
from pipeline.project.paths import PARAMS
from pipeline.study.params import load_study
from stages._run import explain_errors
from stages.table import print_table


@click.command(short_help="Say how many models, data sets and test images would settle it.")
@click.option(
    "--difference",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 2, min_open=True),
    help="Of mean ρ between the two best evaluations, to be found.",
)
@click.option(
    "--power",
    "wanted",
    default=0.8,
    show_default=True,
    type=click.FloatRange(0.05, 1, min_open=True, max_open=True),
    help="In how many cases.",
)
@click.option("--targets", type=click.IntRange(1), help="Data sets to predict; else as now.")
@explain_errors
def power(difference: float, wanted: float, targets: int | None) -> None:
    """Say how many models, data sets and test images would settle what the study leaves open.

    From what was scored so far: a pilot study, or an imported table. Nothing is extracted. The
    pilot's own numbers are not what is looked for, as its leader was chosen by them: differences
    are those of --difference and of report.margin.
    """
    from pipeline.results.cube import to_cube
    from pipeline.results.gathering import gather
    from pipeline.statistics.evidence import gather_evidence
    from pipeline.statistics.pilots import questions
    from pipeline.statistics.power_words import settling

    study = load_study()
    scores, _ = gather(study)
    if scores.empty:
        raise ProbelineError(
            str(PARAMS),
            "nothing is scored yet: there is no pilot",
            expected="scores of a few models, or of a published table",
            remedy="`dvc repro` with a few models, or `probeline scores import FILE`",
        )
    evidence = gather_evidence(study, to_cube(study, scores))
    asked = questions(evidence, difference, targets)
    if not asked:
        raise ProbelineError(
            str(PARAMS),
            "the scores leave no question open that has a number",
            expected="two evaluations or two models, on three data sets",
            remedy="score more, or import a table",
        )
    alpha = 1 - evidence.settings.confidence
    for question in asked:
        row = question.row(alpha, wanted)
        kind, _, protocol = question.name.partition("/")
        click.echo(
            settling(
                kind, question.first, question.second, row | {"targets": question.targets},
                protocol, wanted,
            )
        )  # fmt: skip
    sizes = [8, 12, 16, 26, 40, 60, 100, 200, 400]
    curves = [
        [q.name, *(f"{q.power_at(n, alpha):.0%}" for n in sizes),
         f"{q.needed(alpha, wanted):,.0f}"]
        for q in asked if q.spread == q.spread
    ]  # fmt: skip
    if curves:
        click.echo("")
        print_table(["power with so many", *map(str, sizes), f"{wanted:.0%} with"], curves)
