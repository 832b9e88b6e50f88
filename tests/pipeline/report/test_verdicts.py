"""What is said of the best model: each sentence from the numbers that it states."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_inputs import make_inputs, partial, table

from pipeline.report.contests import Contest, Versus, contest
from pipeline.report.verdicts import (
    at_most,
    cost,
    enough_images,
    listed,
    margin_words,
    rounded,
    standing,
    verdict,
)

NAN = float("nan")


def made(near=(), apart=(), *, at_most=0.02, images=124, margin=0.01, compared=True):
    """A contest: `near` and `apart` are limits of how far others lie behind, by name."""
    others = [
        Versus(name, 0.8, 0.032, limit, near=True, as_good=limit < margin, images_to_tell=1_034.0)
        for name, limit in dict(near).items()
    ]
    others += [
        Versus(name, 0.7, 0.132, limit, as_good=limit < margin)
        for name, limit in dict(apart).items()
    ]
    return Contest(
        "knn", ("d",), "a", 0.832, NAN, NAN, tuple(others), (), compared=compared,
        at_most=at_most if near else 0.0, images=images, margin=margin,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("near", "apart", "said"),
    [
        ("", "", "There is no other model to compare it with."),
        ("b", "", "Within chance of it on 124 test images: b."),
        ("bc", "", "Within chance of it on 124 test images: b and c. No model differs from it."),
        ("bc", "d", "Within chance of it on 124 test images: b and c. The other model differs."),
        ("b", "cd", "Within chance of it on 124 test images: b. The other 2 models differ."),
        ("", "b", "It differs from the only other model on 124 test images: b, "
         "13.2 points behind."),
        ("", "bc", "It differs from both others on 124 test images; next is b, "
         "13.2 points behind."),
    ],
)  # fmt: skip
def test_who_is_within_chance_and_who_differs(near, apart, said):
    found = made(dict.fromkeys(near, 0.05), dict.fromkeys(apart, 0.3))
    assert standing(found) == said
    one = standing(made(dict.fromkeys(near, 0.05), dict.fromkeys(apart, 0.3), images=1))
    assert one == said.replace("124 test images", "1 test image")


def test_without_outcomes_nothing_is_said_of_chance():
    plain = Contest(
        "knn", ("d",), "a", 0.8, NAN, NAN, (Versus("b", 0.5, 0.3),), (), compared=False
    )  # fmt: skip
    assert verdict(plain) == [
        "Next: b (50.0%). Whether they differ can’t be told: there are no per-image outcomes on "
        "every data set."
    ]
    equal = Contest(
        "knn", ("d",), "a", 0.5, NAN, NAN, (Versus("b", 0.5, 0.0),), (), compared=False
    )  # fmt: skip
    assert standing(equal).startswith("The same score: b. ")
    assert plain.others[0].verdict == "not tested"


def test_what_a_tie_costs():
    assert cost(made({}, {"b": 0.3})) == ""
    assert cost(made({"b": 0.0412, "c": 0.03})) == (
        "a lies at most 2.0 points behind the best, any of them at most 4.2."
    )
    assert cost(made({"b": 0.0412, "c": 0.009}, {"d": 0.0099, "e": 0.2})) == (
        "a lies at most 2.0 points behind the best, any of them at most 4.2. As good as the best "
        "to within 1 point: c and d."
    )
    assert cost(made({"b": 0.0412}, at_most=0.004)).endswith(
        "As good as the best to within 1 point: a."
    )
    assert cost(made({"b": 0.004}, at_most=0.001, margin=0.005)) == (
        "All of them are as good as the best to within 0.5 points: none lies more than 0.4 points "
        "behind."
    )


def test_how_many_images_would_tell():
    assert enough_images(made({"b": 0.05})) == (
        "About 1,100 test images would tell a model that lies 1 point behind in 80% of cases."
    )
    assert enough_images(made({"b": 0.05}, images=2_000)) == (
        "These 2,000 test images tell a model that lies 1 point behind in 80% of cases."
    )
    assert enough_images(made({"b": 0.001})) == ""  # it is as good
    assert enough_images(made({}, {"b": 0.3})) == ""


@given(st.floats(0, 1))
def test_limits_are_rounded_up_only(share):
    shown = float(at_most(share))
    assert shown >= 100 * share - 1e-6
    assert shown < 100 * share + 0.1


@given(st.integers(1, 10**7))
def test_images_are_rounded_up_to_two_digits(number):
    found = rounded(number)
    assert number <= found <= number * 1.11 + 1
    assert len(str(found).rstrip("0")) <= 2


def test_lists_and_units():
    assert [listed(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    assert listed([str(i) for i in range(12)]) == "0, 1, 2, 3, 4, 5, 6 and 5 more"
    assert [margin_words(share) for share in (0.01, 0.005, 0.02)] == [
        "1 point", "0.5 points", "2 points"
    ]  # fmt: skip


def means(near=(1, 1, 0)):
    tied = np.array([[near]], float)
    return table(
        ("protocol", "scope", "model"),
        (["knn"], ["all"], ["<b>", "b", "c"]),
        {
            "mean": [[[0.9, 0.88, 0.5]]], "low": [[[0.8] * 3]], "high": [[[0.95] * 3]],
            "behind": [[[0, 0.02, 0.4]]], "behind_high": [[[0.011, 0.05, 0.5]]],
            "within_chance": tied, "as_good": [[[0.0] * 3]],
            "images_to_tell": np.where(tied == 1, [[[NAN, 700.0, 0.0]]], NAN),
            "images": [[[124.0] * 3]],
        },
    )  # fmt: skip


def test_the_page_says_it_and_names_are_no_markup():
    inputs = make_inputs(
        {"mean_scores": means()}, models=("<b>", "b", "c"), variants=("knn/study",)
    )
    found = contest(inputs, "knn")
    said = verdict(found)
    assert len(said) == 3
    page = partial(
        "best", None, answers=SimpleNamespace(contests=[found]), inputs=inputs, listed=listed,
        comparisons=lambda *_: "",
    )  # fmt: skip
    for sentence in said:
        assert sentence.replace("<", "&lt;").replace(">", "&gt;") in page
    assert "<b>" not in page
