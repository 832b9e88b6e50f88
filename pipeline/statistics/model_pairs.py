"""F3: which models differ, on a data set and by their means: all pairs tested together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_draws import normal_draws
from pipeline.statistics.image_noise import (
    Column,
    draw_together,
    image_noise,
    no_outcomes,
)
from pipeline.statistics.multiplicity import benjamini_hochberg
from pipeline.statistics.pair_tests import FEW_DISCORDANT, Paired, PairTests, compare_pairs
from pipeline.statistics.remembered import remembered_of_headlines
from pipeline.statistics.table import blank, fill, tabled, withheld

DRAWS = 10_000

MOST_MODELS = 200
"""Beyond this, pairs are no table (there would be 20,000 of them on each data set), and their
tests are corrected by Holm."""

NUMBERS = ("difference", "low", "high", "p", "p_corrected", "p_bh", "differs")

CORRECTED = (
    f"p_corrected: for all pairs at once, step-down max-t over {DRAWS:,} draws of test images; of "
    f"pairs that differ on fewer than {FEW_DISCORDANT} images, and above {MOST_MODELS} models, "
    "Holm. differs: whether p_corrected is at most 1 - confidence, or it follows from pairs of "
    "which it is"
)
SOURCE = "McNemar 1947; Romano & Wolf 2005; Mogstad, Romano, Shaikh & Wilhelm 2024"


@remembered_of_headlines
def pair_tests(evidence: Evidence) -> Mapping[Column, PairTests]:
    """Of every protocol's headline on every data set with outcomes of 2 models or more."""
    confidence = evidence.settings.confidence
    by_images: dict[int, list[Column]] = {}
    tests = {}
    for name, column in image_noise(evidence).columns.items():
        if len(column.models) > MOST_MODELS:
            tests[name] = compare_pairs(column, None, confidence)
        elif len(column.models) > 1:
            by_images.setdefault(column.sample, []).append(name)
    for names in by_images.values():
        columns = [image_noise(evidence).columns[name] for name in names]
        rng = np.random.default_rng(0)  # its own: other data sets change no answer on this one
        for name, column, drawn in zip(
            names, columns, draw_together(columns, DRAWS, rng), strict=True
        ):
            tests[name] = compare_pairs(column, drawn, confidence)
    return tests


def compare_normal(means: Paired, confidence: float, *, drawn: bool = True) -> PairTests:
    """Test all pairs of models by max-t of normal draws; or, of too many to draw for, by Holm."""
    if not drawn:
        return compare_pairs(means, None, confidence)
    rng = np.random.default_rng(0)
    return compare_pairs(
        means, normal_draws(means.scores, means.covariance, DRAWS, rng), confidence
    )


def model_pairs(evidence: Evidence) -> xr.Dataset:
    """Differences between all pairs of models, by protocol and data set."""
    definition = (
        "score of `model` less that of `rival` by each protocol's headline, each pair once in the "
        "study's order. p: exact McNemar test, normal where images are no hits or misses or weigh "
        f"differently. {CORRECTED}. p_bh: for exploration"
    )
    tests = {
        name: found for name, found in pair_tests(evidence).items()
        if len(found.models) <= MOST_MODELS
    }  # fmt: skip
    if not tests:
        few = (
            f"there are outcomes of fewer than 2 models, or of more than {MOST_MODELS}, on every "
            "data set"
        )
        reason = few if image_noise(evidence).columns else no_outcomes(evidence)
        return withheld(definition, reason)
    variants = list(dict.fromkeys(variant for variant, _ in tests))
    axes = {"variant": variants, "dataset": evidence.datasets()}
    return pair_table(evidence, axes, tests, definition)


def pair_table(
    evidence: Evidence,
    axes: Mapping[str, list[str]],
    tests: Mapping[tuple[str, str], PairTests],
    definition: str,
) -> xr.Dataset:
    """A row for each pair of models of each test.

    Parameters
    ----------
    evidence : Evidence
    axes : mapping of str to list of str
        Two dimensions, and their labels, by which `tests` are named.
    tests : mapping of tuple of str to PairTests
    definition : str
    """
    names = evidence.models
    labels = {**axes, "model": names, "rival": names}
    table = blank(labels, NUMBERS)
    one, other = axes.values()
    for (first, second), found in tests.items():
        places = np.array([names.index(model) for model in found.models])
        upper = np.triu_indices(len(places), 1)
        at = (one.index(first), other.index(second), places[upper[0]], places[upper[1]])
        own = {name: getattr(found, name)[upper] for name in NUMBERS if name != "p_bh"}
        fill(table, at, own | {"p_bh": benjamini_hochberg(found.p[upper])})
    return tabled(
        labels,
        table,
        definition=definition,
        source=SOURCE,
        interval=f"{evidence.settings.confidence:.0%}, for all pairs at once; it contains "
        "0, or ends there, where a pair is within chance",
    )
