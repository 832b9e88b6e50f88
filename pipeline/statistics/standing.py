"""How each model stands beside the others: what tables of ranks and of means share."""

from __future__ import annotations

import numpy as np

from pipeline.statistics.arrays import Floats
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.model_pairs import SOURCE
from pipeline.statistics.pair_tests import PairTests
from pipeline.statistics.rank_sets import ranks_of
from pipeline.statistics.tie_cost import POWER

STANDING = (
    "rank", "best_rank", "worst_rank", "within_chance", "behind", "behind_high", "as_good",
    "images_to_tell", "images",
)  # fmt: skip


def standing(tests: PairTests, margin: float) -> dict[str, Floats]:
    """The variables of `STANDING`, each of shape (n_models,).

    Parameters
    ----------
    tests : PairTests
    margin : float
        By how much a model may lie behind the best and still be as good.
    """
    best, worst = tests.rank_sets
    scores, tied = tests.paired.scores, tests.within_chance
    found = {
        "rank": ranks_of(scores),
        "best_rank": best,
        "worst_rank": worst,
        "within_chance": tied,
        "behind": scores.max() - scores,
        "behind_high": tests.behind_high,
        "as_good": tests.behind_high < margin,
        "images_to_tell": np.where(tied, tests.images_to_tell(margin), np.nan),
        "images": np.full(len(scores), tests.paired.images),
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def standing_attributes(evidence: Evidence) -> dict[str, str]:
    """What the variables of `STANDING` are."""
    confidence, margin = evidence.settings.confidence, 100 * evidence.margin
    return {
        "interval": f"{confidence:.0%} over test images. best_rank to worst_rank: ranks that hold "
        "for all models at once, from all pairs (see model_pairs)",
        "within_chance": "1 where the best possible rank is 1: no model is known to be better; not "
        "transitive",
        "behind_high": f"{confidence:.0%} upper limit, for all models at once, of how far the "
        "model lies behind the best (Hsu's multiple comparisons with the best); as_good: it is "
        f"below report.margin, {margin:g} point{'' if margin == 1 else 's'}",
        "images_to_tell": "of models within chance: test images with which one that truly lies "
        f"report.margin behind the leader is told from it in {POWER:.0%} of cases (McNemar's test, "
        "Bonferroni over all pairs)",
        "source": f"{SOURCE}; Hsu 1981; Connor 1987",
    }
