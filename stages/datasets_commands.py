"""Commands for data sets: `probeline datasets [known | show | prepare | check]`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from cache.errors import ProbelineError
from pipeline.datasets.known import KnownDataset, known_dataset, known_names, verified_dataset
from pipeline.machine.environment import expand_path
from pipeline.study.params import load_study
from stages._run import explain_errors
from stages.of_dataset import require_dataset
from stages.table import print_table


@click.group(invoke_without_command=True, short_help="List, look at, fetch and check data sets.")
@click.pass_context
@explain_errors
def datasets(context: click.Context) -> None:
    """List the study's data sets; look at them, and fetch those that are known by name."""
    if context.invoked_subcommand is not None:
        return
    from pipeline.datasets.index import read_index

    rows = []
    for name, dataset in load_study().datasets.items():
        try:
            index = read_index(name)
            counts = [f"{len(index.split(s)):,}" for s in ("train", "val")]
            counts += [str(len(index.classes)), "; ".join(index.said)]
        except ProbelineError as error:
            counts = ["", "", "", error.problem]
        rows.append([name, dataset.source, dataset.role, *counts])
    print_table(["data set", "source", "role", "train", "val", "classes", "remarks"], rows)


@datasets.command("known")
@explain_errors
def list_known() -> None:
    """The data sets that a study may name: `source: "known:NAME"`."""
    rows = []
    for known in map(known_dataset, known_names()):
        expected = known.entry["expected"]
        counts = [f"{expected.get(what, 0):,}" for what in ("train", "val", "classes")]
        by = str(verified_dataset(known.name).get("by", "nobody yet"))
        rows.append([known.name, *counts, known.entry["role"], known.entry.get("shift", ""), by])
    print_table(["data set", "train", "val", "classes", "role", "shift", "verified by"], rows)
    click.echo(
        "\nThe counts are the authors', compared while indexing; layouts are tested on small\n"
        "trees of the archives' shape. Verified: somebody sent what `datasets verify NAME`\n"
        "says of a real copy."
    )


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
        known = _known(name, "neither the study nor the list of known data sets has it")
        rows += [[key, str(value)] for key, value in known.entry.items()]
        rows += _origin(known)
    print_table(["", name], rows)


@datasets.command("check")
@click.argument("name", required=False)
@click.option("--quiet", is_flag=True, help="Without NAME: only data sets that have changed.")
@explain_errors
def check_dataset(name: str | None, quiet: bool) -> None:
    """Compare data sets with what was indexed.

    With NAME: read every image as the index stage does, compare, and keep nothing. Without: look at
    the number, sizes and times of change of all data sets' files, and read only what has another
    time and the same size.
    """
    if name is None:
        _look_at_all(quiet=quiet)
        return
    from pipeline.datasets.index import differing_samples, former_index
    from pipeline.datasets.indexing import build_index

    study = load_study()
    require_dataset(study, name)
    former = former_index(name)
    index = build_index(name, study.datasets[name], former)
    for note in index.warnings:
        click.echo(f"warning: {note}")
    for note in index.notes:
        click.echo(note)
    if former is not None and (changed := differing_samples(index, former)):
        click.echo(
            f"warning: {len(changed)} images are not as they were indexed, e.g. {changed[0]}: "
            f"`dvc repro -f index@{name}`, then `dvc repro`"
        )
    counts = Counter(index.table["split"])
    click.echo(
        f"{name}: {counts['train']:,} train and {counts['val']:,} val images of "
        f"{len(index.classes):,} classes; every one can be read"
    )


@datasets.command("verify")
@click.argument("name")
@click.option(
    "--path",
    type=click.Path(path_type=Path, file_okay=False),
    help="The data set's folder; by default where `prepare` puts it.",
)
@explain_errors
def verify_dataset(name: str, path: Path | None) -> None:
    """Compare a real copy of a known data set with the catalogue; prints a line to send back."""
    from pipeline.datasets.preparing import describe_counts, digest_lists

    known = _known(name, "is not a known data set")
    started_in: Path = click.get_current_context().obj
    folder = expand_path("$PROBELINE_IMAGES", "--path") / known.into
    folder = folder if path is None else started_in / path
    click.echo(f"{name}: {describe_counts(known, folder)}")
    lists, expected = digest_lists(known, folder), verified_dataset(name)
    click.echo(f"{name}: {{by: YOUR_NAME, lists: {lists}}}")
    if expected and expected["lists"] != lists:
        raise ProbelineError(
            str(folder),
            "is not what was verified: paths, classes or splits differ",
            expected=str(expected["lists"]),
            found=lists,
            remedy="unpack the data set again; if it differs again, tell us",
        )
    click.echo(
        f"as {expected['by']} found it"
        if expected
        else "nobody has sent this line yet: please do, as an issue or a pull request"
    )


def _look_at_all(*, quiet: bool) -> None:
    """A line for each data set."""
    from pipeline.datasets.watched_files import why_unwatched
    from pipeline.datasets.watching import look_closely

    for name, dataset in load_study().datasets.items():
        found = look_closely(name, dataset)
        if found is None:
            if not quiet:
                why = why_unwatched(name, dataset)
                said = f"no images to look at here: {why}" if why else "not indexed yet"
                click.echo(f"{name}: {said}")
        elif found.differs or not quiet:
            of = "" if found.differs else f", {found.of:,} files"
            click.echo(f"{'warning: ' if found.differs else ''}{found}{of}")


@datasets.command("prepare")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of all images; $PROBELINE_IMAGES by default.",
)
@explain_errors
def prepare_dataset(name: str, into: Path | None) -> None:
    """Fetch and unpack a known data set, or say what to do by hand.

    Not needed for one that is on this disk: name its folder as `path` in params.yaml.
    """
    from pipeline.datasets.preparing import describe_counts, prepare

    known = _known(name, "is not a known data set")
    print_table(["", name], [*_origin(known), ["to fetch", _size(known)]])
    started_in: Path = click.get_current_context().obj
    images = expand_path("$PROBELINE_IMAGES", "--into") if into is None else started_in / into
    folder, made = prepare(known, images)
    found = describe_counts(known, folder)
    path = folder.absolute() if into is not None else f"$PROBELINE_IMAGES/{known.into}"
    click.echo(f"\n{name}: {'ready' if made else 'was there already'}, {found}; in params.yaml:")
    click.echo(f'  {name}: {{source: "known:{name}", path: {path}}}')


def _known(name: str, problem: str) -> KnownDataset:
    try:
        return known_dataset(name)
    except KeyError as error:
        raise ProbelineError(
            f"data set {name}", problem, found=name, remedy=error.args[0]
        ) from None


def _origin(known: KnownDataset) -> list[list[str]]:
    return [["files wanted", known.get], ["from", known.home], ["licence", known.licence]]


def _size(known: KnownDataset) -> str:
    files = ", ".join(f"{file.file} ({file.gigabytes:g} GB)" for file in known.files)
    return f"about {sum(file.gigabytes for file in known.files):,.3g} GB: {files}"
