"""Stage linear: linear heads on every cell -> results/linear/<data set>/<model>.parquet."""

from __future__ import annotations

from functools import partial

import click

from pipeline.backends import choose_backend
from pipeline.params import load_study
from pipeline.paths import RESULTS
from stages._run import Tally, explain_errors, keep_folder


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Score what the study misses."""
    tally = Tally("linear")
    study = load_study()
    keep_folder(RESULTS / "linear")
    from pipeline.classifiers.linear_solvers import OFFERED
    from pipeline.probes.linear import run_linear  # SciPy and pandas take a second to import
    from pipeline.probes.protocol import run_protocol

    probe = partial(run_linear, study, choose_backend(OFFERED))
    tally.cached, tally.computed = run_protocol(study, "linear", probe)
    tally.close()


if __name__ == "__main__":
    main()
