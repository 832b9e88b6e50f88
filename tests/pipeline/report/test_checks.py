"""Which cheap check can be trusted: its three states, and each sentence from its numbers."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import pytest
from made_inputs import make_inputs, table
from scipy import optimize

from pipeline.models.zoo import zoo_names
from pipeline.report.checks import OPEN, SAME, YES, Check, Trust, _on_target, trust_in
from pipeline.report.checks_words import (
    merged,
    models_wanted,
    not_good_enough,
    on_target,
    statements,
    to_find_out,
    until_then,
    verdict,
)  # fmt: skip
from pipeline.report.choice import FEW, Choice
from pipeline.report.contests import Contest, Versus
from pipeline.report.pasting import SUGGESTED, lines_to_paste
from pipeline.statistics.settling import groups_needed
from pipeline.statistics.statements import Leader
from pipeline.study.target import Target

NAN = float("nan")


def leader(models=9, low=-0.2, families=6, targets=3):
    return Leader("LogME on photos", 0.8, low, 0.95, 19, models, families, targets, 0.6, 0.9)


def trust(state=OPEN, *, across=True, of=None, checks=(), models=9, inside=1, needed=NAN, same=0):
    return Trust(state, across, "kNN on photos" if across else "kNN", 0.2, of, same, models, 6,
                 inside, 3, needed, tuple(checks), 0.5)  # fmt: skip


def check(label, picked="a", behind=0.0, at_most=0.009, *, near=True, good=False, on=True):
    return Check(label, on, True, picked, behind, at_most, near, good, 0.2)


def few(shots, *numbers):
    return replace(check(f"{shots} label{'s' * (shots > 1)} a class", *numbers), shots=shots)


def choice(models=9, images=124):
    others = tuple(Versus(f"m{i}", 0.8, 0.1, 0.2, near=True, images_to_tell=1_034.0)
                   for i in range(models - 1))  # fmt: skip
    c = Contest("linear", ("mine",), "a", 0.9, NAN, NAN, others, (), compared=True, images=images)
    return Choice(Target(("mine",)), "linear", c, FEW, "a", images=images)


def test_the_three_states_where_data_sets_are_compared():
    said = verdict(trust(YES, of=leader(low=0.3)), choice())
    assert said == (
        "Yes: use kNN on photos (0.20 s a model). It orders the models best of 19 checks. Compared "
        "were 9 models of 6 families on 3 data sets."
    )
    said = verdict(trust(SAME, of=leader(low=0.3), same=1), choice())
    assert said.startswith("No difference was found between the best check and 1 other check: use ")
    said = verdict(trust(of=leader()), choice())
    assert said == (
        "This study cannot say: 9 models of 6 families on 3 data sets are too few to tell the best "
        "of 19 checks from chance."
    )


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (1, "1 model is too few to rank checks by (at least 8)."),
        (3, "3 models are too few to rank checks by (at least 8); a check that picks blindly is "
            "right once in 3."),
    ],
)  # fmt: skip
def test_too_few_models(models, said):
    found = trust(across=False, models=models, inside=0)
    assert verdict(found, choice(models)) == f"This study cannot say: {said}"
    assert models_wanted(found) == 8 - models


def test_one_folder_alone():
    kind = {"across": False, "inside": 0}
    yes = trust(YES, checks=[check("kNN", good=True)], **kind)
    assert verdict(yes, choice()) == (
        "Yes, on mine: use kNN (0.20 s a model). It picks a, as the linear probe does. A check "
        "that picks blindly does as well in 1 of 9 cases. Compared were 9 models on 124 test "
        "images."
    )
    assert until_then(yes, choice()) == to_find_out(yes, choice()) == ""
    other = trust(SAME, checks=[check("kNN", "b", 0.004, 0.009, good=True)], **kind)
    assert verdict(other, choice()).startswith(
        "No difference on mine: use the cheapest, kNN (0.20 s a model). It picks b, at most 0.9 "
        "points behind the best."
    )
    nothing = trust(checks=[check("kNN", "b", 0.04, 0.1)], **kind)
    assert verdict(nothing, choice()) == (
        "This study cannot say: on 124 test images none of the cheap checks is shown to pick one "
        "of 9 models that is as good as the best."
    )
    assert to_find_out(nothing, choice()) == (
        "To find out: add a data set like what the models were trained on (role in_domain) and "
        "test images, to about 1,100."
    )


def test_the_same_pick_is_no_proof():
    """Among models that images do not tell apart, some check puts the same one first by luck."""
    lucky = check("kNN", at_most=0.08)
    assert _on_target((lucky,), choice())[0] == OPEN
    assert _on_target((replace(lucky, good=True),), choice())[0] == YES


def test_what_is_not_known_to_cost_less_is_not_called_the_cheapest():
    of = leader(low=0.3)
    for across, seconds in itertools.product((True, False), (0.2, NAN)):
        checks = [check("kNN", good=True)]
        found = replace(trust(SAME, across=across, of=of, same=1, checks=checks), seconds=seconds)
        said = verdict(found, choice())
        assert ("the cheapest" in said) == (seconds == 0.2)
        assert ("as what each costs is not known" in said) != (seconds == 0.2)
    dear = [check("kNN", good=True), replace(check("few", good=True), seconds=NAN)]
    state, _, seconds, _ = _on_target(tuple(dear), choice())
    assert state == SAME
    assert math.isnan(seconds)


@pytest.mark.parametrize(
    ("p", "difference", "state", "untested"),
    [(0.4, -0.1, SAME, 0), (0.01, -0.1, YES, 0), (NAN, -0.1, YES, 1), (None, -0.1, YES, 1)],
)
def test_nothing_is_called_alike_that_nobody_compared(p, difference, state, untested):
    """Of two predictors above 0: `p` is that of the declared test between them, if there is one."""
    names, sets = ["linear/ridge_none@in0", "knn/study@in0"], ["all"]
    of = {
        name: [[value]] * 2
        for name, value in {
            "compared": 1.0,
            "joint_low": 0.3,
            "joint_high": 0.9,
            "n": 9.0,
            "families": 6.0,
            "n_targets": 3.0,
            "lowest": 0.4,
            "highest": 0.9,
            "over_models": 0.0,
        }.items()
    }
    of["mean"] = [[0.8], [0.7]]
    told = {
        "comparison": table(("predictor", "targets"), (names, sets), of, headline_targets="all")
    }
    if p is not None:
        numbers = {"difference": [[[difference]]], "p_max_t": [[[p]]]}
        told["predictor_differences"] = table(
            ("predictor", "reference", "targets"), (names[1:], names[:1], sets), numbers,
            reference=names[0],
        )  # fmt: skip
    inputs = make_inputs(told)
    found = trust_in(inputs, replace(choice(), protocol=""))
    assert (found.state, found.untested) == (state, untested)
    said = verdict(found, choice())
    assert ("was not tested" in said) == bool(untested)
    assert ("No difference" in said) == (state == SAME)


def test_families_that_nobody_named_are_not_counted():
    of = replace(leader(low=0.3, families=1), families_given=False)
    for state, said in ((YES, leader(low=0.3)), (OPEN, leader())):
        unnamed = replace(said, families=1, families_given=False)
        assert "famil" not in verdict(trust(state, of=unnamed), choice()).replace(
            "(families not given)", ""
        )
    assert "9 models (families not given)" in verdict(trust(YES, of=of), choice())


def test_what_was_measured_on_the_target():
    far = check("kNN on photos", "c", 0.08, 0.2, near=False, on=False)
    found = trust(checks=[check("kNN"), *(few(n, "b", 0.02, 0.05) for n in (10, 1)), far])
    assert on_target(found, choice()) == (
        "On mine, beside the linear probe: kNN picks a, the same model; 1 and 10 labels a class "
        "pick b, 2.0 points behind the best (at most 5.0)."
    )
    assert not_good_enough(found.checks) == (
        "Not good enough here, by the model that each puts first: kNN on photos (c, 8.0 points "
        "behind)."
    )
    assert not_good_enough(found.checks[:3]) == ""
    assert until_then(found, choice()) == (
        "Until then: compare models by a linear probe on your own images (0.50 s a model)."
    )


def test_numbers_of_labels_are_one_entry():
    assert merged([few(1)]) == ["1 label a class"]
    assert merged([few(10), check("kNN"), few(5), few(1)]) == ["kNN", "1, 5 and 10 labels a class"]


def test_what_to_add_and_the_lines_for_it():
    found = trust(of=leader(families=6), needed=9)
    assert to_find_out(found, choice()) == "To find out: add about 3 models of other families."
    assert models_wanted(trust(of=leader(), needed=math.inf)) == 0

    class Study:
        models = dict.fromkeys(SUGGESTED[:1])

    lines = lines_to_paste(trust(across=False, models=6, inside=0), Study())
    assert lines.splitlines()[0] == "datasets:"
    assert [line.strip().split(":")[0] for line in lines.splitlines()[3:]] == list(SUGGESTED[1:3])
    assert set(SUGGESTED) <= set(zoo_names())


@pytest.mark.parametrize(("mean", "low", "groups"), [(0.7, -0.4, 7), (0.5, 0.2, 12), (0.9, 0.1, 5)])
def test_groups_needed_end_the_interval_at_0(mean, low, groups):
    """The width goes with 1/√(G - 3): with so many the lower limit is not below 0."""
    width = (math.atanh(mean) - math.atanh(low)) * math.sqrt(groups - 3)
    exact = optimize.brentq(lambda g: math.atanh(mean) - width / math.sqrt(g - 3), 3.001, 10_000)
    assert groups_needed(mean, low, groups) == math.ceil(exact)


def test_groups_that_would_not_help():
    assert math.isinf(groups_needed(-0.1, -0.5, 8))
    assert math.isinf(groups_needed(0.5, NAN, 8))


def test_no_word_of_the_trade():
    for found in (
        trust(of=leader()),
        trust(YES, of=leader(low=0.3)),
        trust(across=False, models=2),
    ):
        said = " ".join(statements(found, choice()))
        assert not re.search(r"[ρΔτ]|\bp [=<]|protocol|predictor|nan", said)
