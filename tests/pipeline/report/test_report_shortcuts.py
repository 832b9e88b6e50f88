"""The shortcut audit in the page: a verdict for each data set in plain words."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest
from made_groups import grouped, planted
from made_images import TARGET, VARIANT
from made_inputs import make_inputs, partial

from pipeline.report import shortcuts
from pipeline.statistics.group_shortcuts import group_labels, group_neighbors

SAID = {
    0: ("No sign that the embeddings hold the group", "That is no proof that it is not there"),
    4: ("The group can be read, but says little about the class", "the embeddings hold the group"),
}


def words_of(labels, groups, features):
    evidence = grouped(labels, groups, features)
    found = {s.__name__: s(evidence) for s in (group_labels, group_neighbors)}
    inputs = make_inputs(found, models=("a",), datasets=("in0", TARGET), variants=(VARIANT,))
    section = shortcuts.section(inputs)
    assert not section.withheld
    markup = partial("shortcuts", section, inputs=inputs)
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", markup)).split()), markup


@pytest.mark.parametrize("tint", SAID)
def test_a_verdict_and_its_numbers(tint):
    text, _ = words_of(*planted(np.random.default_rng(3), 200, tint))
    for said in SAID[tint]:
        assert said in text
    assert "200 images of 3 classes and 4 groups (3 images without a group left out)" in text
    assert "200 train images, 4 groups" in text
    assert "200 images" in text


def test_a_shortcut_and_what_new_groups_cost():
    text, _ = words_of(*planted(np.random.default_rng(0), 200, tint=4, follows=0.7))
    assert re.search(r"A shortcut is possible; new groups cost \d+\.\d points", text)
    assert "the group says something about the class" in text
    falls = r"kNN accuracy falls by \d+\.\d points, \d+\.\d% to \d+\.\d% "
    assert re.search(falls + r"\(\d+\.\d to \d+\.\d points, over images;", text)


def test_what_can_not_be_told_apart_is_said():
    labels, groups, features = planted(np.random.default_rng(0), 100, tint=2, follows=1)
    text, _ = words_of(labels, groups, features)
    assert "The group can’t be told apart from the class" in text
    assert "Each class has images of one group only, and each group of one class" in text
    text, _ = words_of(labels, np.minimum(groups, 1), features)
    assert "Each class has images of one group only:" in text
    text, _ = words_of(labels, 2 * labels + np.arange(100) % 2, features)
    assert "Each group lies within one class (as patients do)" in text


def test_few_images_and_no_neighbours():
    text, _ = words_of(*planted(np.random.default_rng(0), 20, tint=2))
    assert "Too few images to say" in text
    evidence = grouped(*planted(np.random.default_rng(0), 60, tint=2))
    evidence.images.train = (evidence.images.train[0], {})
    found = {s.__name__: s(evidence) for s in (group_labels, group_neighbors)}
    section = shortcuts.section(make_inputs(found, models=("a",)))
    assert section.datasets[0].headline == "Only the labels could be looked at"
    assert "no neighbours are stored" in section.gaps


def test_without_groups_the_section_is_one_line():
    labels, groups, features = planted(np.random.default_rng(0), 60, tint=0)
    found = group_labels(grouped(labels, np.full_like(groups, -1), features))
    section = shortcuts.section(make_inputs({"group_labels": found}))
    assert section.withheld.startswith("Withheld: no data set of this study has groups")
