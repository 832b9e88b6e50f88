"""Stage knn: k nearest neighbours on every cell -> results/knn/<data set>/<model>.parquet."""

from __future__ import annotations

from functools import partial

import click

from pipeline.params import load_study
from pipeline.paths import RESULTS
from pipeline.probes.knn_variants import left_out
from stages._run import Tally, explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Score what the study misses, and list what looks wrong with the data."""
    tally = Tally("knn")
    study = load_study()
    keep_folder(RESULTS / "knn")
    for dataset, what in left_out(study):
        say("knn", f"{dataset}: {what}")
    from pipeline.nearest.data_checks import check_data  # SciPy and pandas take a second to import
    from pipeline.probes.knn import run_knn
    from pipeline.probes.protocol import run_protocol

    tally.cached, tally.computed = run_protocol(study, "knn", partial(run_knn, study))
    check_data(study)
    tally.close()


if __name__ == "__main__":
    main()
