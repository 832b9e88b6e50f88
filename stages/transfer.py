"""Stage transfer: probes on other data sets -> results/transfer/<data set>/<model>.parquet."""

from __future__ import annotations

import click

from pipeline.params import load_study
from pipeline.paths import RESULTS
from stages._run import Tally, explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Score what the study misses."""
    tally = Tally("transfer")
    study = load_study()
    keep_folder(RESULTS / "transfer")
    if study.transfer.sources:
        from pipeline.backends import choose_backend
        from pipeline.classifiers.linear_solvers import OFFERED
        from pipeline.datasets.index import read_index  # imports pandas
        from pipeline.probes.protocol import run_protocol  # SciPy takes a second to import
        from pipeline.probes.transfer import Transfer
        from pipeline.probes.transfer_pairs import describe_pairs

        indexes = {name: read_index(name) for name in study.datasets}
        for line in describe_pairs(study, indexes):
            say("transfer", line)
        tally.cached, tally.computed = run_protocol(
            study, "transfer", Transfer(study, choose_backend(OFFERED)), by_model=True
        )
    tally.close()


if __name__ == "__main__":
    main()
