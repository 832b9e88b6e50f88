"""Which model to take: the rule of each verdict, and each sentence from the numbers it states."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import pipeline.report
from pipeline.report.choice import (
    ALONE,
    CLEAR,
    FEW,
    NONE,
    TIE,
    UNTESTED,
    VERDICTS,
    Choice,
    ClassShare,
    Offer,
    Says,
    as_good,
    recommended,
    verdict_of,
)  # fmt: skip
from pipeline.report.choice_words import (
    accuracy,
    images_needed,
    instruction,
    says,
    statements,
    take,
    verdict,
    weak,
)
from pipeline.report.contests import Contest, Versus
from pipeline.report.verdicts import UNPAIRED, standing
from pipeline.study.target import Target

NAN = float("nan")
SIZES = {"a": 9e6, "b": 1e6, "c": 4e6, "d": NAN}


def contest(near=(), apart=(), *, at_most=0.02, compared=True, images=124):
    """The best model is a; `near` and `apart` are limits by name."""
    others = [
        Versus(n, 0.88, 0.032, limit, near=True, as_good=limit < 0.01, images_to_tell=1_034.0)
        for n, limit in dict(near).items()
    ] + [Versus(n, 0.7, 0.132, limit) for n, limit in dict(apart).items()]
    return Contest("linear", ("mine",), "a", 0.919, 0.857, 0.961, tuple(others), (),
                   compared=compared, at_most=at_most, images=images)  # fmt: skip


def choice(c, *, images=124, **words):
    good = as_good(c)
    found = verdict_of(c, good)
    return Choice(Target(("mine",)), "linear", c, found, recommended(c, found, good, SIZES),
                  0.919, 0.857, 0.961, images, good, **words)  # fmt: skip


def test_the_rules():
    assert verdict_of(contest(), ()) == ALONE
    assert choice(contest({}, {"b": 0.3})).verdict == CLEAR
    assert choice(contest({"b": 0.05})).verdict == FEW
    assert choice(contest({"b": 0.05}, compared=False)).verdict == UNTESTED
    # One alone that is as good is the best one itself: that settles no tie.
    assert choice(contest({"b": 0.05}, at_most=0.002)).verdict == FEW
    tie = choice(contest({"b": 0.004, "c": 0.005, "d": 0.006}, at_most=0.002))
    assert (tie.verdict, tie.picked) == (TIE, "b")  # the smallest of those that are as good
    assert tie.as_good == ("a", "b", "c", "d")
    assert choice(contest({"b": 0.05, "c": 0.005}, at_most=0.002)).picked == "c"
    assert set(VERDICTS) == {CLEAR, TIE, FEW, UNTESTED}


def test_a_clear_winner():
    found = choice(contest({}, {"b": 0.3, "c": 0.4}))
    assert take(found) == "Take a."
    assert accuracy(found, "top1") == (
        "91.9% (95%: 85.7 to 96.1) of 124 test images right, by a linear probe"
    )
    assert accuracy(replace(found, level=0.9), "top1").startswith("91.9% (90%: 85.7 to 96.1)")
    assert verdict(found) == (
        "Clear winner: both others are behind it; the next, b, by 13.2 points."
    )
    assert instruction(found).startswith("Use it:")
    assert verdict(choice(contest({}, {"b": 0.3}))) == (
        "Clear winner: the other model, b, is 13.2 points behind."
    )


def test_too_few_images():
    small = Offer("smallest", "b", 0.88, 0.0412, 1e6, 2.0)
    first = Offer("most accurate", "a", 0.919, 0.02, 9e6, 9.0)
    found = choice(contest({"b": 0.0412, "c": 0.03}), offers=(first, small))
    assert images_needed(found) == 1_100
    assert verdict(found) == (
        "Too few images to name a winner: on 124 test images 2 others are within chance of it. It "
        "lies at most 2.0 points behind the best."
    )
    assert instruction(found) == (
        "Where size matters take b, at most 4.2 points behind. To settle it, test on more images: "
        "about 1,100 would tell a model that lies 1 point behind in 80% of cases."
    )
    one = choice(contest({"b": 0.0412}, images=1), images=1)
    assert "on 1 test image 1 other is within chance of it." in verdict(one)
    assert "of 1 test image right" in accuracy(one, "top1")


def test_what_is_compared_as_if_on_different_images_says_so_wherever_images_are_counted():
    for near, behind in (({"b": 0.05}, {}), ({"b": 0.001}, {})):
        found = contest(near, behind, at_most=0.002)
        unpaired = choice(replace(found, paired=False))
        assert UNPAIRED in verdict(unpaired)
        assert UNPAIRED in standing(unpaired.contest)
        assert UNPAIRED not in verdict(choice(found))


def test_images_that_are_enough_are_not_asked_for():
    found = choice(contest({"b": 0.05}, images=2_000), images=2_000)
    assert instruction(found) == (
        "Use it for now: these 2,000 test images tell a model that lies 1 point behind in 80% of "
        "cases."
    )


def test_a_tie_names_the_smallest():
    found = choice(contest({"b": 0.004}, at_most=0.002))
    assert take(found) == "Take b."
    assert verdict(found) == (
        "Tie of 2: on 124 test images each is as good as the best to within 1 point. b is the "
        "smallest of them."
    )


def test_nothing_to_choose_from():
    nobody = Choice(Target(("mine",)), "", None, NONE)
    assert statements(nobody, "top1") == [
        "No model can be recommended: no score is known on mine.",
        "Run `dvc repro`, or name another data set in `report.target`.",
    ]
    alone = choice(contest())
    assert verdict(alone) == "It is the only model of the study: there is nothing to choose."
    assert says(alone) == ""


def test_what_each_way_of_testing_says():
    def made(*pairs):
        return choice(contest({"b": 0.05}), says=tuple(Says(c, m, 0.5) for c, m in pairs))

    assert says(made(("kNN", "a"), ("linear probe", "a"))) == (
        "The same model is first by kNN and linear probe."
    )
    assert says(made(("kNN", "b"), ("linear probe", "a"), ("10 labels a class", "a"))) == (
        "First by kNN: b; by linear probe and 10 labels a class: a."
    )
    assert says(made(("linear probe", "a"))) == ""


def test_weak_classes():
    shares = (ClassShare("<b>", 6, 20, weak=True), ClassShare("8", 15, 20, weak=False),
              ClassShare("9", 20, 20, weak=False))  # fmt: skip
    assert weak(shares) == "Weak on: <b> (30.0%, 6 of 20)."
    chance = "That may be chance: no class is shown to lie below the mean."
    assert weak(shares[1:]) == f"Lowest: 8 (75.0%, 15 of 20). {chance}"
    assert weak(shares[2:] * 2) == ""
    many = tuple(ClassShare(f"c{i}", 1, 20, weak=True) for i in range(1_000))
    assert weak(many).endswith("c2 (5.0%, 1 of 20); and on 997 more.")
    assert weak(()) == weak(shares[:1]) == ""


@pytest.mark.parametrize(
    "made", [contest(), contest({}, {"b": 0.3}), contest({"b": 0.05}), contest({"b": 0.001})]
)
def test_no_word_of_the_trade(made):
    said = " ".join(statements(choice(made), "top1"))
    assert not re.search(r"[ρΔτ]|\bp [=<]|protocol|predictor|nan", said)


# Of single scores (`metrics.CONFIDENCE`), and quantiles: what the setting does not change.
ALWAYS_95 = {"labels.html.j2", "latex_tables.py", "methods.html.j2", "remarks.py", "scores.html.j2"}


def test_the_level_of_an_interval_is_never_written_by_hand():
    report = Path(pipeline.report.__file__).parent
    files = [path for path in report.iterdir() if path.suffix in (".py", ".j2")]
    code = {path.name: re.sub(r'"""[\s\S]*?"""', "", path.read_text("utf-8")) for path in files}
    assert {name for name, text in code.items() if "95%" in text} == ALWAYS_95
