"""The large versions: `make torture`, which prints tables of Markdown for docs/reliability.md.

python tests/torture/torture.py kills|flips|mutants|rounds … [--tries N] [--only WORDS] [--faults …]
python tests/torture/torture.py --small      # what the tests run: one study, a few of each
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]

KINDS = {"kills": 1, "flips": 60, "mutants": 790, "rounds": 50}
"""Each with its tries: times `kills.TRIES`, at a kind of file, of a reader."""


def main() -> None:
    """Run what is asked for; the exit status is 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--tries", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--faults", nargs="*", default=[], help="of kills: KILL, ENOSPC, …")
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    import forks

    forks.quiet()
    forks.import_everything()
    if asked.small:
        sys.exit(small() > 0)
    wrong = 0
    for kind in asked.kinds:
        module = importlib.import_module(kind)
        start = time.time()
        print(f"\n## {kind}\n\n| {' | '.join(module.HEADER)} |")
        print("|" + "---|" * len(module.HEADER), flush=True)
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            tries = asked.tries or KINDS[kind]
            more = {"kinds": tuple(asked.faults)} if kind == "kills" else {}
            wrong += show(module.campaign(Path(folder), tries, tuple(asked.only), **more))
        print(f"\n{time.time() - start:.0f} s", flush=True)
    sys.exit(wrong > 0)


def small() -> int:
    """A few of each on one study; returns how many went wrong."""
    import flips
    import kills
    import mutants
    import small_study
    import written

    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        study = Path(folder) / "study"
        small_study.make_whole_study(study, quickly=True)
        wrong = show(kills.in_study(study))
        wrong += show(flips.in_study(study, 3))
        readers: set[str] = set()
        wrong += show(_noted(mutants.in_study(study, 5), readers))
        kinds = {kind.name for kind in flips.kinds()}
        for fault in (forgotten := written.forgotten(kinds, readers)):
            print(f"fault: {fault}", file=sys.stderr, flush=True)
        wrong += len(forgotten)
        os.chdir("/")
    return wrong


def _noted(rows: Iterable[Any], names: set[str]) -> Iterator[Any]:
    for row in rows:
        names.add(row.kind)
        yield row


def show(rows: Iterable[Any]) -> int:
    """Print rows as they are done; returns how many things went wrong."""
    wrong = 0
    for row in rows:
        print(f"| {' | '.join(row.cells())} |", flush=True)
        wrong += len(row.faults)
        for fault in row.faults:
            print(f"fault: {fault}", file=sys.stderr, flush=True)
    return wrong


if __name__ == "__main__":
    main()
