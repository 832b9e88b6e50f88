"""Classes are matched by name, never by label."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets.shared_classes import SharedClasses

CLASSES = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1).map(tuple)


@given(source=CLASSES, target=CLASSES)
def test_every_label_leads_to_its_own_name(source, target):
    shared = SharedClasses.of(source, target)
    assert set(shared.names) == set(source) & set(target)
    assert list(shared.names) == [name for name in target if name in source]
    for classes, labels, places in (
        (source, shared.in_source, shared.from_source),
        (target, shared.in_target, shared.from_target),
    ):
        assert [classes[label] for label in labels] == list(shared.names)
        for name, place in zip(classes, places, strict=True):
            assert (shared.names[place] == name) if place >= 0 else (name not in shared.names)


@given(source=CLASSES, target=CLASSES)
def test_there_is_an_obstacle_unless_two_classes_and_an_image_are_shared(source, target):
    shared = SharedClasses.of(source, target)
    labels = np.arange(1)
    possible = len(set(source) & set(target)) >= 2 and target[0] in source
    assert (shared.obstacle(labels) == "") == possible
