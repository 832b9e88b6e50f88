"""The words in which the report speaks of tasks and of sets of targets."""

from __future__ import annotations

from pipeline.study.protocol_list import protocol_label

SET_WORDS = {
    "other_protocols": "scores by other protocols",
    "all": "scores by all protocols",
}


SUPERVISION_WORDS = {"self_supervised": "self-supervised", "none": "not trained"}
"""What a model learned from, where the study's word is not the reader's."""


def supervision_word(name: str) -> str:
    """``self_supervised`` as ``self-supervised``."""
    return SUPERVISION_WORDS.get(name, name)


def task_word(task: str) -> str:
    """``2_classes`` as ``2 classes``."""
    return task.replace("_", " ")


def set_word(targets: str) -> str:
    """A set of targets, as in `pipeline.statistics.predictions`."""
    return SET_WORDS.get(targets) or protocol_label(targets)
