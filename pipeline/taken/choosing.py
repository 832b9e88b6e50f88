"""Which classifier is taken: a model, a data set, and a head that the study has scored."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from cache.errors import ProbelineError
from cache.records import Record
from pipeline.datasets.index import Index
from pipeline.models.settings import Model
from pipeline.results.current import Current
from pipeline.study.knn import KNN, TUNED
from pipeline.study.linear import LINEAR
from pipeline.study.protocol_list import protocol_named
from pipeline.study.schema import Study
from pipeline.study.target import target_of
from pipeline.study.variant import Variant

HEADS = (LINEAR.name, KNN.name)
"""Protocols whose heads can be taken; each of them alone stands for its headline."""

TAKEN_HEADS = ("logistic", "ridge", TUNED.head)
"""Kinds of heads that can be taken."""


@dataclass(frozen=True)
class Chosen:
    """A head that can be taken.

    Attributes
    ----------
    model, dataset : str
    variant : Variant
    record : Record
        Its protocol's, on this model and data set.
    index : Index
    """

    model: str
    dataset: str
    variant: Variant
    record: Record
    index: Index


def default_dataset(study: Study) -> str | None:
    """The data set to take a classifier of, where none is named: the one that the report is about.

    Of several the first with train images; where none has any, the first of all with some.
    """
    names = [name for name, entry in study.datasets.items() if not entry.test_only]
    named = [name for name in study.report.target if name in names]  # others were imported
    target = target_of(named, {name: study.datasets[name].role for name in study.datasets})
    return next(iter([*(name for name in target.datasets if name in names), *names]), None)


def choose(study: Study, model: str, dataset: str | None, head: str) -> Chosen:
    """Look up what is asked for.

    Parameters
    ----------
    study : Study
    model : str
    dataset : str or None
        None: `default_dataset`.
    head : str
        ``linear`` or ``knn`` (the headline of that protocol), or a variant's name, as
        ``logistic_none``.

    Raises
    ------
    ProbelineError
        When a name is not the study's (the nearest one is told), nothing can be trained on the data
        set, the head was not scored, or it can't be taken.
    """
    _require(model, study.models, "model", "model")
    if dataset is None:
        dataset = default_dataset(study)
    if dataset is None:
        raise ProbelineError(
            "params.yaml: datasets",
            "no data set has train images, so no head was fitted",
            remedy="add train images",
        )
    _require(dataset, study.datasets, "data set", "dataset")
    if study.datasets[dataset].test_only:
        raise ProbelineError(
            f"data set {dataset}",
            "has test images only, so no head was fitted on it",
            remedy="name a data set with train images by --dataset",
        )
    _refuse_without_network(study, model)
    current = Current(study)
    protocol, variants = _of_head(study, head)
    _refuse_gradient_heads(study, protocol, variants[0])
    record = current.record(protocol, dataset, model)
    if record is None:
        raise ProbelineError(
            f"model {model} on data set {dataset}",
            f"there is no current record of {protocol_named(protocol).label}",
            remedy="run `dvc repro`; `probeline status` says what is missing",
        )
    scored = dict.fromkeys(str(row["variant"]) for row in record.scores)
    found = [variant for variant in variants if variant.name in scored]
    if not found:
        raise ProbelineError(
            f"model {model} on data set {dataset}",
            "the study has no such head here",
            expected=f"one of {', '.join(scored)}",
            found=head,
            remedy="name one of these by --head",
        )
    return Chosen(model, dataset, found[0], record, current.index(dataset))


def _of_head(study: Study, head: str) -> tuple[str, list[Variant]]:
    """The protocol of a head, and the variants that are meant."""
    by_name = {
        variant.name: variant
        for protocol in HEADS
        for variant in protocol_named(protocol).variants(study)
    }
    if head in HEADS:
        return head, list(protocol_named(head).variants(study))
    _require(head, [*HEADS, *by_name], "head", "head")
    return by_name[head].protocol, [by_name[head]]


def _refuse_gradient_heads(study: Study, protocol: str, variant: Variant) -> None:
    if variant.head in TAKEN_HEADS:
        return
    able = [v.name for v in protocol_named(protocol).variants(study) if v.head in TAKEN_HEADS]
    raise ProbelineError(
        f"head {variant.name}",
        "heads trained by gradient descent can't be taken",
        expected="logistic regression, ridge or kNN",
        remedy=f"take `--head {able[0]}`"
        if able
        else "add `logistic` to linear.heads, run `dvc repro`, and take `--head logistic_none`",
    )


def has_network(entry: Model) -> bool:
    """Whether a model's network is here, and may be copied."""
    return entry.weights != "imported" and not entry.architecture.startswith("torchhub:")


def _refuse_without_network(study: Study, model: str) -> None:
    entry = study.models[model]
    if has_network(entry):
        return
    imported = entry.weights == "imported"
    raise ProbelineError(
        f"model {model}",
        "only its embeddings are here, no network that could see another image"
        if imported
        else "its network is code of others (torch hub), which is not copied",
        remedy="take a model whose network the study runs" if imported else "take a model of timm",
    )


def _require(name: str, known: Iterable[str], what: str, option: str) -> None:
    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=3)
    raise ProbelineError(
        f"{what} {name[:100]!r}",
        f"the study has no such {what}",
        expected=", ".join(names[:12]) + (", …" if len(names) > 12 else ""),
        remedy=f"did you mean {' or '.join(near)}?" if near else f"name one of these ({option})",
    )
