"""Stage report: one page that opens without a network, and a summary -> report/."""

from __future__ import annotations

import time

import click

from cache.files import write_durably
from pipeline.machine.netcdf import have_no_dask_arrays
from pipeline.project.paths import REPORT, SUMMARY
from pipeline.report.inputs import load_inputs
from pipeline.report.page import render
from pipeline.report.summary import summarise
from pipeline.study.params import load_study
from stages._answer import print_answer
from stages._run import explain_errors, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Write the report."""
    start = time.monotonic()
    have_no_dask_arrays()
    inputs = load_inputs(load_study())
    page = render(inputs).encode()
    write_durably(REPORT, page)
    summary = summarise(inputs)
    write_durably(SUMMARY, summary.encode())
    say("report", f"{REPORT}, {len(page) / 1e6:.1f} MB, {time.monotonic() - start:.1f} s")
    print_answer(summary, REPORT)


if __name__ == "__main__":
    main()
