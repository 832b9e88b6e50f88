"""Which commit the code is of: asked of git, and of nothing but the code.

Committing results or a study makes another commit, and the same code: what is told is the last
commit that touched `CODE`, so the same code tells the same on every machine.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CODE = ("cache", "pipeline", "stages", "probeline", "dvc.yaml", "constraints.txt", "pyproject.toml")
"""What the numbers depend on beside the study: paths in the project's folder."""

_SECONDS = 20


@dataclass(frozen=True)
class Commit:
    """The code as git knows it.

    Attributes
    ----------
    name : str
        All 40 digits; empty where git can't tell.
    changed : bool
        Whether files of the code differ from it.
    unknown : str
        Why there is no name.
    """

    name: str = ""
    changed: bool = False
    unknown: str = ""


def code_commit(folder: Path = Path()) -> Commit:
    """The last commit that touched the code of the project in a folder."""
    top = _git(folder, "rev-parse", "--show-cdup", "--is-shallow-repository")
    if top is None:
        return Commit(unknown="the project's folder is in no git repository that can be read here")
    above, shallow = top.split("\n")[:2]
    if above:  # somebody else's repository, further up
        return Commit(unknown="the project's folder is no git repository of its own")
    if shallow == "true":
        return Commit(unknown="this is a shallow clone, which does not know who touched the code")
    name = (_git(folder, "log", "-1", "--format=%H", "--", *CODE) or "").strip()
    if not name:
        return Commit(unknown="no commit holds the code")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", *CODE)
    return Commit(name, changed=changes is None or bool(changes.strip()))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it is not there or refuses."""
    # A file monitor is a program that the repository's own settings would start.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    try:
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout if ran.returncode == 0 else None
