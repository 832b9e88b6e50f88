"""Which data set a stage is about: on the command line, or as DVC names the stage.

dvc.yaml has no name of params.yaml in a `cmd`: DVC gives that text to a shell before any check of
ours, and a study may come from a stranger.
"""

from __future__ import annotations

import os
import re

from cache.errors import ProbelineError
from pipeline.study.schema import Study


def named_dataset(study: Study, stage: str, argument: str | None) -> str:
    """The data set that a stage works on.

    Parameters
    ----------
    study : Study
    stage : str
        The stage's name in dvc.yaml, before the ``@``.
    argument : str or None
        From the command line; without it, DVC's environment variable ``DVC_STAGE`` says it.

    Raises
    ------
    ProbelineError
        When neither says it, or the study has no such data set.
    """
    dataset = argument or _of_dvc(stage)
    require_dataset(study, dataset)
    return dataset


def require_dataset(study: Study, dataset: str) -> None:
    """Refuse a data set that the study does not have.

    Raises
    ------
    ProbelineError
        Names those it has.
    """
    if dataset not in study.datasets:
        raise ProbelineError(
            f"data set {dataset}",
            "the study has no such data set",
            expected=f"one of {', '.join(study.datasets)}",
            found=dataset,
            remedy="add it to `datasets` in params.yaml",
        )


def _of_dvc(stage: str) -> str:
    said = os.environ.get("DVC_STAGE", "")
    # From a folder below the project, DVC puts the path of dvc.yaml before the stage's name.
    named = re.fullmatch(rf"(?:.*dvc\.yaml:)?{stage}@(.+)", said, re.DOTALL)
    if named is None:
        raise ProbelineError(
            f"stage {stage}",
            "does not know which data set is meant",
            expected=f"its name as argument, or DVC_STAGE={stage}@NAME as `dvc repro` sets it",
            found=f"DVC_STAGE={said}" if said else "neither",
            remedy=f"python -m stages.{stage} NAME",
        )
    return named[1]
