"""Stage collect: every record's scores as one table and one cube -> results/scores.csv, .nc."""

from __future__ import annotations

import time

import click

from cache.errors import ProbelineError
from cache.files import sha256_bytes, write_durably
from pipeline.machine.netcdf import have_no_dask_arrays, write_netcdf
from pipeline.project.paths import PARAMS, SCORES_CSV, SCORES_NC
from pipeline.results.cube import RECORDS_DIGEST, TABLE_DIGEST, to_cube
from pipeline.results.gathering import gather, records_digest
from pipeline.results.score_table import to_csv
from pipeline.study.params import load_study
from stages._run import explain_errors, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Collect the study's scores."""
    start = time.monotonic()
    have_no_dask_arrays()
    study = load_study()
    scores, missing = gather(study)
    if scores.empty and not missing:
        raise ProbelineError(
            str(PARAMS),
            "names no data sets and models, and no scores are imported",
            remedy="name some, or `probeline scores import FILE.csv`",
        )
    table = to_csv(scores).encode()
    write_durably(SCORES_CSV, table)
    digests = {TABLE_DIGEST: sha256_bytes(table), RECORDS_DIGEST: records_digest()}
    cube = to_cube(study, scores).assign_attrs(digests)
    write_netcdf(cube, SCORES_NC)
    for cell in missing:
        say("collect", f"not scored: {cell.protocol} of {cell.model} on {cell.dataset}")
    say(
        "collect",
        f"{len(scores):,} scores, {len(missing)} cells missing, {time.monotonic() - start:.1f} s",
    )


if __name__ == "__main__":
    main()
