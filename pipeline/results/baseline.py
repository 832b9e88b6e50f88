"""The declared baseline: models that effective robustness is measured against.

A file of names, one a line, is kept beside the scores that it came with (`scores/NAME.baseline.txt`,
tracked by git). A study may name models or words of theirs itself: `correlation.baseline`.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cache.errors import ProbelineError
from cache.files import write_durably
from pipeline.project.paths import PARAMS, SCORES

_SHOWN = 3


def keep_baseline(path: Path, scores: Path, models: Collection[str]) -> None:
    """Keep a copy of a file of names beside imported scores.

    Raises
    ------
    ProbelineError
        When it is no text, or a name is none of these models.
    """
    named = _names_in(path)
    refuse_absent(str(path), named, models)
    write_durably(baseline_path(scores), "".join(f"{name}\n" for name in named).encode())


def _names_in(path: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProbelineError(
            str(path), "can't be read", found=str(error), remedy="name a text file, a model a line"
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def baseline_path(scores: Path) -> Path:
    """Where the names that came with imported scores are kept."""
    return scores.with_suffix(".baseline.txt")


def declared_baseline(
    asked: Sequence[str], models: Sequence[str], words: Mapping[str, Sequence[str]]
) -> tuple[str, ...] | None:
    """The declared models, in the study's order; None where nobody declares any.

    Parameters
    ----------
    asked : sequence of str
        `correlation.baseline`: names of models, patterns of them (``*.a1_in1k@*``), or
        ``column=word``. Files kept beside imported scores speak where it is empty.
    models : sequence of str
    words : mapping of str to sequence of str
        By column: what is said of each model.

    Raises
    ------
    ProbelineError
        When a name is no model, or no model has a word.
    """
    if not asked:
        files = sorted(SCORES.glob("[!.]*.baseline.txt"))
        named = [name for path in files for name in _names_in(path)]
        if not named:
            return None
        refuse_absent(str(files[0]), named, models)
        return tuple(name for name in models if name in set(named))
    place = f"{PARAMS}: correlation.baseline"
    chosen: set[str] = set()
    names = []
    for one in asked:
        column, _, word = one.partition("=")
        if one in models:
            chosen.add(one)
        elif column in words:
            told = zip(models, words[column], strict=True)
            chosen |= _some({m for m, said in told if said == word}, place, f"{column} {word}",
                            sorted(set(words[column])))  # fmt: skip
        elif "*" in one or "?" in one:
            chosen |= _some(set(fnmatch.filter(models, one)), place, f"a name like {one}", models)
        else:
            names.append(one)
    refuse_absent(place, names, models, asked)
    return tuple(name for name in models if name in chosen)


def _some(found: set[str], place: str, what: str, there: Sequence[str]) -> set[str]:
    if found:
        return found
    shown = ", ".join(there[:_SHOWN]) + (", …" if len(there) > _SHOWN else "")
    raise ProbelineError(
        place, f"no model has {what}", expected=shown, remedy="name what stands in the scores"
    )


def check_pivots(pivots: Mapping[str, str], models: Sequence[str], datasets: Sequence[str]) -> None:
    """Refuse pivots of data sets that have scores, but are no models (`correlation.pivot`).

    Raises
    ------
    ProbelineError
        With the nearest of the models.
    """
    named = [model for dataset, model in pivots.items() if dataset in datasets]
    refuse_absent(f"{PARAMS}: correlation.pivot", named, models, what="pivots")


def refuse_absent(
    place: str,
    named: Sequence[str],
    models: Collection[str],
    asked: Sequence[str] = (),
    what: str = "baseline models",
) -> None:
    """Refuse names that are no models, with the nearest of those that are.

    Raises
    ------
    ProbelineError
        Counting them.
    """
    there = set(models)
    absent = [name for name in dict.fromkeys(named) if name not in there]
    if not absent:
        return
    near = [
        f"{name} (nearest: {found[0]})" if found else name
        for name in absent[:_SHOWN]
        for found in [difflib.get_close_matches(name, sorted(there), n=1, cutoff=0)]
    ]
    raise ProbelineError(
        place,
        f"{len(absent):,} of {len(asked or named):,} {what} are not among the models",
        expected=f"names of the {len(there):,} models that have scores",
        found=", ".join(near) + (", …" if len(absent) > _SHOWN else ""),
        remedy="correct these names, or take them out",
    )
