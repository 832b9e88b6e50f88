"""Stage predictors: scores without a probe -> results/predictors/<data set>/<model>.parquet."""

from __future__ import annotations

from functools import partial

import click

from pipeline.params import load_study
from pipeline.paths import RESULTS
from pipeline.records import protocols_of
from stages._run import Tally, explain_errors, keep_folder


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Compute what the study misses."""
    tally = Tally("predictors")
    study = load_study()
    keep_folder(RESULTS / "predictors")
    if "predictors" in protocols_of(study):
        from pipeline.probes.predictors import run_predictors
        from pipeline.probes.protocol import run_protocol

        tally.cached, tally.computed = run_protocol(
            study, "predictors", partial(run_predictors, study)
        )
    tally.close()


if __name__ == "__main__":
    main()
