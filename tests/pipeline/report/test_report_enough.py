"""How much data is enough: curves of regret, and what a tie costs."""

from __future__ import annotations

import numpy as np
from made_inputs import drawn, make_inputs, partial, table, withheld

from pipeline.report.enough import figures, section, sufficient

DATASETS, PROTOCOLS, SIZES = ["in0", "out0"], ["knn", "linear"], [10, 100, 1000]


def by_labels():
    p = np.linspace(0.2, 1, 6).reshape(1, 2, 3)
    return table(
        ("head", "dataset", "budget"),
        (["ridge"], DATASETS, ["1_shots", "5_shots", "10_shots"]),
        {
            "labels": np.broadcast_to([1.0, 5.0, 10.0], p.shape),
            "p_best": p,
            "regret": (1 - p) / 10,
            "regret_high": (1 - p) / 5,
            "models": np.full(p.shape, 3),
            "draws": np.full(p.shape, 10),
        },
        target="linear/ridge_none",
    )


def by_images(p=None):
    p = np.linspace(0.2, 1, 12).reshape(2, 2, 3) if p is None else p
    numbers = {"p_best": p, "regret": 1 - p, "regret_high": 1 - p, "models": p * 0 + 3}
    return table(("protocol", "dataset", "images"), (PROTOCOLS, DATASETS, SIZES), numbers)


def ties(needed=1200.0, tied=(1, 1, 0)):
    ones = np.ones((2, 2, 3))
    tied = np.broadcast_to(np.array(tied, float), ones.shape)
    alone = tied.sum(axis=2, keepdims=True) == 1
    return table(
        ("protocol", "dataset", "model"),
        (PROTOCOLS, DATASETS, ["<b>", "b", "c"]),
        {
            "score": ones * [0.9, 0.8, 0.1],
            "rank": ones * [1, 2, 3],
            "within_chance": tied,
            "behind_high": np.where(alone, 0.0, 0.0412) * ones,
            "images_to_tell": np.where(tied * ~alone > 0, needed, np.nan) * [np.nan, 1, 1],
            "images": ones * 1000,
        },
    )


def test_a_line_for_each_data_set_of_the_chosen_protocol():
    p = np.linspace(0.2, 1, 12).reshape(2, 2, 3)
    p[1, 1] = np.nan
    inputs = make_inputs({"enough_images": by_images(p), "enough_labels": by_labels()})
    found = figures(inputs)
    assert set(found) == {"enough_labels", "enough_images"}
    for protocol, lines in (("knn", 2), ("linear", 1)):
        kinds = [kind for kind, _ in drawn(found["enough_images"], protocol=protocol)]
        assert (kinds.count("line mark"), kinds.count("point")) == (lines, 3 * lines)
    assert [k for k, _ in drawn(found["enough_labels"])].count("point") == 6


def test_sizes_of_test_sets_are_numbers():
    rows = figures(make_inputs({"enough_images": by_images()}))["enough_images"][1]
    assert {row["images"] for row in rows} == set(SIZES)


def page_of(statistic):
    inputs = make_inputs({"ranks": statistic})
    return " ".join(partial("enough", section(inputs), inputs=inputs).split())


def test_the_page_says_what_a_tie_costs_and_how_many_images_tell_it():
    text = page_of(ties())
    assert "2 of 3" in text
    assert "<td>4.2</td>" in text  # upwards: a limit
    assert "1,200" in text
    assert "too few" in text
    assert "one that lies 1 point behind" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "too few" not in page_of(ties(needed=900))


def test_a_best_model_alone_needs_no_number():
    text = page_of(ties(tied=(1, 0, 0)))
    assert text.count("it alone") == 4
    assert "nan" not in text


def test_from_how_many_on_a_choice_is_cheap_enough():
    rows = [
        {"head": "ridge", "dataset": dataset, "labels": labels, "regret": regret}
        for dataset, regrets in {
            "a": (0.02, 0.009, 0.004), "b": (0.005, 0.02, 0.009), "c": (0.3, 0.2, 0.01),
            "d": (0.0, 0.0, 0.0), "e": (0.02, 0.02, 0.001),
        }.items()
        for labels, regret in zip((1.0, 4.97, 1_000.0), regrets, strict=True)
    ]  # fmt: skip
    assert sufficient(rows, "head", "labels", 0.01) == {
        "ridge": "By ridge, the choice loses less than 1 point on average with 1 label a class or "
        "more on d, with 4.97 labels a class or more on a, with 1,000 labels a class or more on b "
        "and e, with no number that was tried on c."
    }
    found = sufficient(rows, "head", "labels", 0.25)["ridge"]
    assert "less than 25 points on average with 1 label a class or more on a, b, d and e" in found


def test_regret_is_drawn_in_points_and_the_words_say_the_same():
    inputs = make_inputs({"enough_labels": by_labels()})
    spec, rows = figures(inputs)["enough_labels"]
    assert [row["lost"] for row in rows] == [round(100 * row["regret"], 3) for row in rows]
    assert {layer["encoding"]["y"]["field"] for layer in spec["layer"]} == {"lost"}
    [said] = section(inputs).label_words
    assert said.startswith("By ridge, the choice loses less than 1 point on average with 10 labels")
    assert partial("enough", section(inputs), inputs=inputs).count(said) == 1


def test_the_page_says_what_is_withheld():
    statistics = {
        "enough_labels": withheld("no few-shot scores"),
        "enough_images": by_images(np.full((2, 2, 3), np.nan)),
        "ranks": withheld("no outcomes"),
    }
    inputs = make_inputs(statistics)
    text = partial("enough", section(inputs), inputs=inputs)
    assert figures(inputs) == {}
    assert "Withheld: no few-shot scores." in text
    assert "Withheld: no outcomes." in text
    assert "no data set has more than ten test images" in text
    assert "data-figure" not in text
