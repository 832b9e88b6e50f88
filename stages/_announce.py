"""Under `dvc repro`: which stage of how many this is, and how long the rest takes, if known."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator

from ruamel.yaml.error import YAMLError

from cache.errors import ProbelineError


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say where the run is, then remember how long the stage took; outside of DVC do nothing.

    Nothing of it may stop a stage: without a usable study or dvc.yaml, it says nothing.
    """
    stage = _stage_of_dvc()
    if stage:
        faults = (ProbelineError, YAMLError, OSError, KeyError, TypeError, AttributeError)
        with contextlib.suppress(*faults):
            _announce(stage)
    start = time.monotonic()
    yield
    if stage:
        from pipeline.planning.stage_times import record_time

        with contextlib.suppress(ProbelineError, OSError):
            record_time(stage, time.monotonic() - start)


def _stage_of_dvc() -> str:
    named = re.fullmatch(r"(?:.*dvc\.yaml:)?(\w+(?:@\w+)?)", os.environ.get("DVC_STAGE", ""))
    return "" if named is None else named[1]


def _announce(stage: str) -> None:
    from pipeline.planning.stage_order import stage_order
    from pipeline.planning.stage_times import stage_times, where_we_are
    from pipeline.study.params import load_study

    order = stage_order(load_study().datasets)
    if stage in order:
        print(where_we_are(stage, order, stage_times()), file=sys.stderr, flush=True)
