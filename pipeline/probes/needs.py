"""What a protocol's cell takes: memory, with its features held or streamed, and multiply-adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.heads import needs, slabs
from pipeline.heads.tuning import CS, FEWSHOT_CS, FEWSHOT_PENALTIES, HIDDEN, PENALTIES
from pipeline.study.budget import budgets
from pipeline.study.schema import Study

PROCESS = 250_000_000
"""Bytes of a process that has imported what a probe needs."""
WITH_TORCH = 350_000_000
"""What PyTorch adds."""
STREAMS = 100_000_000
"""Chunks of the cells that are read in parts, as stored and widened."""
SEARCH = 1 << 30
"""Most that a search of a transferred kNN may take."""


@dataclass(frozen=True)
class Shape:
    """Of a model's embeddings of a data set.

    Attributes
    ----------
    train, val : int
        Images.
    columns, classes : int
    """

    train: int
    val: int
    columns: int
    classes: int


@dataclass(frozen=True)
class Need:
    """What a cell takes in a process of its own.

    Attributes
    ----------
    held : int
        Bytes with all features in memory.
    streamed : int or None
        Bytes with features read in parts; None where something asked for takes nothing but all.
    work : float
        Multiply-adds, about.
    fits : int
        That they go into, one after the other, where those are many small ones.
    """

    held: int
    streamed: int | None
    work: float
    fits: int = 1

    def least(self) -> int:
        """Bytes without which it can't be done."""
        return self.held if self.streamed is None else min(self.held, self.streamed)


def linear_need(study: Study, backend: str, shape: Shape) -> Need:
    """Of `pipeline.probes.linear` on one cell."""
    n, d, k, slab = shape.train, shape.columns, shape.classes, slabs.SLAB
    asked = study.linear
    held, streamed, whole = [0], [0], backend in ("sklearn", "cuml")
    work = 0.0
    for head in asked.heads:
        if head == "logistic":
            held.append(needs.logistic_bytes(n, d, k, slab))
            streamed.append(needs.logistic_bytes(n, d, k, slab, streamed=True))
            each = needs.logistic_work(n, d, k, len(asked.c or CS))
            work += len(asked.normalization) * each
        elif head == "ridge":
            held.append(needs.ridge_bytes(n, d, k, slab))
            streamed.append(needs.ridge_bytes(n, d, k, slab, streamed=True))
            work += len(asked.normalization) * needs.ridge_work(n, d, k, len(PENALTIES))
        else:
            heads = len(asked.sgd.learning_rates) * len(asked.sgd.batch_norm)
            hidden = HIDDEN if head == "mlp" else 0
            held.append(needs.gradient_bytes(n, d, k, heads, hidden, 1024) + WITH_TORCH)
            width = d * k if not hidden else d * hidden + hidden**2 + hidden * k
            work += 3.0 * 2 * asked.sgd.epochs * heads * n * width
            whole = True
    if backend in ("sklearn", "cuml"):
        held.append(max(held) + 8 * n * (2 * d + 6 * k))
    loaded = PROCESS + (WITH_TORCH if backend == "torch" else 0)
    judging = needs.scoring_bytes(shape.val, d, k, slab)
    outcomes = 96 * shape.val * len(asked.heads) * len(asked.normalization)
    outcomes += 120 * n  # labels, ids and ranks (measured: 108)
    return Need(
        loaded + 4 * d * (n + shape.val) + max(*held, judging) + outcomes,
        None if whole else loaded + STREAMS + max(*streamed, judging) + outcomes,
        work,
    )


def fewshot_need(study: Study, shape: Shape) -> Need:
    """Of `pipeline.probes.fewshot` on one cell: drawn images are held, test images may be read."""
    settings, slab = study.fewshot, slabs.SLAB
    d, k = shape.columns, shape.classes
    sizes = []
    for budget in budgets(settings.shots, settings.fractions):
        wanted = budget.wanted(-(-shape.train // max(1, k)))
        draws = settings.episodes if wanted <= 5 else settings.episodes_above_five
        sizes += [min(shape.train, wanted * k)] * draws
    n = max(sizes, default=0)
    of_head: dict[str, Callable[[int], int]] = {
        "prototypes": lambda n: needs.prototypes_bytes(n, d, k, slab),
        "ridge": lambda n: needs.ridge_bytes(n, d, k, slab),
        "logistic": lambda n: needs.logistic_bytes(n, d, k, slab),
    }
    fit = max((of_head[head](n) for head in settings.heads), default=0)
    judging = needs.scoring_bytes(shape.val, d, k, slab)
    drawn = 4 * d * (min(shape.train, sum(sizes)) + n)
    fits = len(sizes) * len(settings.heads) * (1 + len(settings.ways) + bool(settings.coarse))
    fixed = PROCESS + drawn + max(fit, judging) + 48 * fits * shape.val
    work = 0.0
    for size in sizes:
        work += len(settings.heads) * float(shape.val) * d * k
        work += needs.ridge_work(size, d, k, len(FEWSHOT_PENALTIES)) * ("ridge" in settings.heads)
        if "logistic" in settings.heads:
            work += needs.logistic_work(size, d, k, len(FEWSHOT_CS))
    return Need(fixed + 4 * d * shape.val, fixed + STREAMS, work, fits)


def transfer_need(study: Study, backend: str, target: Shape, sources: Sequence[Shape]) -> Need:
    """Of `pipeline.probes.transfer` on one cell: heads of all sources are kept."""
    each = [
        linear_need(study, backend, Shape(s.train, target.val, s.columns, s.classes))
        for s in sources
    ]
    if not each:
        return Need(PROCESS, PROCESS, 0.0)
    heads = len(study.linear.heads) * len(study.linear.normalization)
    kept = sum(16 * heads * s.columns * s.classes for s in sources)
    search = min(SEARCH, 40_000 * target.val)
    streamed = [need.streamed for need in each if need.streamed is not None]
    return Need(
        max(need.held for need in each) + kept + search,
        max(streamed) + kept + search if len(streamed) == len(each) else None,
        sum(
            n.work + float(target.val) * s.train * s.columns
            for n, s in zip(each, sources, strict=True)
        ),
    )


def knn_need(study: Study, shape: Shape) -> Need:
    """Of the votes of stored neighbours."""
    k = study.neighbors.n_neighbors
    queries = shape.val + min(shape.train, 50_000)
    size = PROCESS + 60 * k * queries + 100 * shape.val
    return Need(size, size, float(queries) * k)


def predictors_need(study: Study, shape: Shape) -> Need:
    """Of the transferability metrics: d x d, and their subsamples.

    What is read in parts (features and two views, stored and widened: 12 bytes a value) is no more
    than all there is, so that a small cell needs no process of its own.
    """
    d = shape.columns
    parts = min(STREAMS, 3 * 12 * shape.train * d)
    size = PROCESS + parts + 64 * d * d + 16 * min(shape.train, 25_600) * d
    return Need(size, size, float(shape.train) * d * d)
