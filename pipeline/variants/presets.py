"""The published ways of voting that `knn.presets` of params.yaml names."""

from __future__ import annotations

from pipeline.variants.variant import Variant

TUNED = Variant(protocol="knn", head="knn", tuned=True)
"""Which space and way of voting that is, leave-one-out on train decides."""

PRESETS = {
    # arXiv 2407.12210: k = 20, 1/distance, with and without z-scoring by the train split.
    "study": tuple(
        Variant(
            protocol="knn",
            head="knn",
            preset="study",
            distance="euclidean",
            k=20,
            weighting="distance",
            normalization=normalization,
        )
        for normalization in ("none", "zscore")
    ),
    # DINO's evaluation (arXiv 2104.14294).
    "dino": tuple(
        Variant(
            protocol="knn",
            head="knn",
            preset="dino",
            distance="cosine",
            k=k,
            weighting="softmax",
            temperature=0.07,
            normalization="none",
        )
        for k in (10, 20, 100, 200)
    ),
}
