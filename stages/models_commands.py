"""Commands that look at models: `probeline models zoo | show | check`."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from cache.errors import ProbelineError
from pipeline.models.settings import Model
from pipeline.models.zoo import zoo_model, zoo_names
from pipeline.study.params import load_study
from stages._run import explain_errors
from stages.table import print_table


@click.group(
    invoke_without_command=True,
    short_help="List, look at and check models: the study's, the zoo's.",
)
@click.pass_context
@explain_errors
def models(context: click.Context) -> None:
    """List the study's models; look at them, and at the zoo of known ones."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.models.cards import find_card

    rows = []
    for name, entry in load_study().models.items():
        try:
            card = find_card(name, entry)
            known = [f"{card.columns:,}", f"{card.parameters / 1e6:,.1f} M"] if card else ["", ""]
            known.append("")
        except ProbelineError as error:
            known = ["", "", error.problem]
        rows.append([name, entry.architecture, entry.weights, entry.family, entry.feature, *known])
    print_table(
        [
            "model",
            "architecture",
            "weights",
            "family",
            "feature",
            "dimensions",
            "parameters",
            "remarks",
        ],
        rows,
    )


@models.command("zoo")
@click.option("--family", help="Only models of this family.")
def list_zoo(family: str | None) -> None:
    """The models that a study may name: `models: {NAME: {zoo: NAME}}`."""
    rows = []
    for name in zoo_names():
        known = zoo_model(name)
        if family in (None, known.entry["family"]):
            words = (known.entry[word] for word in ("backbone", "method", "family", "supervision"))
            rows.append([name, *words, str(known.facts["data"])])
    print_table(["model", "backbone", "method", "family", "supervision", "pre-trained on"], rows)


@models.command("show")
@click.argument("name")
@explain_errors
def show_model(name: str) -> None:
    """Everything known of a model of the study, or of the zoo."""
    entry = _entry(name)
    rows = [
        [key, str(value)]
        for key, value in entry.model_dump(exclude_defaults=True, exclude={"source"}).items()
    ]
    rows += [[key, str(value)] for key, value in entry.source.model_dump().items() if value]
    if name in zoo_names():
        rows += [[key, str(value)] for key, value in zoo_model(name).facts.items()]
    if entry.weights_file is not None:
        there = "on this disk" if Path(entry.weights_file).exists() else "not on this disk yet"
        rows.append([there, entry.weights_file])
    print_table(["", name], rows)


@models.command("check")
@click.argument("names", nargs=-1, required=True)
@explain_errors
def check_models(names: tuple[str, ...]) -> None:
    """Load models and run one image: weights fetched and mapped, shape, finite values."""
    from pipeline.models.check import check_model

    for name in names:
        click.echo(check_model(name, _entry(name)))


def _entry(name: str) -> Model:
    study = load_study()
    if name in study.models:
        return study.models[name]
    if name in zoo_names():
        return Model.model_validate({"zoo": name})
    names = [*study.models, *zoo_names()]
    near = difflib.get_close_matches(name, names, n=3)
    raise ProbelineError(
        f"model {name}",
        "neither the study nor the zoo has it",
        found=name,
        remedy=f"did you mean {' or '.join(near)}?" if near else "see `probeline models zoo`",
    )
