"""The report's section on using a model: what takes its classifier home, and how it predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pipeline.models.licence import recorded_licence, weights_source
from pipeline.models.settings import Model
from pipeline.report.choice import choose
from pipeline.report.constraints import model_sizes
from pipeline.report.inputs import Inputs
from pipeline.report.stated import statistic
from pipeline.study.protocol_list import protocol_label
from pipeline.taken.choosing import HEADS, TAKEN_HEADS, default_dataset, has_network

MOST = 5
"""Models that are offered."""

_FLOAT32 = 4
"""Bytes of a weight, as most files hold it."""

CODE = """\
import sys

sys.path.insert(0, "taken/{model}")  # the folder that `take` wrote; the project is not needed
from predict import load

classifier = load("taken/{model}")
for answer in classifier.predict(["photo.jpg", "another.png"]):
    print(answer.image, answer.label, answer.probability)
"""


@dataclass(frozen=True)
class Offered:
    """A model whose classifier can be taken.

    Attributes
    ----------
    model : str
    score, low, high : float
        On the data set, by the protocol of the section, with its interval over test images (NaN
        where there is none).
    parameters : float
        Of the backbone; NaN where unknown.
    licence, source : str
        Of its weights.
    command : str
        What takes it.
    """

    model: str
    score: float
    low: float
    high: float
    parameters: float
    licence: str
    source: str
    command: str

    @property
    def megabytes(self) -> float:
        """Of the weights in float32."""
        return self.parameters * _FLOAT32 / 1e6


@dataclass(frozen=True)
class Use:
    """What the section says.

    Attributes
    ----------
    withheld : str
        Why nothing can be taken; empty where something can.
    dataset, protocol : str
        Whose classes, and whose headline, in words.
    images : int
        Test images behind the scores.
    models : tuple of Offered
        The best on the data set and those within chance of it: first the one that the first screen
        recommends, then best first.
    tied : int
        How many these are, those that are left out included.
    not_taken : tuple of str
        Models among them that can't be taken, as only their embeddings are here, or foreign code.
    code : str
        Python that predicts with the first of them.
    other_datasets : tuple of str
        Of which classifiers can be taken, too.
    probabilities : bool
        Whether the head gives any.
    recommended : str
        The model that the first screen recommends; empty where that is of another data set.
    """

    withheld: str = ""
    dataset: str = ""
    protocol: str = ""
    images: int = 0
    models: tuple[Offered, ...] = ()
    tied: int = 0
    not_taken: tuple[str, ...] = ()
    code: str = ""
    other_datasets: tuple[str, ...] = ()
    probabilities: bool = True
    recommended: str = ""


def section(inputs: Inputs) -> Use:
    """The models to use on the data set that the report is about."""
    study, dataset = inputs.study, default_dataset(inputs.study)
    protocol = next((name for name in HEADS if name in inputs.computed), None)
    if dataset is None or protocol is None:
        return Use("Nothing to use: the study itself fits no head, as all its scores are imported.")
    variant = inputs.variants[inputs.headline[protocol]]
    if variant.head not in TAKEN_HEADS:
        return Use(
            "Nothing to use: heads trained by gradient descent can’t be taken. Logistic regression "
            "or ridge first in linear.heads can."
        )
    scored = inputs.scored.sel(dataset=dataset, variant=variant.full_name)
    scores = scored["value"]
    chosen = choose(inputs)
    recommended = chosen.picked if dataset in chosen.target.datasets else ""
    ordered = _best_first(inputs, protocol, dataset, _plain(scores))
    ordered.sort(key=lambda name: name != recommended)
    able = [name for name in ordered if name in study.models and has_network(study.models[name])]
    if not able:
        return Use(f"Nothing to use: no model with a network here was scored on {dataset}.")
    sizes = dict(zip(inputs.models, model_sizes(inputs)["parameters"].tolist(), strict=True))
    by_head = "" if protocol == HEADS[0] else f" --head {protocol}"
    return Use(
        dataset=dataset,
        protocol=protocol_label(protocol),
        images=int(inputs.cube["n_test"].sel(dataset=dataset)),
        models=tuple(
            Offered(
                model=name,
                score=float(scores.sel(model=name)),
                low=float(scored["ci_low"].sel(model=name)),
                high=float(scored["ci_high"].sel(model=name)),
                parameters=sizes[name],
                licence=_licence(study.models[name]),
                source=weights_source(name, study.models[name], _checkpoint(inputs, dataset, name)),
                command=f"probeline take {name} --dataset {dataset}{by_head} taken/{name}",
            )
            for name in able[:MOST]
        ),
        tied=len(ordered),
        not_taken=tuple(name for name in ordered if name not in able),
        code=CODE.format(model=able[0]),
        other_datasets=tuple(
            name
            for name, entry in study.datasets.items()
            if name != dataset and not entry.test_only
        ),
        probabilities=variant.head != "ridge",
        recommended=recommended,
    )


def _checkpoint(inputs: Inputs, dataset: str, model: str) -> str | None:
    """Digest of the file that the features were computed with."""
    found: str | None = inputs.provenance.get((dataset, model), {}).get("checkpoint")
    return found


def _best_first(inputs: Inputs, protocol: str, dataset: str, scores: dict[str, float]) -> list[str]:
    """The best model and those within chance of it; without outcomes to compare, the best few."""
    found = sorted(scores, key=lambda name: -scores[name])
    ranks = statistic(inputs, "ranks")
    if isinstance(ranks, str) or not {protocol} <= set(ranks["protocol"].values):
        return found[:MOST]
    if dataset not in ranks["dataset"].values:
        return found[:MOST]
    within = ranks["within_chance"].sel(protocol=protocol, dataset=dataset)
    known = _plain(within)
    tied = [name for name in found if known.get(name) == 1]
    return tied or found[: min(MOST, 1 + int(np.isnan(within.values).all()) * MOST)]


def _plain(values: xr.DataArray) -> dict[str, float]:
    """By model, what has a value."""
    models = map(str, values["model"].values)
    found = zip(models, values.values.tolist(), strict=True)
    return {model: value for model, value in found if value == value}


def _licence(entry: Model) -> str:
    if entry.weights == "pretrained" and not entry.is_of_hub:
        return "as timm records it: `take` says it"
    return recorded_licence(entry) or "not recorded"
