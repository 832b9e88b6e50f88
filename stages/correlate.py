"""Stage correlate: which protocol predicts which -> results/correlation.nc, statistics/*.csv."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import click
import pandas as pd
import threadpoolctl
import xarray as xr

from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.machine.netcdf import have_no_dask_arrays, write_netcdf
from pipeline.project.paths import CORRELATION_NC, METRICS_JSON, PLOTS, SCORES_NC, STATISTICS
from pipeline.report.headline import headline_numbers
from pipeline.report.inputs import Inputs
from pipeline.results.cube import read_cube
from pipeline.statistics.analysis import analyse
from pipeline.statistics.evidence import gather_evidence
from pipeline.statistics.kept import kept_statistics
from pipeline.statistics.plots import plot_tables
from pipeline.statistics.registry import tidy
from pipeline.statistics.unseen import asked_evidence
from pipeline.study.params import load_study
from stages._run import explain_errors, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Correlate all scores over models."""
    with threadpoolctl.threadpool_limits(1):  # many small products: two threads wait for each other
        _correlate()


def _correlate() -> None:
    start = time.monotonic()
    have_no_dask_arrays()
    study = load_study()
    cube = read_cube()
    if not cube.sizes["variant"]:
        raise ProbelineError(
            str(SCORES_NC), "holds no scores yet", remedy="run `dvc repro`, which scores first"
        )
    evidence = asked_evidence(gather_evidence(study, cube), study)
    correlations = analyse(evidence.cube, study.correlation)
    statistics = kept_statistics(evidence)
    write_netcdf(correlations, CORRELATION_NC, statistics)
    write_tables(statistics)
    inputs = Inputs(study, evidence.cube, correlations, pd.DataFrame(), {}, {}, statistics)
    summary = headline_numbers(inputs)
    write_durably(METRICS_JSON, (json.dumps(summary, indent=1) + "\n").encode())
    for name, rows in plot_tables(evidence.cube, correlations).items():
        write_durably(PLOTS / f"{name}.json", (json.dumps(rows, indent=0) + "\n").encode())
    columns = correlations.sizes["predictor"]
    say(
        "correlate",
        f"{columns * (columns - 1) // 2:,} pairs of {columns} score columns over "
        f"{cube.sizes['model']} models, {time.monotonic() - start:.1f} s",
    )
    say("correlate", str(summary["says"]))
    say("correlate", str(summary["check_says"]))


def write_tables(statistics: Mapping[str, xr.Dataset]) -> None:
    """Every statistic as CSV; tables of statistics that are no more are removed."""
    STATISTICS.mkdir(parents=True, exist_ok=True)
    for former in STATISTICS.glob("*.csv"):
        if former.stem not in statistics:
            former.unlink()
    for name, statistic in statistics.items():
        write_durably(STATISTICS / f"{name}.csv", tidy(statistic).encode())


if __name__ == "__main__":
    main()
