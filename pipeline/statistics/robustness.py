"""How well models bear a change of domain: effective robustness, and transfer residuals.

Effective robustness (Taori et al. 2020) compares the accuracies of the *same* head on two data
sets: of the transfer protocol, whose heads are trained on A and tested on B, with the same head's
accuracy on A's own test images. With a head per data set the two accuracies are of different
classifiers; their leave-one-out residual is only called a transfer residual here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit

from pipeline.results.cube import comparable
from pipeline.statistics.baseline_fit import MIN_BASELINE, judge
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import image_noise
from pipeline.statistics.panel import logit, words
from pipeline.statistics.withheld import withheld
from pipeline.study.knn import KNN
from pipeline.study.linear import LINEAR
from pipeline.study.transfer import TRANSFER
from pipeline.study.variant import Variant

Floats = NDArray[np.float64]

ROBUSTNESS = (
    "logit accuracy of a head on another data set, less what a line through the baseline models "
    "(without the model judged) expects from the same head's logit accuracy at home"
)
RESIDUAL = (
    "logit accuracy less what a line through all other models expects from the in-domain logit "
    "accuracy; a head of its own on each data set"
)
NUMBERS = (
    "accuracy", "expected", "value", "band", "outside", "slope", "beyond", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """A probe trained on one data set that others are tested with.

    Attributes
    ----------
    variant : str
        Of the transfer protocol.
    home : str
        The same head's variant on its own data set.
    source : str
        That data set.
    """

    variant: str
    home: str
    source: str


def heads_of(variants: Collection[Variant]) -> list[Head]:
    """Transferred probes that were tested at home, too.

    ``transfer/from_A_knn_study`` is ``knn/study`` on A, ``transfer/from_A_ridge_none`` is
    ``linear/ridge_none`` on A. Features moved to the target's statistics are other probes.
    """
    there = set(variants)
    homes = {
        moved: replace(moved, protocol=(KNN if moved.head == "knn" else LINEAR).name, source="")
        for moved in variants
        if moved.source
    }
    return [
        Head(moved.full_name, home.full_name, moved.source)
        for moved, home in homes.items()
        if home in there
    ]


def effective_robustness(evidence: Evidence, baseline: Sequence[str] | None = None) -> xr.Dataset:
    """Of every transferred probe whose classes are the same on both data sets.

    Parameters
    ----------
    evidence : Evidence
    baseline : sequence of str, optional
        Models that the lines are fitted to; all supervised ones if not given.

    Returns
    -------
    Dataset
        Dimensions head (variant), dataset and model; variables of `NUMBERS`: accuracy, expected
        (accuracy on the line), value (the residual, logits), band (half its prediction band),
        outside (-1, 0, 1), slope, beyond (extrapolation, logits) and n (baseline models).
    """
    cube = evidence.cube
    chosen = words(evidence, "supervision") == "supervised"
    if baseline is not None:
        chosen = np.isin(evidence.models, list(baseline))
    heads = heads_of(evidence.variants.values())
    if not heads:
        return withheld(ROBUSTNESS, "no head was tested both at home and on another data set")
    if chosen.sum() < MIN_BASELINE:
        return withheld(
            ROBUSTNESS,
            f"{chosen.sum()} baseline models (supervised ones, unless declared); at least "
            f"{MIN_BASELINE} are needed",
        )
    table = comparable(cube, evidence.settings.metric)
    sharing = {}
    for head in sorted(heads, key=lambda h: h.variant != evidence.headline.get(TRANSFER.name)):
        if head.source not in sharing:
            sharing[head.source] = _same_classes(evidence, head)
    rows = [
        [
            _against(evidence, table.sel(variant=head.home, dataset=head.source),
                     table.sel(variant=head.variant, dataset=target), chosen)
            if target in sharing[head.source] else None
            for target in evidence.datasets()
        ]
        for head in heads
    ]  # fmt: skip
    found = _table(
        rows,
        {
            "head": [head.variant for head in heads],
            "dataset": evidence.datasets(),
            "model": evidence.models,
        },
        ROBUSTNESS,
        evidence,
    )
    found.attrs["baseline"] = ", ".join(np.array(evidence.models)[chosen])
    found.attrs["source"] = "Taori et al. 2020, arXiv 2007.00644"
    found.attrs["withheld"] = "data sets whose classes are not all those of the head"
    return found


def transfer_residual(evidence: Evidence) -> xr.Dataset:
    """Of every protocol's headline, from each in-domain data set to each other one.

    Returns
    -------
    Dataset
        Dimensions protocol, in_domain, dataset and model; variables as `effective_robustness`.
    """
    inside = evidence.datasets("in_domain")
    headline = {p: v for p, v in evidence.headline.items() if p != TRANSFER.name}
    if not inside or not headline:
        return withheld(RESIDUAL, "no in-domain data set")
    table = comparable(evidence.cube, evidence.settings.metric)
    everyone = np.ones(len(evidence.models), bool)
    rows = [
        [
            _against(evidence, table.sel(variant=variant, dataset=source),
                     table.sel(variant=variant, dataset=target), everyone)
            if target != source else None
            for target in evidence.datasets()
        ]
        for variant in headline.values() for source in inside
    ]  # fmt: skip
    return _table(
        rows,
        {
            "protocol": list(headline),
            "in_domain": inside,
            "dataset": evidence.datasets(),
            "model": evidence.models,
        },
        RESIDUAL,
        evidence,
    )


def _same_classes(evidence: Evidence, head: Head) -> set[str]:
    """Data sets with exactly the classes of a head's own: of them it judged every test image."""
    home = evidence.tests.get(head.source)
    alike = {
        name: test
        for name, test in evidence.tests.items()
        if home is not None
        and name != head.source
        and test.n_classes == home.n_classes
        and len(np.unique(test.labels)) == test.n_classes
    }
    return {
        name for name, test in alike.items() if _judged(evidence, head, name) == len(test.paths)
    }


def _judged(evidence: Evidence, head: Head, dataset: str) -> int:
    """Test images that every model's head was judged on."""
    if head.variant == evidence.headline.get(TRANSFER.name):  # these outcomes are read already
        column = image_noise(evidence).columns.get((head.variant, dataset))
        if column is not None:
            return column.images
    hits = evidence.read_hits(head.variant, dataset).hits
    return int(np.isfinite(hits).all(axis=0).sum()) if hits.size else 0


def _against(
    evidence: Evidence, home: xr.DataArray, away: xr.DataArray, baseline: NDArray[np.bool_]
) -> dict[str, Floats]:
    """The variables of `NUMBERS`, each of shape (n_models,)."""
    n_test = evidence.cube["n_test"]
    x, y = (
        logit(part.values, n_test.sel(dataset=part["dataset"].item()).values)
        for part in (home, away)
    )
    found = judge(x, y, baseline, evidence.settings.confidence)
    value = y - found.expected
    beyond = (value > found.half).astype(np.float64) - (value < -found.half)
    outside = np.where(np.isfinite(value), beyond, np.nan)
    return {
        "accuracy": away.values,
        "expected": expit(found.expected),
        "value": value,
        "band": found.half,
        "outside": outside,
        "slope": found.slope,
        "beyond": found.beyond,
        "n": found.n.astype(np.float64),
    }


def _table(
    rows: list[list[dict[str, Floats] | None]],
    coords: dict[str, list[str]],
    definition: str,
    evidence: Evidence,
) -> xr.Dataset:
    shape = [len(labels) for labels in coords.values()]
    blank = np.full(len(evidence.models), np.nan)

    def cells(name: str) -> Iterator[Floats]:
        for row in rows:
            for cell in row:
                yield blank if cell is None else cell[name]

    return xr.Dataset(
        {name: (tuple(coords), np.stack(list(cells(name))).reshape(shape)) for name in NUMBERS},
        coords=coords,
        attrs={
            "definition": definition,
            "interval": f"band: half of the {evidence.settings.confidence:.0%} prediction band; "
            f"no line below {MIN_BASELINE} models",
        },
    )
