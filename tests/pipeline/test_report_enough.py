"""How much data is enough: curves, and the images that separate the two best models."""

from __future__ import annotations

import numpy as np
from made_inputs import drawn, make_inputs, partial, table, withheld

from pipeline.report.enough import figures, section

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


def separate(needed=1200.0, low=-0.01, difference=0.02):
    ones = np.ones((2, 2))
    return table(
        ("protocol", "dataset"),
        (PROTOCOLS, DATASETS),
        {
            "best": np.full((2, 2), "<b>", object),
            "second": np.full((2, 2), "c", object),
            "difference": ones * difference,
            "low": ones * low,
            "high": ones * 0.05,
            "p": ones * 0.2,
            "needed": ones * needed,
            "n_test": ones * 1000,
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


def test_the_page_says_how_many_images_are_needed():
    text = partial("enough", section(make_inputs({"images_to_separate": separate()})))
    assert "1,200" in text
    assert "too few" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "2.0 <span" in " ".join(text.split())
    enough = partial("enough", section(make_inputs({"images_to_separate": separate(needed=900)})))
    assert "too few" not in enough


def test_equal_models_need_no_number():
    equal = separate(needed=np.nan, low=np.nan, difference=0.0)
    text = partial("enough", section(make_inputs({"images_to_separate": equal})))
    assert text.count("no difference found") == 4
    assert "nan" not in text


def test_the_page_says_what_is_withheld():
    statistics = {
        "enough_labels": withheld("no few-shot scores"),
        "enough_images": by_images(np.full((2, 2, 3), np.nan)),
        "images_to_separate": withheld("no outcomes"),
    }
    inputs = make_inputs(statistics)
    text = partial("enough", section(inputs))
    assert figures(inputs) == {}
    assert "Withheld: no few-shot scores." in text
    assert "Withheld: no outcomes." in text
    assert "no data set has more than ten test images" in text
    assert "data-figure" not in text
