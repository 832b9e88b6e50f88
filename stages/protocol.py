"""Stage of a protocol: every cell's scores -> results/<protocol>/<data set>/<model>.parquet."""

from __future__ import annotations

from functools import partial

import click

from cache.errors import ProbelineError
from pipeline.project.paths import RESULTS
from pipeline.project.section import one_of
from pipeline.study import protocol_list
from pipeline.study.params import load_study
from stages._run import Tally, explain_errors, keep_folder, say


@click.command(help=__doc__)
@click.argument("name", metavar="PROTOCOL")
@explain_errors
def main(name: str) -> None:
    """Score what the study misses."""
    protocol = protocol_list.find_protocol(name)
    if protocol is None:
        names = [each.name for each in protocol_list.PROTOCOLS]
        raise ProbelineError(name, "is no protocol", expected=one_of(name, names, "a protocol"))
    tally = Tally(name)
    study = load_study()
    keep_folder(RESULTS / name)
    for line in protocol.not_run(study):
        say(name, f"not run: {line}")
    if protocol.is_wanted(study):
        tally.cached, tally.computed = protocol.run(study, partial(say, name))
    protocol.finish(study)
    tally.close()


if __name__ == "__main__":
    main()
