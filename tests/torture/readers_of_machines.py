"""Beside the results: what was seen and remembered on a machine."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from changes import change_bytes, sealed_again
from reader import Reader


def readers() -> Iterator[Reader]:
    """A copied project brings a stranger's."""
    from pipeline.datasets.watching import look
    from pipeline.models.cards import find_card
    from pipeline.models.sizes import remembered_gmacs
    from pipeline.models.transform_origin import in_one_line, transform_parts
    from pipeline.planning.stage_times import record_plan, stage_times, where_we_are
    from pipeline.study.params import load_study

    def card(path: Path) -> object:
        study = load_study(Path("params.yaml"))
        for place in Path("data/cards").glob("*.json"):
            shutil.copy(path, place)
        found = find_card("tiny", study.models["tiny"])
        return found and (f"{found.columns:,} {found.parameters / 1e6}", in_one_line(
            transform_parts(study.models["tiny"], found.transform)))  # fmt: skip

    sound = next(Path("data/cards").glob("*.json")).read_bytes()
    yield Reader("card of a model", "c.json", sound, sealed_again, card)

    def seen(path: Path) -> object:
        shutil.copy(path, ".probeline/seen/pets.parquet")
        study = load_study(Path("params.yaml"))
        return str(look("pets", study.datasets["pets"]))

    sound = Path(".probeline/seen/pets.parquet").read_bytes()
    yield Reader("files that were seen", "s.parquet", sound, _bytes_again, seen)

    record_plan({"extract@pets": 3.0, "knn": 12.5})

    def times(path: Path) -> object:
        shutil.copy(path, ".probeline/times/planned.json")
        return where_we_are("knn", ["study", "knn", "extract@pets"], stage_times())

    sound = Path(".probeline/times/planned.json").read_bytes()
    yield Reader("times of stages", "t.json", sound, sealed_again, times)

    study = load_study()
    remembered_gmacs("tiny", study.models["tiny"])
    (place,) = Path("data/cards/sizes").glob("*.json")

    def work(path: Path) -> object:
        shutil.copy(path, place)
        return f"{remembered_gmacs('tiny', study.models['tiny']) or 0:,.2f}"

    sound = place.read_bytes()
    yield Reader("remembered work of a network", "g.json", sound, sealed_again, work)


def _bytes_again(data: bytes, rng: random.Random) -> bytes:
    from cache.seals import _LENGTH, with_seal

    return with_seal(change_bytes(data[:-_LENGTH], rng))
