"""`probeline cache …`: what lies in the embedding cache, and whether it is what was written."""

from __future__ import annotations

import sys

import click

from cache.cell import Cell
from cache.errors import CellCorruptError, CellMissingError
from cache.verify import verify as verify_cell
from pipeline.overview import cells_on_disk, roles_of_cells
from pipeline.params import load_study
from stages._run import explain_errors
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
        size = sum(p.stat().st_size for p in address.path.rglob("*") if p.is_file())
        total += size
        try:
            manifest = Cell.open(address).manifest
            facts = [
                f"{manifest.rows:,}",
                f"{manifest.columns:,}",
                manifest.dtype,
                f"{size / 1e6:,.1f}",
                manifest.fingerprint[:12],
                roles.get(address, "not in the study"),
            ]
        except (CellCorruptError, CellMissingError) as error:
            facts = ["", "", "", f"{size / 1e6:,.1f}", "", f"damaged: {error.problem}"]
        rows.append([name, address.split, *facts])
    print_table(["cell", "split", "rows", "dimensions", "type", "MB", "fingerprint", "state"], rows)
    click.echo(f"\n{len(rows)} cells, {total / 1e6:,.1f} MB")


@cache.command()
@click.option("--deep", is_flag=True, help="Read every byte: digests, finiteness, zero rows.")
@explain_errors
def verify(*, deep: bool) -> None:
    """Check every cell against its own description; exit status 1 when one is damaged."""
    addresses = cells_on_disk()
    faults = [fault for address in addresses for fault in verify_cell(address, deep=deep)]
    for fault in faults:
        click.echo(f"damaged: {fault}", err=True)
    depth = "every byte read" if deep else "files and sizes; --deep reads every byte"
    click.echo(f"{len(addresses)} cells checked ({depth}), {len(faults)} faults")
    if faults:
        click.echo(
            "to mend: delete the folders of the damaged cells (or `dvc checkout` them) "
            "and run `dvc repro`",
            err=True,
        )
        sys.exit(1)
