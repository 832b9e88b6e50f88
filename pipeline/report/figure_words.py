"""What each figure of the report shows, for readers who do not see it, and for those who do."""

from __future__ import annotations

SHOWS = {
    "ranks": "A row for each model: its rank on a data set as a point, and as a line all ranks that "
    "are possible.",
    "label_curves": "Accuracy against the number of labels, a line for each model.",
    "label_gap": "How far supervised models lie above self-supervised ones, in points, against the "
    "number of labels, with intervals.",
    "complexity_gap": "The same difference against the number of classes.",
    "finetune_curves": "Loss on the training images and share of right test images, epoch by epoch, "
    "a line for each model.",
    "correlation": "A map with a row and a column for each protocol on each data set: the darker a "
    "cell, the more alike the two order the models.",
    "scatter_": "A point for each model: its score on the data set chosen for x against that on the "
    "one chosen for y.",
    "fidelity_cost": "A point for each predictor: how well it orders the models against what it "
    "costs. Filled points are the best for their cost.",
    "cheap_predictors": "A point for each cheap predictor: its correlation with the scores, with its "
    "interval, raw and given the backbone.",
    "enough_labels": "How much accuracy the chosen model loses against the best one, by the number "
    "of labels a class that it was chosen with.",
    "enough_images": "How much accuracy the chosen model loses against the best one, by the number "
    "of test images that it was chosen with.",
    "cka_map": "A map with a row and a column for each model: the darker a cell, the more alike the "
    "two place the same test images.",
    "effective_robustness": "A point for each model: its score on shifted images against that at "
    "home, beside the line of the baseline models.",
    "transfer_residual": "A point for each model: its score out of domain against that in domain, "
    "beside the line through the others.",
}
"""By a figure's name, or by how several begin."""


def shows(name: str) -> str:
    """What a figure shows; empty of one that nobody described."""
    return SHOWS.get(name) or next((of for key, of in SHOWS.items() if name.startswith(key)), "")
