"""How a run ends: the answer, as the summary begins, and where the report is."""

from __future__ import annotations

from pathlib import Path

import click

from stages.table import print_table

MOST_ROWS = 8


def print_answer(summary: str, report: Path) -> None:
    """Print the summary's first section as plain text, and the report's address.

    Parameters
    ----------
    summary : str
        Markdown; see `pipeline.report.summary`.
    report : Path
    """
    parts = summary.split("\n## ")
    title, _, facts = parts[0].removeprefix("# ").partition("\n\n")
    click.echo(f"\n{_plain(title)}: {_plain(facts).split(' The whole report')[0].strip()}")
    if len(parts) > 1:
        heading, _, body = parts[1].partition("\n\n")
        click.echo(f"\n{_plain(heading)}")
        for block in body.strip().split("\n\n"):
            _print_block(block)
    click.echo(f"\nthe report: {report.absolute().as_uri()}")


def _print_block(block: str) -> None:
    if not block.startswith("|"):
        click.echo(_plain(block))
        return
    header, _, *rows = (
        [_plain(cell.strip()) for cell in line.strip("|").split(" | ")]
        for line in block.splitlines()
    )
    print_table(header, [_short(row) for row in rows[:MOST_ROWS]])
    if len(rows) > MOST_ROWS:
        click.echo(f"… and {len(rows) - MOST_ROWS} more")


def _short(row: list[str]) -> list[str]:
    return [cell if len(cell) <= 60 else f"{cell[:57].rpartition(',')[0]}, …" for cell in row]


def _plain(text: str) -> str:
    """Without code spans and escapes."""
    plain, escaped = "", False
    for character in text.replace("`", ""):
        if character == "\\" and not escaped:
            escaped = True
            continue
        plain, escaped = plain + character, False
    return plain
