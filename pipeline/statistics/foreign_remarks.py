"""What imported scores lack, for the person who imports them; none of it is an error."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.statistics.correlation import MIN_MODELS
from pipeline.statistics.panel import ASSUMED_TESTS
from pipeline.statistics.written import counted


def remarks(scores: pd.DataFrame) -> list[str]:
    """What will keep statistics from saying anything of imported scores.

    Parameters
    ----------
    scores : DataFrame
        See `pipeline.results.foreign_file.ForeignFile`.
    """
    return [*_gaps(scores), *_too_little(scores), *_unsaid(scores)]


def _gaps(scores: pd.DataFrame) -> list[str]:
    found = []
    if empty := int(scores["value"].isna().sum()):
        found.append(f"{counted(empty, 'row')} without a value: missing, never filled in")
    scored = scores.dropna(subset="value")
    if none := sorted(set(scores["dataset"]) - set(scored["dataset"])):
        found.append(f"no score at all on {_some(none)}")
    return found


def _too_little(scores: pd.DataFrame) -> list[str]:
    found = []
    columns = scores.dropna(subset="value").groupby(["dataset", "protocol", "variant", "metric"])
    spread = columns["value"].agg(["nunique", "size"]).query("nunique == 1 and size > 1")
    if len(spread):
        names = dict.fromkeys(f"{dataset} by {protocol}" for dataset, protocol, *_ in spread.index)
        found.append(f"the same score for every model on {_some(list(names))}")
    if (models := scores["model"].nunique()) < MIN_MODELS:
        found.append(f"{models} models: correlations over fewer than {MIN_MODELS} are withheld")
    return found


def _unsaid(scores: pd.DataFrame) -> list[str]:
    why = {
        "family": "intervals leave out one model at a time, so they say nothing about models of "
        "other families, and differences between predictors are not tested",
        "role": "no data set is in_domain or out_of_domain",
        "n_test": f"logits and intervals are of {ASSUMED_TESTS:,} assumed test images (say how "
        "many there are: --n-test N, or DATASET=N)",
    }
    return [
        f"no {column}: {consequence}, unless another source says it"
        for column, consequence in why.items()
        if (scores[column].isna() | (scores[column] == "")).all()
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
