"""Stage fewshot: a few labels, on every cell -> results/fewshot/<data set>/<model>.parquet."""

from __future__ import annotations

from functools import partial

import click

from pipeline.params import load_study
from pipeline.paths import RESULTS
from pipeline.records import protocols_of
from pipeline.study import Study
from stages._run import Tally, explain_errors, keep_folder, say


@click.command(help=__doc__)
@explain_errors
def main() -> None:
    """Score what the study misses."""
    tally = Tally("fewshot")
    study = load_study()
    keep_folder(RESULTS / "fewshot")
    if "fewshot" in protocols_of(study):
        _prepare(study)
        from pipeline.probes.fewshot import run_fewshot
        from pipeline.probes.protocol import run_protocol

        tally.cached, tally.computed = run_protocol(study, "fewshot", partial(run_fewshot, study))
    tally.close()


def _prepare(study: Study) -> None:
    """Check every data set's problems and store its draws; say what it is too small for."""
    from pipeline.datasets.index import read_index
    from pipeline.probes.fewshot import short_classes, store_draws
    from pipeline.probes.problems import problems_of

    for dataset, entry in study.datasets.items():
        if entry.test_only:
            continue
        index = read_index(dataset)
        problems_of(study.fewshot, dataset, index.classes)
        for count in study.fewshot.class_counts:
            if count >= len(index.classes):
                say("fewshot", f"{dataset}: not {count} classes at a time of {len(index.classes)}")
        for budget, labels in short_classes(store_draws(study.fewshot, index)).items():
            some = ", ".join(index.classes[label] for label in labels[:3])
            more = ", …" if len(labels) > 3 else ""
            say(
                "fewshot",
                f"{dataset}: {len(labels)} of {len(index.classes)} classes have too few train "
                f"images for {budget} ({some}{more}); all of them are taken",
            )


if __name__ == "__main__":
    main()
