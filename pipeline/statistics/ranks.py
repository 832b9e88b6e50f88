"""Ranks of the models on every data set, how sure they are, and what a tie costs."""

from __future__ import annotations

import xarray as xr

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import image_noise, no_outcomes
from pipeline.statistics.model_pairs import pair_tests
from pipeline.statistics.standing import STANDING, standing, standing_attributes
from pipeline.statistics.table import blank, fill, tabled, withheld
from pipeline.statistics.unpaired import CONSERVATIVE, unpaired_columns, unpaired_tests

DEFINITION = (
    "rank of each model by the protocol's headline variant, 1 is best; ranks that are possible; "
    "and how far the model may lie behind the best"
)


def ranks(evidence: Evidence) -> xr.Dataset:
    """Ranks with simultaneous sets, who is within chance of the best, and what the tie costs.

    Returns
    -------
    Dataset
        Dimensions protocol, dataset and model; score and the variables of `STANDING`.
    """
    tests, unpaired = pair_tests(evidence), unpaired_columns(evidence)
    if not tests and not unpaired:
        few = "there are scores or outcomes of fewer than 2 models on every data set"
        return withheld(DEFINITION, few if image_noise(evidence).columns else no_outcomes(evidence))
    labels = {
        "protocol": evidence.headline,
        "dataset": evidence.datasets(),
        "model": evidence.models,
    }
    values = blank(labels, ("score", *STANDING))
    place = {name: i for i, name in enumerate(evidence.models)}
    for p, variant in enumerate(evidence.headline.values()):
        for d, dataset in enumerate(evidence.datasets()):
            found = tests.get((variant, dataset))
            if found is None and (variant, dataset) in unpaired:
                found = unpaired_tests(evidence, (variant, dataset))
            if found is None:
                continue
            at = (p, d, [place[name] for name in found.models])
            fill(values, at, {"score": found.paired.scores} | standing(found, evidence.margin))
    return tabled(
        labels,
        values,
        definition=DEFINITION,
        **standing_attributes(evidence),
        conservative=CONSERVATIVE if unpaired else "",
        unpaired=", ".join(dict.fromkeys(v for v, _ in unpaired)),
    )
