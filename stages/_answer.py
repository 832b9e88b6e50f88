"""How a run ends: the answer, as the summary begins, and where the report is."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pipeline.report.summary import EVIDENCE


def print_answer(summary: str, report: Path) -> None:
    """Print what the summary answers as plain text, and the report's address.

    Parameters
    ----------
    summary : str
        Markdown; see `pipeline.report.summary`.
    report : Path
    """
    parts = summary.split("\n## ")
    title, _, facts = parts[0].removeprefix("# ").partition("\n\n")
    click.echo(f"\n{_plain(title)}: {_plain(facts).split(' The whole report')[0].strip()}")
    for part in parts[1:]:
        heading, _, body = part.partition("\n\n")
        if heading == EVIDENCE:
            break
        click.echo(f"\n{_plain(heading)}")
        for block in body.strip().split("\n\n"):
            click.echo(_plain(block))
    click.echo(f"\nthe report: {report.absolute().as_uri()}")


def _plain(text: str) -> str:
    """Without code spans and escapes."""
    return re.sub(r"\\(.?)", r"\1", text.replace("`", ""), flags=re.DOTALL)
