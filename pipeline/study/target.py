"""The data sets that the answer is about; all others only judge evaluations."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cache.errors import ProbelineError
from pipeline.project.paths import PARAMS, SCORES
from pipeline.study.schema import Study


@dataclass(frozen=True)
class Target:
    """What the answer is about.

    Attributes
    ----------
    datasets : tuple of str
        Empty only in a study without any data set.
    chosen : str
        By which rule, where `report.target` names none; else empty.
    """

    datasets: tuple[str, ...]
    chosen: str = ""

    @property
    def words(self) -> str:
        """Its name, or of several data sets their names."""
        return " and ".join(filter(None, [", ".join(self.datasets[:-1]), *self.datasets[-1:]]))


def target_of(named: Sequence[str], roles: Mapping[str, str]) -> Target:
    """The target of a study.

    Parameters
    ----------
    named : sequence of str
        `report.target`.
    roles : mapping of str to str
        Role of each data set, in the study's order; ``""`` where nobody said it.

    Raises
    ------
    ProbelineError
        When a named one does not exist.
    """
    if named:
        for name in named:
            _check(name, list(roles))
        return Target(tuple(dict.fromkeys(named)))
    outside = [name for name, role in roles.items() if role == "out_of_domain"]
    if len(roles) <= 1:
        return Target(tuple(roles), "the only data set" if roles else "")
    if len(outside) == 1:
        return Target(tuple(outside), "the only out-of-domain data set")
    if outside:
        return Target((outside[0],), "the first out-of-domain data set")
    return Target((next(iter(roles)),), "the first data set, as none has the role out-of-domain")


def check_target(study: Study) -> None:
    """Refuse a target that the study does not have, before anything is computed.

    Where scores were imported, it may be one of their data sets: `target_of` knows, later.

    Raises
    ------
    ProbelineError
        With the nearest name.
    """
    if not any(SCORES.glob("*.csv")):
        for name in study.report.target:
            _check(name, list(study.datasets))


def _check(name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ProbelineError(
        f"{PARAMS}: report.target",
        "there is no such data set",
        expected=f"one of {', '.join(known)}" if known else "a data set",
        found=name,
        remedy=f"did you mean `{near[0]}`?" if near else "name one of them, or none",
    )
