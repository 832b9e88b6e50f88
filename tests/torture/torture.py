"""The large versions: `make torture`, which prints tables of Markdown for docs/reliability.md.

    python tests/torture/torture.py kills|flips|mutants|server|rounds … [--tries N] [--only WORDS]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]

KINDS = {"kills": 12, "flips": 60, "mutants": 1500, "server": 1, "rounds": 50}
"""Each with its tries: a target's, a kind of file's, a reader's."""


def main() -> None:
    """Run what is asked for; the exit status is 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--tries", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    asked = parser.parse_args()
    import sandbox

    sandbox.quiet()
    sandbox.import_everything()
    wrong = 0
    for kind in asked.kinds:
        module = importlib.import_module(kind)
        start = time.time()
        print(f"\n## {kind}\n\n| {' | '.join(module.HEADER)} |")
        print("|" + "---|" * len(module.HEADER), flush=True)
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            tries = asked.tries or KINDS[kind]
            for row in module.campaign(Path(folder), tries, tuple(asked.only)):
                print(f"| {' | '.join(row.cells())} |", flush=True)
                wrong += len(row.faults)
                for fault in row.faults:
                    print(f"fault: {fault}", file=sys.stderr, flush=True)
        print(f"\n{time.time() - start:.0f} s", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
