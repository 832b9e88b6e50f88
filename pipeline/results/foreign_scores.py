"""Scores from elsewhere: checked copies in the folder `scores`, which git tracks.

`probeline scores import` puts them there, and stage `collect` adds them to the study's own. All
sources must agree: a model (or data set) has the same words everywhere, params.yaml speaks for
those that it names, and no score comes from two sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cache.errors import ProbelineError
from cache.files import explain_disk_errors, write_durably
from pipeline.project.names import checked_name
from pipeline.project.paths import PARAMS, SCORES
from pipeline.results.baseline import baseline_path, keep_baseline
from pipeline.results.foreign_file import REQUIRED, ForeignFile, read_foreign, read_published
from pipeline.results.layout import Layout
from pipeline.results.score_table import CELL, COLUMNS, DATASET_WORDS, MODEL_WORDS, to_csv, typed
from pipeline.results.variant_table import variants_in
from pipeline.study.schema import Study


def import_scores(
    paths: Path | Sequence[Path],
    name: str,
    study: Study,
    layout: Layout | None = None,
    baseline: Path | None = None,
) -> ForeignFile:
    """Check scores and keep a copy of them, in the long form, for the study.

    Parameters
    ----------
    paths : Path or sequence of Path
    name : str
        Of the copy; a former one of that name is replaced.
    study : Study
    layout : Layout, optional
        How the files say it; in the long form with our names if not given.
    baseline : Path, optional
        File of the models that effective robustness is measured against; kept beside the scores.

    Raises
    ------
    ProbelineError
        When a file has a fault, or says otherwise than the study or another imported file;
        nothing is kept then.
    """
    target = stored_path(name)
    files = [paths] if isinstance(paths, Path) else list(paths)
    found = read_published(files, layout or Layout())
    others = {p: read_foreign(p).scores for p in stored_files() if p != target}
    agreed(study, {**others, files[0]: found.scores})
    says = found.scores.notna() & ~found.scores.isin(["", "{}"])
    written = [name for name in COLUMNS if name in REQUIRED or says[name].any()]
    if baseline is not None:
        keep_baseline(baseline, target, found.scores["model"].unique())
    write_durably(target, to_csv(found.scores[written]).encode())
    return found


def load_foreign(study: Study) -> pd.DataFrame:
    """All imported scores, as far as they agree with each other and with the study.

    Returns
    -------
    DataFrame
        With the columns of `pipeline.results.score_table.COLUMNS`.

    Raises
    ------
    ProbelineError
        When they do not agree, or a file was spoiled since.
    """
    return agreed(study, {path: read_foreign(path).scores for path in stored_files()})


def stored_files() -> list[Path]:
    """The copies that are kept, by name."""
    return sorted(SCORES.glob("[!.]*.csv"))


def stored_path(name: str) -> Path:
    """Where the copy of that name is kept.

    Raises
    ------
    ProbelineError
        When the name is none for a file.
    """
    return SCORES / f"{checked_name(name, 'scores', 'choose another, e.g. --as')}.csv"


def remove_scores(name: str) -> Path:
    """Delete a copy.

    Raises
    ------
    ProbelineError
        When there is none of that name.
    """
    path = stored_path(name)
    if not path.exists():
        names = ", ".join(p.stem for p in stored_files())
        raise ProbelineError(
            str(path),
            "there are no such imported scores",
            expected=f"one of {names}" if names else "",
            remedy="`probeline scores list` names all that there are",
        )
    with explain_disk_errors(path):
        baseline_path(path).unlink(missing_ok=True)  # first: stopped here, `remove` goes on
        path.unlink()
    return path


def agreed(study: Study, tables: Mapping[Path, pd.DataFrame]) -> pd.DataFrame:
    """The scores of several files as one table, each model and data set with its words.

    Raises
    ------
    ProbelineError
        When the files say different things of a model or data set, or have a score in common.
    """
    said = _words_of_study(study)
    for path, table in tables.items():
        for dimension, words in (("model", MODEL_WORDS), ("dataset", DATASET_WORDS)):
            for word in words:
                _agree_on(said, path, table, dimension, word)
    refuse_shared({str(path): table for path, table in tables.items()})
    whole = typed(pd.concat(tables.values(), ignore_index=True)) if tables else typed(_NONE)
    for (dimension, word), known in said.items():
        unsaid = "unknown" if dimension == "model" else ""
        whole[word] = [known.get(name, (unsaid, ""))[0] for name in whole[dimension]]
    return _labelled(study, whole)


def _labelled(study: Study, scores: pd.DataFrame) -> pd.DataFrame:
    """Each variant with its label: the study's, else the first that a file gives, else its name."""
    told = scores.sort_values("label", key=lambda label: label == "", kind="stable")
    variants = variants_in(study, told)
    keys = zip(scores["protocol"], scores["variant"], strict=True)
    return scores.assign(label=[variants[key].label for key in keys])


def refuse_shared(tables: Mapping[str, pd.DataFrame]) -> None:
    """Refuse scores that more than one source has.

    Raises
    ------
    ProbelineError
        Naming one such score and its sources.
    """
    if len(tables) < 2:
        return
    cells = pd.concat(
        [t[list(CELL)].drop_duplicates().assign(source=source) for source, t in tables.items()],
        ignore_index=True,
    )
    shared = cells.duplicated(list(CELL), keep=False)
    if shared.any():
        cell = cells.loc[shared, list(CELL)].iloc[0]
        sources = cells.loc[(cells[list(CELL)] == cell).all(axis=1), "source"]
        raise ProbelineError(
            sources.iloc[-1],
            "has scores that are there already",
            expected=f"one source for each {', '.join(CELL)}",
            found=f"{int(cells.duplicated(list(CELL)).sum()):,} scores, e.g. {', '.join(cell)}, "
            f"also in {sources.iloc[0]}",
            remedy="name another `variant` in the file, or take one of the two away "
            "(`probeline scores remove`)",
        )


_NONE = pd.DataFrame(columns=list(COLUMNS))

_Said = dict[tuple[str, str], dict[str, tuple[str, str]]]
"""By dimension and word: for each name, the word and who says it."""


def _words_of_study(study: Study) -> _Said:
    source = str(PARAMS)
    models = {
        ("model", word): {n: (getattr(m, word), source) for n, m in study.models.items()}
        for word in MODEL_WORDS
    }
    datasets = {
        ("dataset", word): {n: (getattr(d, word) or "", source) for n, d in study.datasets.items()}
        for word in DATASET_WORDS
    }
    return {**models, **datasets}


def _agree_on(said: _Said, path: Path, table: pd.DataFrame, dimension: str, word: str) -> None:
    """Add what a file says of its models (or data sets), unless it was said otherwise."""
    known = said[dimension, word]
    pairs = table[[dimension, word]].drop_duplicates()
    for name, value in pairs.itertuples(index=False):
        if value in ("", "unknown"):
            continue
        before, source = known.setdefault(name, (value, str(path)))
        if before != value:
            raise ProbelineError(
                str(path),
                f"says otherwise of {dimension} {name} than {source}",
                expected=f"{word} {before or 'not said'}",
                found=value,
                remedy=f"change one of the two, or empty its {word} in the file",
            )
