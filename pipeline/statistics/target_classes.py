"""The target's classes one by one: how many of its test images each likely best model has right."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import image_noise, no_outcomes
from pipeline.statistics.mean_scores import TARGET, mean_tests
from pipeline.statistics.target_checks import deciding_protocol
from pipeline.statistics.withheld import withheld

_DEFINITION = (
    "test images of each class of the target, and how many of them are right by the deciding "
    "protocol (of draws, their mean), for models within chance of the best. weak: 1 where the "
    "class's upper limit (high) lies below the model's share over all of them"
)


def target_classes(evidence: Evidence) -> xr.Dataset:
    """Right answers by class.

    Returns
    -------
    Dataset
        Dimensions model and class (of several data sets ``data set: class``); variables right,
        images, high (upper limit of the share, for all classes at once) and weak.
    """
    protocol = deciding_protocol(evidence)
    if not protocol or not image_noise(evidence).columns:
        return withheld(_DEFINITION, no_outcomes(evidence))
    variant = evidence.headline[protocol]
    tests = mean_tests(evidence).get((protocol, TARGET))
    near = None if tests is None else np.array(tests.models)[tests.within_chance].tolist()
    parts = []
    for dataset in evidence.target:
        test = evidence.tests.get(dataset)
        if test is None:
            continue
        hits = evidence.read_hits(variant, dataset)
        models = [name for name in hits.models if near is None or name in near]
        if not models:
            continue
        names = test.classes or tuple(map(str, range(test.n_classes)))
        shown = names if len(evidence.target) == 1 else [f"{dataset}: {name}" for name in names]
        rows = hits.hits[[hits.models.index(name) for name in models]].astype(np.float64)
        judged = np.isfinite(rows)
        count = [
            np.stack([np.bincount(test.labels, row, len(names)) for row in part])
            for part in (np.where(judged, rows, 0.0), judged.astype(np.float64))
        ]
        parts.append(
            xr.Dataset(
                {key: (("model", "class"), of) for key, of in zip(("right", "images"), count,
                                                                  strict=True)},
                coords={"model": models, "class": list(shown)},
            )
        )  # fmt: skip
    if not parts:
        return withheld(_DEFINITION, "no data set of the target has per-image outcomes")
    found = xr.concat(parts, "class", join="inner") if len(parts) > 1 else parts[0]
    right, images = found["right"].values, found["images"].values
    alpha = (1 - evidence.settings.confidence) / right.shape[1]
    wrong = np.maximum(images - right, 0)
    high = np.where(wrong > 0, stats.beta.isf(alpha, right + 1, np.maximum(wrong, 1e-9)), 1.0)
    overall = right.sum(axis=1, keepdims=True) / np.maximum(images.sum(axis=1, keepdims=True), 1)
    dims = found["right"].dims
    weak = (high < overall).astype(float)
    return found.assign(high=(dims, high), weak=(dims, weak)).assign_attrs(
        definition=_DEFINITION,
        deciding=protocol,
        interval=f"{evidence.settings.confidence:.0%}, one-sided, Bonferroni over the classes",
        source="Clopper & Pearson 1934",
    )
