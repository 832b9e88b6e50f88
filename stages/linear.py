"""Stage linear: logistic regression on every cell -> results/linear/<data set>/<model>.parquet."""

from __future__ import annotations

from functools import partial

import click

from pipeline.params import load_study
from stages._run import Tally, explain_errors


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Score what the study misses."""
    tally = Tally("linear")
    study = load_study()
    from pipeline.linear import run_linear  # scikit-learn takes a second to import
    from pipeline.protocol import run_protocol

    tally.cached, tally.computed = run_protocol(
        study, "linear", study.linear, partial(run_linear, study.linear)
    )
    tally.close()


if __name__ == "__main__":
    main()
