"""`probeline cache …`: what lies in the embedding cache, and whether it is what was written."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from cache.cell import Cell, CellAddress
from cache.errors import CellCorruptError, CellMissingError, ProbelineError
from cache.former import forget_oldest
from cache.removal import finish_removal, removals_begun, remove_cell, remove_tree, size_of
from cache.verify import Fault
from cache.verify import verify as verify_cell
from pipeline.planning.former_results import describe, former_results, size_in_mb
from pipeline.planning.overview import cells_on_disk, roles_of_cells
from pipeline.project.paths import (
    EMBEDDINGS,
    cell_address,
    former_folder,
    imported_path,
    neighbors_folder,
    provenance_path,
    record_path,
)
from pipeline.project.words import number_of
from pipeline.study import protocol_list
from pipeline.study.params import load_study
from stages._run import explain_errors, folder_option
from stages.table import print_table


@click.group()
def cache() -> None:
    """Look into the embedding cache."""


@cache.command("list")
@explain_errors
def list_cells() -> None:
    """List every cell: size, fingerprint, and how it stands to the study."""
    roles = roles_of_cells(load_study())
    rows = []
    total = 0
    for address in cells_on_disk():
        name = f"{address.store.parent.name}/{address.store.stem}"
        size = size_of(address)
        total += size
        try:
            manifest = Cell.open(address).manifest
            facts = [
                f"{manifest.rows:,}",
                f"{manifest.columns:,}",
                str(manifest.storage),
                f"{size / 1e6:,.1f}",
                manifest.fingerprint[:12],
                roles.get(address, "not in the study"),
            ]
        except (CellCorruptError, CellMissingError) as error:
            facts = ["", "", "", f"{size / 1e6:,.1f}", "", f"damaged: {error.problem}"]
        rows.append([name, address.split, *facts])
    print_table(["cell", "split", "rows", "dimensions", "type", "MB", "fingerprint", "state"], rows)
    click.echo(f"\n{len(rows)} cells, {total / 1e6:,.1f} MB")
    if said := describe(former_results()):
        click.echo(said)


@cache.command()
@click.option("--deep", is_flag=True, help="Read every byte: digests, finiteness, zero rows.")
@click.option("--repair", is_flag=True, help="Compute the damaged chunks again (implies --deep).")
@explain_errors
def verify(*, deep: bool, repair: bool) -> None:
    """Check every cell against its own description; exit status 1 when one is damaged."""
    deep = deep or repair
    from pipeline.embeddings.mending import mend, mending_begun

    addresses = cells_on_disk()
    begun = mending_begun()
    found = {address: verify_cell(address, deep=deep) for address in addresses}
    found |= {a: [Fault(a.path, "its repair was begun and not finished")] for a in begun}
    damaged = [address for address, faults in found.items() if faults]
    for fault in dict.fromkeys(fault for faults in found.values() for fault in faults):
        click.echo(f"damaged: {fault}", err=True)
    depth = "every byte read" if deep else "files, sizes and times; --deep reads every byte"
    click.echo(f"{len(addresses)} cells checked ({depth}), {len(damaged)} damaged")
    if damaged and not repair:
        click.echo("to mend: probeline cache verify --repair", err=True)
        sys.exit(1)
    if damaged:
        mended = mend(load_study(), damaged)
        click.echo(f"{mended.cells} cells mended, {mended.chunks} chunks computed again")
        for line in mended.refused:
            click.echo(f"not mended: {line}", err=True)
        if mended.refused:
            sys.exit(1)


@cache.command()
@click.argument("dataset")
@click.argument("model")
@explain_errors
def show(dataset: str, model: str) -> None:
    """Show all that is known of one model's cells on one data set."""
    splits = [a for a in cells_on_disk() if a.store == cell_address(dataset, model, "").store]
    if not splits:
        raise CellMissingError(
            f"{dataset}/{model}",
            "there is no such cell",
            remedy="`probeline cache list` names all that there are",
        )
    for address in splits:
        manifest = Cell.open(address).manifest
        facts = {
            "path": str(address),
            "fingerprint": manifest.fingerprint,
            "rows x dimensions": f"{manifest.rows:,} x {manifest.columns:,}",
            "type": f"{manifest.storage}, {manifest.chunks} chunks of {manifest.chunk_rows:,} rows",
            "decided": manifest.decided or "not before it was written",
            "remarks": "; ".join(manifest.remarks) or "none",
            "key": json.dumps(manifest.key, indent=2),
        }
        click.secho(f"{dataset}/{model} {address.split}", bold=True)
        for name, text in facts.items():
            click.echo(f"  {name:<18} {text}")
    provenance = provenance_path(dataset, model)
    if provenance.exists():
        click.secho("provenance", bold=True)
        click.echo(provenance.read_text())


@cache.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@explain_errors
def prune(*, yes: bool) -> None:
    """Delete the cells that the study does not name and results of former settings, after asking.

    With a model's last cell on a data set go its provenance, its neighbours and its probes'
    results; what was fine-tuned stays, and so do all results that the study has now. Without
    asking goes what a stopped run left, and nobody would go on with.
    """
    roles = roles_of_cells(load_study())
    there = cells_on_disk()
    surplus = [a for a in there if a not in roles]
    _clear_after_stopped_runs(there)
    former = former_results()
    if not surplus:
        click.echo("every cell is named by the study")
    for address in surplus:
        click.echo(f"{address}  {size_of(address) / 1e6:,.1f} MB")
    if former:
        click.echo(describe(former))
    if not surplus and not former:
        return
    total = sum(size_of(a) for a in surplus) / 1e6 + size_in_mb(former)
    cells = number_of(len(surplus), "cell")
    records = f" and {number_of(len(former), 'former result')}" if former else ""
    if yes or click.confirm(f"delete {cells}{records}, {total:,.1f} MB?"):
        _remove_what_was_made_of(surplus, [a for a in there if a in roles])
        for path in former:
            path.unlink(missing_ok=True)
            forget_oldest(path.parent, 0)
        for address in surplus:
            remove_cell(address)
        click.echo(f"{cells}{records} deleted, {total:,.1f} MB freed in the working folder")


def _clear_after_stopped_runs(there: Iterable[CellAddress]) -> None:
    from pipeline.planning.left_overs import clear_dead

    begun = [a for folder in sorted(EMBEDDINGS.glob("*/")) for a in removals_begun(folder)]
    for address in begun:
        click.echo(f"{address}: a former `prune` was stopped; deleted now")
    _remove_what_was_made_of(begun, there)
    for address in begun:
        finish_removal(address)
    for path in clear_dead():
        click.echo(f"{path}: whoever wrote it was stopped; deleted now")


def _remove_what_was_made_of(gone: Iterable[CellAddress], stay: Iterable[CellAddress]) -> None:
    """Before the cells themselves: stopped in between, the next `prune` still finds those."""
    kept = {address.store for address in stay}
    for store in sorted({address.store for address in gone} - kept):
        dataset, model = store.parent.name, store.stem
        provenance_path(dataset, model).unlink(missing_ok=True)
        remove_tree(neighbors_folder(dataset, model))
        for protocol in protocol_list.PROTOCOLS:
            if protocol.key is None:
                record_path(protocol.name, dataset, model).unlink(missing_ok=True)
                forget_oldest(former_folder(protocol.name, dataset, model), 0)


@cache.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--dataset", required=True, help="The data set's name in params.yaml.")
@click.option("--model", required=True, help="The model's name in params.yaml.")
@click.option(
    "--features", multiple=True, metavar="PATTERN",
    help="Which columns of a Parquet file are features, e.g. 'f*'; may be repeated.",
)  # fmt: skip
@explain_errors
def import_(folder: Path, dataset: str, model: str, features: tuple[str, ...]) -> None:
    """Bring your own embeddings: FOLDER holds train and val as `export` writes them.

    For each split either SPLIT.npy (samples x features) with SPLIT.csv (columns class or label,
    and optionally id and group), or SPLIT.parquet with the same columns and either one per feature,
    numbered like f0, f1 …, or one of lists.
    """
    from pipeline.datasets.imported import import_embeddings

    imported_path(dataset, model)  # refuses what can be no name, before anything is asked of it
    study = load_study()
    known, entry = study.datasets.get(dataset), study.models.get(model)
    if entry is not None and entry.weights != "imported":
        raise ProbelineError(
            f"params.yaml: models.{model}",
            "is another model, which is not imported",
            found=entry.architecture,
            remedy="give the imported one another name with --model",
        )
    kept = import_embeddings(folder, dataset, model, features)
    for split, found in kept.splits.items():
        classes = sorted(set(found.samples.classes))
        some = ", ".join(classes[:5]) + ", …" * (len(classes) > 5)
        rows, width = found.features.shape
        click.echo(
            f"{split}: {rows:,} samples x {width:,} features, {len(classes):,} classes ({some}), "
            f"from {found.origin}"
        )
        for note in found.notes:
            click.echo(f"{split}: {note}")
    click.echo(f"kept in {kept.folder}")
    for warning in kept.warnings:
        click.echo(f"warning: {warning}", err=True)
    if known is None or entry is None:
        click.echo("add to params.yaml:")
        if known is None:
            click.echo(f"datasets:\n  {dataset}: {{source: imported, role: in_domain}}")
        if entry is None:
            click.echo(f"models:\n  {model}: {{architecture: imported, weights: imported}}")
    if kept.changed == ():
        click.echo("the same embeddings were imported before: nothing has changed")
        return
    if kept.changed:
        click.echo(f"other than what was imported before: {', '.join(kept.changed)}")
    click.echo("then `dvc repro`" if known is None or entry is None else "now `dvc repro`")


@cache.command()
@click.argument("dataset")
@click.argument("model")
@folder_option("--to", "export")
@click.option(
    "--format", "kind", type=click.Choice(["npy", "parquet"]), default="npy", show_default=True
)
@explain_errors
def export(dataset: str, model: str, folder: Path, kind: str) -> None:
    """Write one model's embeddings as plain files: features, labels and ids for each split."""
    from pipeline.embeddings.exporting import export_cells

    for path in export_cells(load_study(), dataset, model, folder, kind):
        click.echo(path)
