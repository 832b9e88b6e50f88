"""All that can be known of a study before its first run: counts, networks, speed, what is wrong."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cache.errors import ProbelineError
from pipeline.datasets.index import former_index
from pipeline.embeddings.speed import Speed, measure_speed
from pipeline.finetuning.planning import FinetunePlan
from pipeline.machine.devices import this_machine
from pipeline.machine.environment import expand_path
from pipeline.models.cards import card_if_here
from pipeline.models.fetching import is_fetched
from pipeline.models.settings import Model
from pipeline.models.sizes import NetworkSize, network_size
from pipeline.models.transform_origin import in_one_line, transform_parts
from pipeline.models.weights import no_such_file
from pipeline.planning.counting import Counted, count_images
from pipeline.planning.memory import StageMemory, extraction_memory
from pipeline.planning.overview import to_score
from pipeline.planning.plan import (
    DatasetPlan,
    columns_of,
    finetune_plan,
    plan,
    without_cells,
    without_rate,
)
from pipeline.planning.planned_downloads import PlannedDownloads, planned_downloads
from pipeline.planning.probes import ProbePlan, plan_probes
from pipeline.probes.needs import Shape
from pipeline.study.schema import Study


@dataclass(frozen=True)
class Survey:
    """What `plan` says.

    Attributes
    ----------
    counted : mapping of str to Counted
        By data set.
    plans : sequence of DatasetPlan
    training : FinetunePlan or None
        None where the study does not ask for it.
    reckoned : tuple of str
        Models whose time is reckoned from their multiply-adds, not measured in this project.
    speed : Speed or None
        None where it was not needed.
    sizes : mapping of str to NetworkSize
        Of models that have cells to compute, but those of a hub.
    transforms : mapping of str to list of str
        Models by how their images are prepared, in words.
    downloads : PlannedDownloads
    memory : tuple of StageMemory
    probes : tuple of ProbePlan
        Of protocols that have something to score.
    problems : tuple of ProbelineError
        What would stop `dvc repro`.
    """

    counted: Mapping[str, Counted]
    plans: Sequence[DatasetPlan]
    training: FinetunePlan | None
    reckoned: tuple[str, ...]
    speed: Speed | None
    sizes: Mapping[str, NetworkSize]
    transforms: Mapping[str, list[str]]
    downloads: PlannedDownloads
    memory: tuple[StageMemory, ...]
    probes: tuple[ProbePlan, ...]
    problems: tuple[ProbelineError, ...]


def survey(study: Study, timed: Mapping[str, tuple[float, int]] | None = None) -> Survey:
    """Look at everything: lists folders, builds networks without weights, runs two for a second.

    Parameters
    ----------
    study : Study
    timed : mapping of str to (float, int), optional
        Seconds per image and features, of models that were timed one by one.
    """
    counted = {
        name: count_images(name, entry, former_index(name))
        for name, entry in study.datasets.items()
    }
    problems = [c.problem for c in counted.values() if c.problem is not None]
    to_run = {model for name in study.datasets for model in without_cells(study, name)}
    sizes: dict[str, NetworkSize] = {}
    transforms: dict[str, list[str]] = {}
    for name, entry in study.models.items():
        size, wrong = _look_at(name, entry, needed=name in to_run)
        problems += wrong
        if size is not None:
            sizes[name] = size
        if line := _transform(name, entry, size):
            transforms.setdefault(line, []).append(name)
    probed = dict(timed or {})
    without = [n for n in without_rate(study) if n in to_run and n in sizes and n not in probed]
    speed = measure_speed(study.extraction.precision) if without else None
    if speed is not None:
        probed |= {n: (speed.seconds(sizes[n]), sizes[n].columns) for n in without}
    widths = {n: (math.nan, size.columns) for n, size in sizes.items() if n not in probed}
    counts = {name: {"train": c.train, "val": c.val} for name, c in counted.items()}
    plans = plan(study, {**widths, **probed}, counts)
    training = finetune_plan(study, probed, counts) if study.finetune.enabled else None
    here = [
        name
        for name, entry in study.models.items()
        if name not in to_run or (entry.weights == "pretrained" and is_fetched(entry))
    ]
    parameters = {name: float(size.parameters) for name, size in sizes.items()}
    downloads = planned_downloads(study, parameters, here)
    problems += _room(plans, downloads)
    return Survey(
        counted,
        plans,
        training,
        tuple(without),
        speed,
        sizes,
        transforms,
        downloads,
        _memory(sizes, to_run),
        tuple(plan_probes(study, _shapes(study, counted, sizes), partial(to_score, study))),
        tuple(problems),
    )


def _look_at(
    name: str, entry: Model, *, needed: bool
) -> tuple[NetworkSize | None, list[ProbelineError]]:
    """A model's network, and what is wrong with its entry."""
    problems = []
    place = f"params.yaml: models.{name}"
    if needed and entry.weights_file is not None and not entry.is_remote and entry.made_by is None:
        try:
            path = expand_path(entry.weights_file, f"{place}.weights")
            if not path.is_file():
                problems.append(no_such_file(entry, path, f"{place}.weights"))
        except ProbelineError as error:
            problems.append(error)
    if not needed:
        return None, problems
    try:
        return network_size(name, entry), problems
    except ProbelineError as error:
        return None, [*problems, error]


def _transform(name: str, entry: Model, size: NetworkSize | None) -> str:
    """How images are prepared, in words; by the model's card, where it ran here before."""
    known = None if size is None else size.transform
    if known is None and entry.weights != "imported":
        card = card_if_here(name, entry)
        known = None if card is None else card.transform
    return in_one_line(transform_parts(entry, known))


def _room(plans: Sequence[DatasetPlan], downloads: PlannedDownloads) -> list[ProbelineError]:
    """Whether the disk has room for what is known to come."""
    known = (
        *(p.size for p in plans),
        downloads.checkpoint_bytes,
        downloads.hub_bytes,
    )
    wanted = math.fsum(size for size in known if not math.isnan(size))
    free = shutil.disk_usage(Path()).free
    if wanted <= free:
        return []
    return [
        ProbelineError(
            str(Path().absolute()),
            "the disk has no room for embeddings and weights",
            expected=f"{wanted / 1e9:,.1f} GB free, at least",
            found=f"{free / 1e9:,.1f} GB",
            remedy="free some, put `data` on another disk and link it, or ask for fewer models",
        )
    ]


def _memory(sizes: Mapping[str, NetworkSize], to_run: set[str]) -> tuple[StageMemory, ...]:
    if not to_run & sizes.keys():
        return ()
    machine = this_machine()
    networks = {id(size): float(size.parameters) for size in sizes.values()}
    return (extraction_memory(networks.values(), machine.batch_size, machine.memory),)


def _shapes(
    study: Study, counted: Mapping[str, Counted], sizes: Mapping[str, NetworkSize]
) -> dict[tuple[str, str], Shape | None]:
    """Of every cell, as far as its images and features are known."""
    found: dict[tuple[str, str], Shape | None] = {}
    for model, entry in study.models.items():
        columns = columns_of(model, entry)
        if math.isnan(columns) and model in sizes:
            columns = float(sizes[model].columns)
        for name, c in counted.items():
            numbers = c.train, c.val, columns, c.classes
            known = not any(math.isnan(number) for number in numbers)
            found[name, model] = Shape(*map(int, numbers)) if known else None
    return found
