"""Stage of a protocol: every cell's scores -> results/<protocol>/<data set>/<model>.parquet."""

from __future__ import annotations

from functools import partial

import click

from cache.errors import ProbelineError
from pipeline.machine.shards import Shard, until_done
from pipeline.project.paths import RESULTS
from pipeline.project.section import one_of
from pipeline.study import protocol_list
from pipeline.study.params import load_study
from stages._run import Tally, explain_errors, keep_folder, say
from stages.of_shards import as_shard, shard_option


@click.command(help=__doc__)
@click.argument("name", metavar="PROTOCOL")
@shard_option("it scores the cells")
@explain_errors
def main(name: str, shard: str | None) -> None:
    """Score what the study misses."""
    with as_shard(shard) as part:
        _score(name, part)


def _score(name: str, shard: Shard | None) -> None:
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
        run = partial(protocol.run, study, partial(say, name))
        tally.cached, tally.computed = until_done(run)
    protocol.finish(study)
    tally.close()


if __name__ == "__main__":
    main()
