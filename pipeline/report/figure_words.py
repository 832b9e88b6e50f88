"""What each figure of the report shows, for readers who do not see it, and for those who do."""

from __future__ import annotations

SHOWS = {
    "ranks": "A row for each model: its rank as a point, the possible ranks as a line.",
    "label_curves": "Accuracy against the number of labels, a line for each model.",
    "label_gap": "How far supervised models lie above self-supervised ones, in points, against the "
    "number of labels, with intervals.",
    "complexity_gap": "The same difference against the number of classes.",
    "finetune_curves": "Training epoch by epoch, a line for each model.",
    "correlation": "A row and a column for each protocol on each data set: the darker a cell, the "
    "more alike the two order the models.",
    "scatter_": "A point for each model: its score on the data set chosen for x against that on "
    "the one chosen for y.",
    "fidelity_cost": "A point for each predictor: how well it orders the models against its cost.",
    "cheap_predictors": "A point for each transferability metric: its correlation with the scores.",
    "enough_labels": "Points lost by the model that is chosen with so many labels a class.",
    "enough_images": "Points lost by the model that is chosen with so many test images.",
    "cka_map": "A row and a column for each model: the darker a cell, the more alike the two place "
    "the same test images.",
    "effective_robustness": "A point for each model: its score on shifted images against that at "
    "home, beside the line of the baseline models.",
    "transfer_residual": "A point for each model: its score out of domain against that in domain, "
    "beside the line through the others.",
}
"""By a figure's name, or by how several begin."""


def shows(name: str) -> str:
    """What a figure shows; empty of one that nobody described."""
    return SHOWS.get(name) or next((of for key, of in SHOWS.items() if name.startswith(key)), "")
