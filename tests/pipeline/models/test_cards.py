"""Models' cards: what is kept of a model, and what a stranger may have written there."""

from dataclasses import asdict

import pytest

from pipeline.models.card import Card

CARD = Card("a" * 64, {"size": 32, "crop": 0.875, "mode": "bicubic", "mean": [0.5, 0.5, 1]}, 9, 99)


def test_a_card_is_read_as_it_was_written():
    assert Card.from_json(asdict(CARD)) == CARD
    facts = asdict(CARD)
    del facts["gmacs"]  # of the first days
    assert Card.from_json(facts) == CARD


@pytest.mark.parametrize(
    "odd",
    [
        {"weights": 1}, {"weights": None}, {"transform": []}, {"transform": {"mean": ["a"]}},
        {"transform": {"mean": {"a": 1}}}, {"columns": "9"}, {"columns": True}, {"parameters": 1.5},
        {"gmacs": "much"}, {"more": 1},
    ],
)  # fmt: skip
def test_no_card_of_ours_is_a_type_error(odd):
    with pytest.raises(TypeError):
        Card.from_json({**asdict(CARD), **odd})


def test_a_card_without_weights_is_a_type_error():
    facts = asdict(CARD)
    del facts["weights"]
    with pytest.raises(TypeError):
        Card.from_json(facts)
