"""Stage knn: k nearest neighbours on every cell -> results/knn/<data set>/<model>.parquet."""

from __future__ import annotations

from functools import partial

import click

from cache.errors import ProbelineError
from pipeline.index import read_index
from pipeline.params import load_study
from pipeline.study import Study
from stages._run import Tally, explain_errors


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Score what the study misses."""
    tally = Tally("knn")
    study = load_study()
    _require_enough_neighbors(study)
    from pipeline.knn import run_knn  # scikit-learn takes a second to import
    from pipeline.protocol import run_protocol

    tally.cached, tally.computed = run_protocol(
        study, "knn", study.knn, partial(run_knn, study.knn)
    )
    tally.close()


def _require_enough_neighbors(study: Study) -> None:
    """Refuse a k beyond some train split before anything is computed."""
    for dataset in study.datasets:
        rows = len(read_index(dataset).split("train"))
        if max(study.knn.k) > rows:
            raise ProbelineError(
                "params.yaml: knn.k",
                f"is larger than the train split of data set {dataset}",
                expected=f"at most {rows}",
                found=str(max(study.knn.k)),
                remedy="lower knn.k, or take that data set out",
            )


if __name__ == "__main__":
    main()
