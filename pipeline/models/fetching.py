"""Fetch first, then run: all that a study's models still have to download is tried at once."""

from __future__ import annotations

from collections.abc import Mapping

from cache.errors import ProbelineError
from pipeline.fetching.content import UnavailableError
from pipeline.models import hub, torch_hub
from pipeline.models.pretrained import fetch_pretrained, pretrained_is_here
from pipeline.models.settings import Model
from pipeline.models.weights import provide_weights


def fetch_models(models: Mapping[str, Model]) -> dict[str, ProbelineError]:
    """Fetch what is missing of each model; one that can't be had keeps no other from it.

    Parameters
    ----------
    models : mapping of str to Model

    Returns
    -------
    dict of str to ProbelineError
        Models whose weights can't be had now (no network, gone, only by hand), and why.

    Raises
    ------
    ProbelineError
        When something is wrong that no later try would mend: a path of params.yaml where nothing
        is, a file that is not the recorded one. All such models are named, after all were tried.
    """
    unavailable: dict[str, ProbelineError] = {}
    wrong: dict[str, ProbelineError] = {}
    tried: dict[str, ProbelineError | None] = {}
    for name, entry in models.items():
        key = f"{entry.architecture} {entry.weights} {entry.source}"
        if key not in tried:
            tried[key] = _try(name, entry)
        error = tried[key]
        if error is not None:
            (unavailable if isinstance(error, UnavailableError) else wrong)[name] = error
    if wrong:
        raise together(wrong, "can't be used: their weights are not there, or not the right ones")
    return unavailable


def is_fetched(entry: Model) -> bool:
    """Whether all that a model needs is on this machine; asks nobody."""
    if entry.architecture.startswith(torch_hub.PREFIX):
        return False  # its code alone knows what it loads
    if entry.architecture.startswith(hub.PREFIX):
        source = entry.architecture.removeprefix(hub.PREFIX)
        return entry.weights != "pretrained" or hub.is_fetched(entry.architecture, source)
    return entry.weights != "pretrained" or pretrained_is_here(entry.architecture)


def together(errors: Mapping[str, ProbelineError], problem: str) -> ProbelineError:
    """One error of several models'; a single one is said as it is."""
    if len(errors) == 1:
        return next(iter(errors.values()))
    found = [f"{name}: {e.problem}" + (f" ({e.found})" if e.found else "")
             for name, e in errors.items()]  # fmt: skip
    remedies = list(dict.fromkeys(e.remedy for e in errors.values() if e.remedy))
    return ProbelineError(
        "params.yaml: models",
        f"{len(errors)} models {problem}",
        found="\n            ".join(found),
        remedy="\n            ".join(remedies),
    )


def _try(name: str, entry: Model) -> ProbelineError | None:
    place = f"params.yaml: models.{name}"
    try:
        if entry.weights == "imported" or entry.made_by is not None:
            return None
        if entry.architecture.startswith(torch_hub.PREFIX):
            torch_hub.hub_constructor(entry.architecture, f"{place}.architecture")
        elif entry.architecture.startswith(hub.PREFIX):
            hub.hub_files(
                entry.architecture,
                f"{place}.architecture",
                with_weights=entry.weights == "pretrained",
            )
        elif entry.weights == "pretrained":
            fetch_pretrained(entry.architecture, f"{place}.weights")
        provide_weights(entry, f"{place}.weights")
    except ProbelineError as error:
        return error
    return None
