"""The statistics of a study, by name: each is one function of the evidence, and one tidy table.

Every statistic returns a labelled data set whose variables all have the same dimensions, so that it
is one table as well: `results/statistics/NAME.csv`. Its attributes say what was done
(``definition``, ``source``, ``interval``) and, where it has nothing to say, why (``withheld``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import xarray as xr

from pipeline.results.score_table import to_csv
from pipeline.statistics.against_null import against_null_models, null_models, without_strongest
from pipeline.statistics.averages import averages, concordance, leaders_without
from pipeline.statistics.budgets import label_curves
from pipeline.statistics.calibration import calibration, risk_coverage
from pipeline.statistics.choosing import choosing
from pipeline.statistics.class_errors import class_accuracy, confusions
from pipeline.statistics.column import Column
from pipeline.statistics.columns import COLUMNS
from pipeline.statistics.comparison import comparison
from pipeline.statistics.complexity_gap import complexity_gap
from pipeline.statistics.disattenuation import disattenuated_pearson, reliability
from pipeline.statistics.embedding_map import embedding_map
from pipeline.statistics.enough_images import enough_images
from pipeline.statistics.enough_labels import enough_labels
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.explained import objective_share, variance_explained
from pipeline.statistics.fidelity_cost import fidelity_cost
from pipeline.statistics.group_shortcuts import group_labels, group_neighbors
from pipeline.statistics.headline_pairs import headline_pairs
from pipeline.statistics.label_crossing import label_crossing
from pipeline.statistics.label_gap import label_gap
from pipeline.statistics.mean_scores import mean_pairs, mean_scores
from pipeline.statistics.model_pairs import model_pairs
from pipeline.statistics.new_target import behaves_like, new_target
from pipeline.statistics.normalization_effect import normalization_effect, normalization_ranking
from pipeline.statistics.overall_ranks import overall_ranks
from pipeline.statistics.power import power, power_curves
from pipeline.statistics.predictor_tests import normalization_tests, predictor_differences
from pipeline.statistics.ranks import ranks
from pipeline.statistics.robustness import effective_robustness, transfer_residual
from pipeline.statistics.seen_effect import seen_effect
from pipeline.statistics.shift_groups import correlations_by_shift
from pipeline.statistics.target_checks import target_checks
from pipeline.statistics.trust import trust
from pipeline.statistics.why import gap_sensitivity, gaps
from pipeline.statistics.within import predictors_given_backbone, within_backbones
from pipeline.statistics.wrong_images import shared_errors, wrong_images

STATISTICS: Mapping[str, Callable[[Evidence], xr.Dataset]] = {
    "mean_scores": mean_scores,
    "mean_pairs": mean_pairs,
    "target_checks": target_checks,
    "trust": trust,
    "comparison": comparison,
    "predictor_differences": predictor_differences,
    "null_models": null_models,
    "against_null_models": against_null_models,
    "without_strongest": without_strongest,
    "choosing": choosing,
    "fidelity_cost": fidelity_cost,
    "normalization_tests": normalization_tests,
    "headline_pairs": headline_pairs,
    "reliability": reliability,
    "disattenuated_pearson": disattenuated_pearson,
    "model_pairs": model_pairs,
    "gaps": gaps,
    "gap_sensitivity": gap_sensitivity,
    "objective_share": objective_share,
    "variance_explained": variance_explained,
    "within_backbones": within_backbones,
    "normalization_effect": normalization_effect,
    "normalization_ranking": normalization_ranking,
    "correlations_by_shift": correlations_by_shift,
    "effective_robustness": effective_robustness,
    "transfer_residual": transfer_residual,
    "label_curves": label_curves,
    "label_gap": label_gap,
    "label_crossing": label_crossing,
    "complexity_gap": complexity_gap,
    "predictors_given_backbone": predictors_given_backbone,
    "ranks": ranks,
    "overall_ranks": overall_ranks,
    "averages": averages,
    "leaders_without": leaders_without,
    "concordance": concordance,
    "power": power,
    "power_curves": power_curves,
    "new_target": new_target,
    "behaves_like": behaves_like,
    "enough_images": enough_images,
    "enough_labels": enough_labels,
    "seen_effect": seen_effect,
    "class_accuracy": class_accuracy,
    "confusions": confusions,
    "wrong_images": wrong_images,
    "shared_errors": shared_errors,
    "calibration": calibration,
    "risk_coverage": risk_coverage,
    "embedding_map": embedding_map,
    "group_labels": group_labels,
    "group_neighbors": group_neighbors,
}
"""In the order in which the report speaks of them."""


def own_columns(name: str) -> dict[str, Column]:
    """Columns that mean what only this statistic's module says: its `COLUMNS`."""
    found: dict[str, Column] = getattr(sys.modules[STATISTICS[name].__module__], "COLUMNS", {})
    return found


def column_of(statistic: str, name: str) -> Column:
    """A column of a statistic's table; ``X_low`` is an end of X's interval.

    Raises
    ------
    KeyError
        When nobody has said it.
    """
    known = COLUMNS | own_columns(statistic)
    if found := known.get(f"{statistic}.{name}") or known.get(name):
        return found
    of, _, end = name.rpartition("_")
    if end not in ("low", "high"):
        raise KeyError(name)
    which = {"low": "lower", "high": "upper"}[end]
    return Column(f"{which} end of the interval of {of}", column_of(statistic, of).unit)


def tidy(statistic: xr.Dataset) -> str:
    """A statistic as CSV: a row for each combination of labels that has any number."""
    if not statistic.data_vars:
        return ""
    table = statistic.to_dataframe()
    numbers = list(statistic.data_vars)
    return to_csv(table.dropna(how="all", subset=numbers).reset_index())
