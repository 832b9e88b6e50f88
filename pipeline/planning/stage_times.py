"""How long stages take on this machine: as they did last time, or as `plan` reckoned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cache.errors import CellCorruptError
from cache.seals import read_sealed_json, sealed_json
from pipeline.project.machine_files import machine_path, remember


def stage_times() -> dict[str, float]:
    """Seconds by stage, of those that are known; what was measured goes before what was planned."""
    return {**_read("planned"), **_read("measured")}


def record_time(stage: str, seconds: float) -> None:
    """Remember how long a stage took."""
    _write("measured", {**_read("measured"), stage: round(seconds, 1)})


def record_plan(seconds: Mapping[str, float]) -> None:
    """Remember what `plan` reckons of stages."""
    _write("planned", {stage: round(value, 1) for stage, value in seconds.items()})


def where_we_are(stage: str, order: Sequence[str], times: Mapping[str, float]) -> str:
    """A line at a stage's start: which it is, and how long the rest takes.

    Parameters
    ----------
    stage : str
    order : sequence of str
        Of all stages, see `pipeline.planning.stage_order`.
    times : mapping of str to float
        Seconds, of those that are known.
    """
    after = order[order.index(stage) + 1 :]
    known = [times[name] for name in after if name in times]
    line = f"stage {order.index(stage) + 1} of {len(order)}: {stage}"
    if stage in times:
        line += f", about {in_words(times[stage])}"
    if not known:  # the last one; or the first run here, of which nobody knows how long it takes
        return line
    unknown = len(after) - len(known)
    line += f"; then {'at least' if unknown else 'about'} {in_words(sum(known))} for the rest"
    return line + (f", {unknown} of whose {len(after)} stages never ran here" if unknown else "")


def in_words(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours = seconds / 3600
    return f"{hours:,.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"


def _read(kind: str) -> dict[str, float]:
    try:
        found = read_sealed_json(machine_path("times", f"{kind}.json"))
        times = {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, CellCorruptError, ValueError, TypeError, OverflowError):
        return {}
    return {name: seconds for name, seconds in times.items() if math.isfinite(seconds)}


def _write(kind: str, times: Mapping[str, float]) -> None:
    remember("times", f"{kind}.json", sealed_json(times))
