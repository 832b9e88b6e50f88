"""What a whole study takes: on one H100 with 16 cores, on eight of them, on two cores.

    python -m benchmarks.scale_plan                        # the paper's study (docs/scale.md)
    python -m benchmarks.scale_plan studies/own_images.yaml
    python -m benchmarks.scale_plan --blocks               # what is claimed, data set by data set

Nothing is timed here: multiply-adds are counted (those that `probeline plan` counts, of declared
numbers of images), and divided by the rates of `MACHINES`, which are assumptions. How long several
shards wait for each other is simulated with the engine's own blocks and order, see `simulate`.
"""

from __future__ import annotations

import argparse
import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.chunking import blocks, chunk_rows_for
from pipeline.machine.shards import Shard
from pipeline.models.settings import Model
from pipeline.models.zoo import known_columns
from pipeline.planning.stage_times import in_words
from pipeline.probes.needs import Need, Shape, fewshot_need, linear_need, transfer_need
from pipeline.study.params import parse_study
from pipeline.study.schema import Study

GMACS = {"resnet50": 4.11, "base_patch16_224": 17.58}
"""Billions of multiply-adds an image of 224 px, by the end of an architecture's name; timm's."""


@dataclass(frozen=True)
class Machine:
    """Assumed rates, of one GPU or of all cores.

    Attributes
    ----------
    name : str
    gpus : int
    convolutions, products : float
        Multiply-adds a second of networks, in float32 (no TF32).
    probes : float
        Multiply-adds a second of a matrix product as probes make it; their own passes over memory
        come on top, see `EFFICIENCY`.
    images : float
        Decoded and resized a second, by all cores.
    memory : float
        Bytes of the host's memory.
    loading : float
        Seconds until a process has loaded all networks for a data set.
    """

    name: str
    gpus: int
    convolutions: float
    products: float
    probes: float
    images: float
    memory: float
    loading: float


H100 = {"convolutions": 12e12, "products": 20e12, "probes": 20e12, "loading": 30.0}
"""Of 33.5e12 multiply-adds a second in float32 that NVIDIA states for an H100 SXM: 36 and 60%."""

MACHINES = (
    Machine("one H100, 16 cores, 128 GB", 1, images=2_400, memory=128e9, **H100),
    Machine("eight H100, 128 cores, 1 TB", 8, images=19_200, memory=1e12, **H100),
    Machine("two cores, 16 GB", 1, 92e9, 62e9, 80e9, 300, 16e9, 30.0),
)
"""Two cores: measured (docs/performance.md), a compiled ResNet-50 and DeiT-tiny, both cores of a
matrix product. Decoding: 150 images a second and core, of 500 x 375 pixels."""

EFFICIENCY = 3.0
"""Times as long as its products a probe takes (`pipeline.planning.probes`)."""

PAPER = Path(__file__).parents[1] / "studies" / "paper.yaml"

Blocks = list[list[int]]
"""Of a data set: for each split, the images of each block, which shards claim at once."""


@dataclass(frozen=True)
class Waited:
    """How a simulated run went.

    Attributes
    ----------
    seconds : float
        Until the last shard was done.
    loading : float
        Share of all shards' time in which they loaded networks, and then found a block.
    idle : float
        Share in which they neither computed nor did that.
    """

    seconds: float
    loading: float
    idle: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", type=Path, default=PAPER)
    parser.add_argument("--blocks", action="store_true")
    asked = parser.parse_args()
    study = parse_study(asked.study.read_text(encoding="utf-8"), asked.study)
    if asked.blocks:
        _print_blocks(study)
        return
    _print_machines(study)
    _print_waiting(study)


def gmacs(entry: Model) -> float:
    """Of a model of the zoo.

    Raises
    ------
    KeyError
        For other models: `GMACS` lists those of the paper.
    """
    for ending, count in GMACS.items():
        if entry.architecture.endswith(ending):
            return count
    raise KeyError(entry.architecture)


def images_of(study: Study) -> dict[str, tuple[int, int]]:
    """Train and val images that data sets declare."""
    found = {}
    for name, entry in study.datasets.items():
        train = 0 if entry.test_only else int(entry.expected.train or 0)
        found[name] = train, int(entry.expected.val or 0)
    return found


def shapes_of(study: Study) -> dict[tuple[str, str], Shape]:
    """Of every cell, by data set and model."""
    counts = images_of(study)
    return {
        (name, model): Shape(
            *counts[name],
            int(known_columns(entry.architecture, entry.feature)),
            int(study.datasets[name].expected.classes or 0),
        )
        for name in study.datasets
        for model, entry in study.models.items()
    }


def blocks_of(study: Study) -> list[Blocks]:
    """What shards claim, by data set: the engine's own rule."""
    columns = {shape.columns for shape in shapes_of(study).values()}

    def of_split(count: int) -> list[int]:
        parts = blocks(count, (chunk_rows_for(count, width) for width in columns))
        return [part.stop - part.start for part in parts]

    return [[of_split(n) for n in both if n] for both in images_of(study).values()]


def seconds_an_image(study: Study, machine: Machine) -> float:
    """On one of the machine's GPUs, or its share of the cores where decoding takes longer."""
    forward = 0.0
    for entry in study.models.values():
        rate = machine.convolutions if "resnet" in entry.architecture else machine.products
        forward += gmacs(entry) * 1e9 / rate
    decode = machine.gpus / machine.images
    return max(forward, decode) if machine.gpus and machine.memory > 64e9 else forward + decode


def simulate(
    datasets: Sequence[Blocks],
    shards: int,
    an_image: float,
    loading: float,
    *,
    speeds: Sequence[float] = (),
    noise: float = 0.0,
) -> Waited:
    """Shards that take blocks as the engine's do: each from its share on, then what is left.

    A shard loads the networks for each data set that is not whole, though others may be at its
    last blocks; who finds no block goes to the next split, the next data set, and waits at the end.

    Parameters
    ----------
    datasets : sequence of Blocks
        See `blocks_of`.
    shards : int
    an_image : float
        Seconds, through all models.
    loading : float
        Seconds, for a data set.
    speeds : sequence of float, optional
        Of each shard, in multiples.
    noise : float
        Standard deviation of the logarithm of a block's time.
    """
    rng = np.random.default_rng(0)
    speeds = speeds or [1.0] * shards
    parts = [(n, part) for n, dataset in enumerate(datasets) for part in dataset]
    free = [set(range(len(part))) for _, part in parts]
    undone = [sum(map(len, dataset)) for dataset in datasets]
    orders = [[Shard(n + 1, shards).order(len(part)) for _, part in parts] for n in range(shards)]
    loaded, useful = [-1] * shards, [False] * shards
    ends, computed, loads = [0.0] * shards, 0.0, 0.0
    # When, which shard, at which split, and the data set of the block that it has just done.
    events = [(0.0, shard, 0, -1) for shard in range(shards)]
    while events:
        now, shard, at, done = heapq.heappop(events)
        ends[shard] = now
        if done >= 0:
            undone[done] -= 1
        if at == len(parts):
            continue
        dataset, part = parts[at]
        block = next((n for n in orders[shard][at] if n in free[at]), None)
        if not undone[dataset] or (block is None and loaded[shard] == dataset):
            heapq.heappush(events, (now, shard, at + 1, -1))
        elif loaded[shard] != dataset:
            loaded[shard], useful[shard] = dataset, False
            heapq.heappush(events, (now + loading, shard, at, -1))
        elif block is not None:
            free[at].remove(block)
            loads += 0.0 if useful[shard] else loading
            useful[shard] = True
            took = part[block] * an_image * math.exp(rng.normal(0, noise)) / speeds[shard]
            computed += took
            heapq.heappush(events, (now + took, shard, at, dataset))
    last = max(ends)
    return Waited(last, loads / shards / last, 1 - (computed + loads) / shards / last)


def one_network_each(study: Study, gpus: int, machine: Machine) -> float:
    """Share of all GPUs' time that is idle where each network is given to one GPU."""
    burden = [0.0] * gpus
    for entry in study.models.values():
        rate = machine.convolutions if "resnet" in entry.architecture else machine.products
        burden[burden.index(min(burden))] += gmacs(entry) / rate
    return 1 - sum(burden) / gpus / max(burden)


def probe_needs(study: Study) -> Iterator[tuple[str, Need]]:
    """Each cell of the protocols that compute much, and the search for neighbours."""
    shapes = shapes_of(study)
    spaces = len(study.neighbors.metric) * len(study.neighbors.normalization)
    for (name, model), shape in shapes.items():
        if not shape.train:
            continue
        own = min(shape.train, 50_000)
        search = float(spaces) * (shape.val + own) * shape.train * shape.columns
        yield "neighbors", Need(0, 0, search)
        yield "linear", linear_need(study, "numpy", shape)
        yield "fewshot", fewshot_need(study, shape)
        sources = [shapes[source, model] for source in study.transfer.sources if source != name]
        if sources:
            yield "transfer", transfer_need(study, "numpy", shape, sources)


def _print_machines(study: Study) -> None:
    images = sum(map(sum, images_of(study).values()))
    passes = sum(gmacs(entry) for entry in study.models.values())
    stored = sum(2 * (s.train + s.val) * s.columns for s in shapes_of(study).values())
    needs = list(probe_needs(study))
    print(f"{len(study.models)} models, {len(study.datasets)} data sets, {images:,} images")
    print(f"{passes:,.0f} GMAC an image through all models; embeddings {stored / 1e9:,.0f} GB\n")
    print("| | " + " | ".join(machine.name for machine in MACHINES) + " |")
    print("|---|" + "--:|" * len(MACHINES))
    rows: dict[str, list[float]] = {"extract": []}
    for machine in MACHINES:
        waited = simulate(
            blocks_of(study), machine.gpus, seconds_an_image(study, machine), machine.loading
        )
        rows["extract"].append(waited.seconds)
        for protocol in dict.fromkeys(name for name, _ in needs):
            work = sum(need.work for name, need in needs if name == protocol)
            factor = 1.2 if protocol == "neighbors" else EFFICIENCY
            rows.setdefault(protocol, []).append(factor * work / machine.probes / machine.gpus)
    rows["all of these"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(in_words(seconds) for seconds in row) + " |")
    for name, wanted in (
        ("cells whose features are read in parts", lambda n, m: n.least() <= m < n.held),
        ("cells refused for want of memory", lambda n, m: n.least() > m),
    ):
        counts = [sum(wanted(need, each.memory) for _, need in needs) for each in MACHINES]
        print(f"| {name} | " + " | ".join(f"{n} of {len(needs)}" for n in counts) + " |")
    largest = max(needs, key=lambda each: each[1].held)
    print(f"\nmemory of the largest cell ({largest[0]}): {largest[1].held / 1e9:,.0f} GB")


def _print_waiting(study: Study) -> None:
    eight, datasets = MACHINES[1], blocks_of(study)
    an_image = seconds_an_image(study, eight)
    by_size = sorted(datasets, key=lambda dataset: sum(map(sum, dataset)))
    print("\n| eight shards | time | loading networks | idle |")
    print("|---|--:|--:|--:|")
    for name, some, speeds, noise in (
        ("the whole study", datasets, (), 0.0),
        ("blocks' times differ by 20%", datasets, (), 0.2),
        ("one GPU half as fast", datasets, [0.5] + [1.0] * (eight.gpus - 1), 0.0),
        ("its largest data set alone", by_size[-1:], (), 0.0),
        ("its smallest data set alone", by_size[:1], (), 0.0),
    ):
        found = simulate(some, eight.gpus, an_image, eight.loading, speeds=speeds, noise=noise)
        print(f"| {name} | {in_words(found.seconds)} | {found.loading:.1%} | {found.idle:.1%} |")
    idle = one_network_each(study, eight.gpus, eight)
    print(f"\neach network given to one of eight GPUs, as one process does it: idle {idle:.1%}")
    print(f"(of one model alone: {1 - 1 / eight.gpus:.1%})")


def _print_blocks(study: Study) -> None:
    print("| data set | split | images | blocks | images a block |")
    print("|---|---|--:|--:|--:|")
    for (name, counts), dataset in zip(images_of(study).items(), blocks_of(study), strict=True):
        splits = [split for split, count in zip(("train", "val"), counts, strict=True) if count]
        for split, sizes in zip(splits, dataset, strict=True):
            print(f"| {name} | {split} | {sum(sizes):,} | {len(sizes)} | {sizes[0]:,} |")


if __name__ == "__main__":
    main()
