"""Stage correlate: which protocol predicts which -> results/correlation.nc, metrics.json."""

from __future__ import annotations

import json
import time

import click

from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.analysis import analyse, metrics
from pipeline.cube import read_netcdf, write_netcdf
from pipeline.params import load_study
from pipeline.paths import CORRELATION_NC, METRICS_JSON, SCORES_NC
from stages._run import explain_errors, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Correlate all scores over models."""
    start = time.monotonic()
    study = load_study()
    cube = read_netcdf(SCORES_NC)
    if not cube.sizes["variant"]:
        raise ProbelineError(
            str(SCORES_NC), "holds no scores yet", remedy="run `dvc repro`, which scores first"
        )
    correlations = analyse(cube, study.correlation)
    write_netcdf(correlations, CORRELATION_NC)
    summary = metrics(cube, correlations)
    write_durably(METRICS_JSON, (json.dumps(summary, indent=1) + "\n").encode())
    columns = correlations.sizes["predictor"]
    say(
        "correlate",
        f"{columns * (columns - 1) // 2:,} pairs of {columns} score columns over "
        f"{cube.sizes['model']} models, {time.monotonic() - start:.1f} s",
    )


if __name__ == "__main__":
    main()
