"""Commands that look at data sets: `probeline datasets [known | show | check]`."""

from __future__ import annotations

from collections import Counter

import click

from cache.errors import ProbelineError
from pipeline.datasets.known import KnownDataset, known_dataset, known_names
from pipeline.params import load_study
from stages._run import explain_errors
from stages.index import require_dataset
from stages.table import print_table


@click.group(invoke_without_command=True)
@click.pass_context
@explain_errors
def datasets(context: click.Context) -> None:
    """List the study's data sets; look at them, and at those that are known by name."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.datasets.index import read_index

    rows = []
    for name, dataset in load_study().datasets.items():
        try:
            index = read_index(name)
            counts = [f"{len(index.split(s)):,}" for s in ("train", "val")]
            counts += [str(len(index.classes)), "; ".join(index.remarks)]
        except ProbelineError as error:
            counts = ["", "", "", error.problem]
        rows.append([name, dataset.source, dataset.role, *counts])
    print_table(["data set", "source", "role", "train", "val", "classes", "remarks"], rows)


@datasets.command("known")
def list_known() -> None:
    """The data sets that a study may name: `source: "known:NAME"`."""
    rows = []
    for known in map(known_dataset, known_names()):
        counts = [f"{known.entry['expected'][what]:,}" for what in ("train", "val", "classes")]
        rows.append([known.name, *counts, known.entry["role"], known.entry.get("shift", "")])
    print_table(["data set", "train", "val", "classes", "role", "shift"], rows)


@datasets.command("show")
@click.argument("name")
@explain_errors
def show_dataset(name: str) -> None:
    """Everything known of a data set of the study, or of one that a study may name."""
    study = load_study()
    rows: list[list[str]] = []
    if name in study.datasets:
        entry = study.datasets[name]
        said = entry.model_dump(exclude_defaults=True, exclude={"expected"})
        rows += [[key, str(value)] for key, value in said.items()]
        counts = entry.expected.model_dump(exclude_none=True)
        rows += [[f"expected {what}", f"{count:,}"] for what, count in counts.items()]
        if entry.known_as is not None:
            rows += _origin(known_dataset(entry.known_as))
    else:
        try:
            known = known_dataset(name)
        except KeyError as error:
            raise ProbelineError(
                f"data set {name}",
                "neither the study nor the list of known data sets has it",
                found=name,
                remedy=error.args[0],
            ) from None
        rows += [[key, str(value)] for key, value in known.entry.items()]
        rows += _origin(known)
    print_table(["", name], rows)


@datasets.command("check")
@click.argument("name")
@explain_errors
def check_dataset(name: str) -> None:
    """Read a data set of the study as the index stage does, and keep nothing."""
    from pipeline.datasets.index import build_index

    study = load_study()
    require_dataset(study, name)
    index = build_index(name, study.datasets[name])
    for remark in index.remarks:
        click.echo(f"warning: {remark}")
    counts = Counter(index.table["split"])
    click.echo(
        f"{name}: {counts['train']:,} train and {counts['val']:,} val images of "
        f"{len(index.classes):,} classes; every one can be read"
    )


def _origin(known: KnownDataset) -> list[list[str]]:
    return [["files wanted", known.get], ["from", known.home], ["licence", known.licence]]
