"""Plain aligned tables: the same on a terminal, in a pipe and in a log."""

from __future__ import annotations

from collections.abc import Sequence

import click


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header; columns of numbers are set flush right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    numeric = [
        all(row[i][:1].isdigit() for row in rows if row[i]) and any(row[i] for row in rows)
        for i in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        return "  ".join(cells).rstrip()

    click.secho(line(header), bold=True)
    for row in rows:
        click.echo(line(row))
