"""What changes where scores on data sets that models were trained on are kept, or left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.statistics.comparison import ground_means
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.fidelity import fidelity
from pipeline.statistics.panel import MEAN, headline_panel
from pipeline.statistics.table import tabled, withheld
from pipeline.statistics.unseen import seen_outside, without_seen
from pipeline.study.finetune import FINETUNE

NOTHING_SEEN = (
    "no model is known to be trained on a data set of this study that is not in domain (say so of "
    "your own by `trained_on`)"
)

EVALUATION, MODEL = "evaluation", "model"
"""What a row of the table asks for: the best of which."""

_DEFINITION = (
    "The best evaluation for each set of targets (highest mean ρ on common ground, fine-tuning not "
    "counted), and the best model by each protocol's headline, on each data set with a model that "
    "was trained on it and by the mean over data sets; with the scores of models on data sets that "
    "they were trained on, and without. In-domain data sets stay: in domain means what the models "
    "were trained on"
)


@dataclass(frozen=True)
class Change:
    """One row of the table.

    Attributes
    ----------
    asks : {"evaluation", "model"}
    of : str
        A set of targets, or a protocol.
    dataset : str
        "" of sets of targets; `MEAN` is the mean over data sets.
    kept, left : str
        The best with all scores, and without those; "" where there is none.
    kept_value, left_value : float
        Mean ρ, or the score; NaN where there is none.
    """

    asks: str
    of: str
    dataset: str
    kept: str
    left: str
    kept_value: float
    left_value: float

    @property
    def is_another(self) -> bool:
        """Whether the best is another one."""
        return self.kept != self.left


def seen_effect(evidence: Evidence) -> xr.Dataset:
    """The best with and without scores on data sets that models were trained on.

    Returns
    -------
    Dataset
        Dimension question; variables kept_value and left_value; coordinates asks, of, dataset,
        kept and left: see `Change`.
    """
    whole = evidence.everything or evidence
    gone = seen_outside(whole)
    if not gone:
        return withheld(_DEFINITION, NOTHING_SEEN)
    datasets = list(dict.fromkeys(dataset for _, dataset in gone))
    kept, left = (dict(_bests(of, datasets)) for of in (whole, without_seen(whole)))
    keys = list(dict.fromkeys([*kept, *left]))
    nobody = ("", np.nan)
    rows = [(key, *kept.get(key, nobody), *left.get(key, nobody)) for key in keys]
    texts = {
        "asks": [key[0] for key in keys],
        "of": [key[1] for key in keys],
        "dataset": [key[2] for key in keys],
        "kept": [row[1] for row in rows],
        "left": [row[3] for row in rows],
    }
    return tabled(
        {"question": range(len(rows))},
        {"kept_value": [row[2] for row in rows], "left_value": [row[4] for row in rows]},
        {name: ("question", np.array(of, np.str_)) for name, of in texts.items()},
        definition=_DEFINITION,
        cells=len(gone),
    )


def changes(table: xr.Dataset) -> list[Change]:
    """The rows of `seen_effect`; none where it is withheld."""
    if not table.data_vars:
        return []
    rows = table.to_dataframe()[[*Change.__dataclass_fields__]]
    return [Change(*row) for row in rows.itertuples(index=False)]


def _bests(
    evidence: Evidence, datasets: list[str]
) -> Iterator[tuple[tuple[str, str, str], tuple[str, float]]]:
    trusted = fidelity(evidence)
    if not isinstance(trusted, str):
        counts = np.array([p.protocol != FINETUNE.name for p in trusted.found.predictors])
        for name in trusted.found.common_sets:
            means = np.where(counts, ground_means(trusted, name), np.nan)
            if np.isfinite(means).any():
                first = int(np.nanargmax(means))
                best = trusted.found.predictors[first].name
                yield (EVALUATION, name, ""), (best, float(means[first]))
    panel = headline_panel(evidence).sel(scale="accuracy")
    for protocol in evidence.headline:
        for dataset in (*datasets, MEAN):
            scores = panel.sel(protocol=protocol, dataset=dataset).values
            if np.isfinite(scores).any():
                first = int(np.nanargmax(scores))
                yield (MODEL, protocol, dataset), (evidence.models[first], float(scores[first]))
