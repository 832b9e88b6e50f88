"""How well models bear a change of domain: effective robustness, and transfer residuals.

Effective robustness (Taori et al. 2020) compares the accuracies of the *same* head on two data
sets: of the transfer protocol, whose heads are trained on A and tested on B, with the same head's
accuracy on A's own test images; or of an imported classifier that was tested as it is on all data
sets (protocol `classifier`, or what `correlation.classifiers` names). With a head per data set the
two accuracies are of different classifiers; their leave-one-out residual is only called a transfer
residual here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy
import xarray as xr

from pipeline.results.cube import comparable
from pipeline.statistics.arrays import Floats, Mask
from pipeline.statistics.baseline_fit import MIN_BASELINE, bend, judge
from pipeline.statistics.evidence import Evidence
from pipeline.statistics.image_noise import image_noise
from pipeline.statistics.panel import ASSUMED_TESTS, logit, words
from pipeline.statistics.table import blank, fill, tabled, withheld
from pipeline.study.knn import KNN
from pipeline.study.linear import LINEAR
from pipeline.study.transfer import TRANSFER
from pipeline.study.variant import Variant

ROBUSTNESS = (
    "logit accuracy of a head on another data set, less what a line through the baseline models "
    "(without the model judged) expects from the same head's logit accuracy at home"
)
RESIDUAL = (
    "logit accuracy less what a line through all other models expects from the in-domain logit "
    "accuracy; a head of its own on each data set"
)
NUMBERS = (
    "accuracy", "expected", "value", "band", "outside", "slope", "beyond", "n", "near_chance",
    "bend",
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
    name : str
        In the table, where it is not called like its variant.
    homes : mapping of str to str
        Data sets away from home, and those at home with their classes alone; only these are judged.
        Without any: whatever has the head's own classes.
    pivots : mapping of str to str
        Data sets that were chosen to be hard for a model, and that model: of the models that are
        better at home than it, and of the others, each has a line of its own.
    """

    variant: str
    home: str
    source: str
    name: str = ""
    homes: Mapping[str, str] = field(default_factory=dict)
    pivots: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """In the table."""
        return self.name or self.variant


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


def declared_heads(evidence: Evidence) -> list[Head]:
    """Imported classifiers that were tested, as they are, on all data sets.

    Home is the first data set in the models' domain that is no other one's subset of classes; and
    for data sets with fewer classes those of `correlation.home`, as a head of their own.
    """
    subsets = {
        away: home for away, home in evidence.settings.home.items()
        if {away, home} <= set(evidence.datasets())
    }  # fmt: skip
    inside = [d for d in evidence.datasets("in_domain") if d not in subsets.values()]
    if not inside:
        return []
    heads = []
    for variant in evidence.headline.values():
        of = evidence.variants[variant]
        if of.protocol not in evidence.settings.classifiers:
            continue
        away = [d for d in evidence.datasets("out_of_domain") if d not in subsets.values()]
        heads.append(
            Head(variant, variant, inside[0], f"{of.label}, at home on {inside[0]}",
                 dict.fromkeys(away, inside[0]))
        )  # fmt: skip
        if subsets:
            heads.append(
                Head(variant, variant, inside[0], f"{of.label}, at home with the same classes",
                     subsets)
            )  # fmt: skip
        heads += _at_pivots(evidence, heads[-1 - bool(subsets) :])
    return heads


def _at_pivots(evidence: Evidence, heads: list[Head]) -> list[Head]:
    """The classifier on data sets with a pivot, each from the home with the fewest classes."""
    homes = {away: home for head in heads for away, home in head.homes.items()}
    pivots = {
        away: model
        for away, model in evidence.settings.pivot.items()
        if away in homes and model in evidence.models
    }
    if not pivots:
        return []
    label = evidence.variants[heads[0].variant].label
    name = f"{label}, a line on each side of {' and '.join(dict.fromkeys(pivots.values()))}"
    return [replace(heads[0], name=name, homes={d: homes[d] for d in pivots}, pivots=pivots)]


def effective_robustness(evidence: Evidence, baseline: Sequence[str] | None = None) -> xr.Dataset:
    """Of every probe, or classifier, that was tested at home and elsewhere as it is.

    Parameters
    ----------
    evidence : Evidence
    baseline : sequence of str, optional
        Models that the lines are fitted to; those declared if not given, else all supervised ones.

    Returns
    -------
    Dataset
        Dimensions head (variant), dataset and model; variables of `NUMBERS`: accuracy, expected
        (accuracy on the line), value (the residual, logits), band (half its prediction band),
        outside (-1, 0, 1), slope, beyond (extrapolation, logits), n (baseline models), near_chance
        (1: left out of the line and not judged) and bend (p of a bend in the baseline's line).
    """
    cube, declared = evidence.cube, baseline if baseline is not None else evidence.baseline
    chosen = words(evidence, "supervision") == "supervised"
    if declared is not None:
        chosen = np.isin(evidence.models, list(declared))
    heads = [*heads_of(evidence.variants.values()), *declared_heads(evidence)]
    if not heads:
        return withheld(ROBUSTNESS, "no head was tested both at home and on another data set")
    if chosen.sum() < MIN_BASELINE:
        return withheld(
            ROBUSTNESS,
            f"a line through baseline models takes {MIN_BASELINE} of them, and only {chosen.sum()} "
            f"{'is' if chosen.sum() == 1 else 'are'} "
            f"{'supervised' if declared is None else 'declared as such'}",
        )
    table = comparable(cube, evidence.settings.metric)
    sharing: dict[str, set[str]] = {}
    for head in sorted(heads, key=lambda h: h.variant != evidence.headline.get(TRANSFER.name)):
        if not head.homes and head.source not in sharing:
            sharing[head.source] = _same_classes(evidence, head)

    def judged(head: Head, target: str) -> dict[str, Floats] | None:
        home = head.homes.get(target, "") if head.homes else head.source
        if not home or (not head.homes and target not in sharing[head.source]):
            return None
        return _against(
            evidence,
            table.sel(variant=head.home, dataset=home),
            table.sel(variant=head.variant, dataset=target),
            chosen,
            head.pivots.get(target, ""),
        )

    found = _table(
        [[judged(head, target) for target in evidence.datasets()] for head in heads],
        {
            "head": [head.label for head in heads],
            "dataset": evidence.datasets(),
            "model": evidence.models,
        },
        ROBUSTNESS,
        evidence,
    )
    names = np.array(evidence.models)[chosen]
    found.attrs["baseline"] = ", ".join(names)
    found.attrs["baseline_models"] = len(names)
    found.attrs["source"] = (
        "Taori et al. 2020, arXiv 2007.00644; ImageNet-A was chosen to be hard for a ResNet-50: "
        "weaker models are near chance there, and the line bends (their pivot). Where the study "
        "names that model (correlation.pivot), models on either side of it have a line of their own"
    )
    found.attrs["near_chance"] = (
        "models whose score is not above `correlation.chance` by two standard errors, at home or "
        "away: left out of the line and not judged; where no chance is said, nobody is left out"
    )
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
    one_classifier = {TRANSFER.name, *evidence.settings.classifiers}
    headline = {p: v for p, v in evidence.headline.items() if p not in one_classifier}
    if inside and evidence.headline and not headline:
        return withheld(RESIDUAL, "no protocol has a head of its own on each data set")
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
    evidence: Evidence,
    home: xr.DataArray,
    away: xr.DataArray,
    baseline: Mask,
    pivot: str = "",
) -> dict[str, Floats]:
    """The variables of `NUMBERS`, each of shape (n_models,)."""
    if pivot:
        above = home.values > float(home.sel(model=pivot))
        sides = [
            _against(evidence, home.where(of), away.where(of), baseline) for of in (above, ~above)
        ]
        return {name: np.where(above, *(side[name] for side in sides)) for name in NUMBERS}
    n_test = evidence.cube["n_test"]
    x, y = (
        logit(part.values, n_test.sel(dataset=part["dataset"].item()).values)
        for part in (home, away)
    )
    low = near_chance(evidence, home) | near_chance(evidence, away)
    x, y = (np.where(low, np.nan, of) for of in (x, y))
    found = judge(x, y, baseline, evidence.settings.confidence)
    value = y - found.expected
    beyond = (value > found.half).astype(np.float64) - (value < -found.half)
    outside = np.where(np.isfinite(value), beyond, np.nan)
    both = np.isfinite(home.values) & np.isfinite(away.values)
    return {
        "accuracy": away.values,
        "expected": scipy.special.expit(found.expected),
        "value": value,
        "band": found.half,
        "outside": outside,
        "slope": found.slope,
        "beyond": found.beyond,
        "n": found.n.astype(np.float64),
        "near_chance": np.where(both, low.astype(np.float64), np.nan),
        "bend": np.where(both, bend(x, y, baseline), np.nan),
    }


def near_chance(evidence: Evidence, scores: xr.DataArray) -> Mask:
    """Models whose score on a data set is not above chance by two standard errors.

    False where nobody says what chance is (`correlation.chance`).
    """
    dataset = str(scores["dataset"].item())
    chance = evidence.settings.chance.get(dataset)
    if chance is None:
        return np.zeros(scores.shape, bool)
    n = int(evidence.cube["n_test"].sel(dataset=dataset)) or ASSUMED_TESTS
    near: Mask = scores.values <= chance + 2 * np.sqrt(chance * (1 - chance) / n)
    return near


def _table(
    rows: list[list[dict[str, Floats] | None]],
    labels: dict[str, list[str]],
    definition: str,
    evidence: Evidence,
) -> xr.Dataset:
    """A row for each label of the dimensions before dataset and model, or pair of such labels."""
    table = blank(labels, NUMBERS)
    cells = {name: values.reshape(len(rows), *values.shape[-2:]) for name, values in table.items()}
    for r, row in enumerate(rows):
        for d, found in enumerate(row):
            fill(cells, (r, d), found or {})
    return tabled(
        labels,
        table,
        definition=definition,
        interval=f"band: half of the {evidence.settings.confidence:.0%} prediction band; "
        f"no line below {MIN_BASELINE} models",
    )
