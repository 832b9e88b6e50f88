"""Tables of statistics: what is not filled in stays unknown, and all that was said comes along."""

import numpy as np

from pipeline.statistics.table import ROW, blank, blank_words, fill, listed, tabled, withheld

LABELS = {"protocol": {"knn": "knn/k5", "linear": "linear/ridge"}, "dataset": ("a", "b", "c")}


def test_a_table_has_its_dimensions_in_the_order_of_its_labels():
    columns = blank(LABELS, ("mean", "n"))
    fill(columns, (1, 2), {"mean": 0.5, "n": 7})
    fill(columns, np.s_[0, :], {"n": [1, 2, 3]})
    words = blank_words(LABELS, ["why"])
    fill(words, (0, 0), {"why": "few"})
    beside = {"cost": ("protocol", ["none", "some"])}
    found = tabled(LABELS, {**columns, **words}, beside, definition="of a test", models=3)
    assert found["mean"].dims == ("protocol", "dataset")
    assert found["protocol"].values.tolist() == ["knn", "linear"]
    assert found["dataset"].values.tolist() == ["a", "b", "c"]
    assert found["cost"].sel(protocol="linear") == "some"
    assert found.attrs == {"definition": "of a test", "models": 3}
    assert float(found["mean"].sel(protocol="linear", dataset="c")) == 0.5
    assert int(found["mean"].notnull().sum()) == 1
    np.testing.assert_array_equal(found["n"].values, [[1, 2, 3], [np.nan, np.nan, 7]])
    assert found["why"].values.ravel().tolist() == ["few", "", "", "", "", ""]


def test_rows_are_numbered_and_words_stay_words():
    found = listed([{"model": "m", "right": True}, {"model": "n", "right": False}], source="s")
    assert found["model"].dims == (ROW,)
    assert found[ROW].values.tolist() == [0, 1]
    assert found["model"].values.tolist() == ["m", "n"]
    assert found["right"].values.tolist() == [1.0, 0.0]
    assert found.attrs == {"source": "s"}


def test_what_is_withheld_says_why_and_holds_nothing():
    for found in (withheld("a mean", "there are no scores"), listed([], withheld="no images")):
        assert not found.variables
        assert found.attrs["withheld"]
