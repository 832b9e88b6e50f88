"""Commands that look at models: `probeline models zoo | show | check | fetch | verify`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cache.errors import ProbelineError
from pipeline.models.settings import Model
from pipeline.models.transform_origin import not_given, transform_parts
from pipeline.models.zoo import zoo_model, zoo_names
from pipeline.statistics.written import listed
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
@click.option("--markdown", is_flag=True, help="All that is known of them, as docs/zoo.md.")
@explain_errors
def list_zoo(family: str | None, *, markdown: bool) -> None:
    """The models that a study may name: `models: {NAME: {zoo: NAME}}`."""
    if markdown:
        from pipeline.models.zoo_page import zoo_page

        click.echo(zoo_page(), nl=False)
        return
    rows = []
    for name in zoo_names():
        known = zoo_model(name)
        if family in (None, known.entry["family"]):
            words = (known.entry[word] for word in ("backbone", "method", "family", "supervision"))
            rows.append([name, *words, ", ".join(known.entry["trained_on"])])
    print_table(["model", "backbone", "method", "family", "supervision", "pre-trained on"], rows)


@models.command("show")
@click.argument("name")
@explain_errors
def show_model(name: str) -> None:
    """Everything known of a model of the study, or of the zoo."""
    entry = _entry(name)
    parts = transform_parts(entry, _known_transform(name, entry))
    own = {"source", *(part.name for part in parts)}
    rows = [
        [key, str(value)]
        for key, value in entry.model_dump(exclude_defaults=True, exclude=own).items()
    ]
    rows += [[part.name, str(part)] for part in parts]
    rows += [[key, str(value)] for key, value in entry.source.model_dump().items() if value]
    if name in zoo_names():
        rows += [[key, str(value)] for key, value in zoo_model(name).facts.items()]
    if entry.weights_file is not None:
        there = "on this disk" if Path(entry.weights_file).exists() else "not on this disk yet"
        rows.append([there, entry.weights_file])
    print_table(["", name], rows)
    warn_of_defaults(name, entry)


@models.command("check")
@click.argument("names", nargs=-1, required=True)
@explain_errors
def check_models(names: tuple[str, ...]) -> None:
    """Load models and run one image: weights fetched and mapped, shape, finite values."""
    from pipeline.models.check import check_model

    for name in names:
        entry = _entry(name)
        click.echo(check_model(name, entry))
        warn_of_defaults(name, entry)


@models.command("fetch")
@click.argument("names", nargs=-1)
@click.option("--left-out", is_flag=True, help="Only models that an earlier run had to leave out.")
@explain_errors
def fetch(names: tuple[str, ...], left_out: bool) -> None:
    """Download all weights that the study, or the models NAMED, still lack, before anything runs.

    All are tried; those that can't be had are listed together, with the file, and where to put it
    by hand. The exit status is then 1. `dvc repro` computes what an earlier run had to leave out.
    """
    from pipeline.embeddings.unavailable import forget_unavailable, unavailable

    study = load_study()
    wanted = {name: _entry(name) for name in names} or dict(study.models)
    if left_out:
        wanted = {
            name: entry
            for name, entry in wanted.items()
            if any(unavailable(dataset, name) for dataset in study.datasets)
        }
        if not wanted:
            return
    from pipeline.models.fetching import fetch_models, together  # imports torch

    absent = fetch_models(wanted)
    here = [name for name in wanted if name not in absent]
    datasets = forget_unavailable(name for name in here if name in study.models)
    click.echo(f"{len(here)} of {len(wanted)} models have all their files here")
    if datasets:
        click.echo(f"`dvc repro` now computes what was left out on {', '.join(sorted(datasets))}")
    if absent:
        raise together(absent, "can't be fetched")


def _known_transform(name: str, entry: Model) -> Mapping[str, Any] | None:
    """As the model's card says it; else by a look at its network, which imports torch."""
    from pipeline.models.cards import find_card

    if all(part.value for part in transform_parts(entry)):
        return None
    try:
        card = find_card(name, entry)
    except ProbelineError:  # the checkpoint is not here
        card = None
    if card is not None:
        return card.transform
    from pipeline.models.sizes import network_size

    size = network_size(name, entry)
    return None if size is None else size.transform


def warn_of_defaults(name: str, entry: Model) -> None:
    """Say what of its transform nobody gave with a checkpoint."""
    if missing := not_given(entry):
        click.echo(
            f"warning: {name} is a checkpoint of your own, and {listed(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} timm's default: give what it was trained with"
        )


@models.command("verify")
@click.argument("name")
@explain_errors
def verify_model(name: str) -> None:
    """Compare a model's real file with the catalogue; prints a line that can be sent back."""
    from pipeline.models.cards import checkpoint_digest
    from pipeline.models.verifying import compare, look_at
    from pipeline.models.weights import provide_weights
    from pipeline.models.zoo import verified_model

    entry = _entry(name)
    provide_weights(entry, f"model {name}")
    found = look_at(name, entry, checkpoint_digest(name, entry) or "")
    click.echo(found.line(name))
    click.echo(compare(name, found, verified_model(name)))


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
