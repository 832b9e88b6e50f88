"""Predictions as a table: a row for each image, and what was wrong with some of them."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from cache.errors import ProbelineError, printable
from pipeline.datasets.image_kinds import SUFFIXES
from pipeline.results.score_table import harmless
from pipeline.taken.classifier import Classifier, load

ANSWER_COLUMNS = ("image", "class", "probability", "remark")


def write_answers(
    classifier: Classifier,
    paths: Sequence[str],
    risk: float | None,
    table: TextIO,
    say: TextIO,
) -> int:
    """Write a row for every image, as CSV.

    Parameters
    ----------
    classifier : Classifier
    paths : sequence of str
        Images, and folders of them.
    risk : float or None
        See `Classifier.predict`. The class of an image that is not answered is left empty.
    table, say : text files
        Where the CSV goes; and lines for people: what is wrong, what was passed over.

    Returns
    -------
    int
        How many images (and folders) could not be predicted.

    Raises
    ------
    ProbelineError
        When the risk can't be kept; nothing is written then.
    """
    for stream in (table, say):  # names of files may be bytes that are no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    images = list(_listed(paths, say))
    answers = classifier.each((path for path, fault in images if not fault), risk=risk)
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(ANSWER_COLUMNS)
    failed = 0
    for path, fault in images:
        found = fault or next(answers)
        if isinstance(found, ProbelineError):
            failed += 1
            problem = printable(": ".join(filter(None, [found.problem, found.found])))
            print(printable(f"error: {path}: {problem}"), file=say)
            told = ["", "", problem]
        else:
            known = found.probability == found.probability  # NaN is nothing's equal
            told = [
                found.label if found.answered else "",
                f"{found.probability:.6g}" if known else "",
                "" if found.answered else "not sure enough for this risk",
            ]
        rows.writerow([harmless(cell) for cell in (path, *told)])
    if failed:
        print(f"{failed} of {len(images)} could not be predicted", file=say)
    return failed


def _listed(paths: Sequence[str], say: TextIO) -> Iterator[tuple[str, ProbelineError | None]]:
    """Every image that is named or lies in a named folder, and of folders without any, why."""
    for path in paths:
        if not Path(path).is_dir():
            yield path, None
            continue
        others: Counter[str] = Counter()
        faults: list[OSError] = []
        found = []
        for folder, below, names in os.walk(path, onerror=faults.append):
            below.sort()
            for name in names:
                if Path(name).suffix.lower() in SUFFIXES:
                    found.append(os.path.join(folder, name))  # noqa: PTH118 - as it was named
                else:
                    others[Path(name).suffix.lower() or "no ending"] += 1
        yield from ((name, None) for name in sorted(found))
        if others:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
            print(printable(f"{path}: passed over, as no images: {kinds}"), file=say)
        for fault in faults:
            yield (
                str(fault.filename),
                ProbelineError(
                    str(fault.filename), "the folder can't be read", found=fault.strerror or ""
                ),
            )
        if not found and not faults:
            yield (
                path,
                ProbelineError(
                    path, "there is no image in this folder", expected=", ".join(sorted(SUFFIXES))
                ),
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of predict.py; the exit status."""
    parser = argparse.ArgumentParser(
        description="Predict the class of images: a CSV with image, class, probability, remark."
    )
    parser.add_argument("images", nargs="+", help="files, or folders of them")
    parser.add_argument("--risk", type=float, help="share of answers that may be wrong, e.g. 0.05")
    parser.add_argument("--weights", help="the backbone's weights, if they are not in the folder")
    parser.add_argument("--device", default="cpu", help="as torch names it (default: cpu)")
    asked = parser.parse_args(arguments)
    try:
        classifier = load(Path(__file__).parent, weights=asked.weights, device=asked.device)
        failed = write_answers(classifier, asked.images, asked.risk, sys.stdout, sys.stderr)
        sys.stdout.flush()
    except ProbelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who read it has gone; Python would write to it once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 1 if failed else 0
