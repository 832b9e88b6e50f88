"""Embeddings in plain files: what is a feature, what is a sample, and what is neither."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.errors import ProbelineError
from pipeline.datasets.embedding_files import Samples, read_embeddings, read_samples
from pipeline.datasets.feature_columns import choose_features
from pipeline.datasets.imported import differing, import_embeddings

ROWS, WIDTH = 6, 8
NUMBERS = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
F = [f"f{i}" for i in range(WIDTH)]


def frame(columns=F, numbers=NUMBERS, **more):
    return pd.DataFrame(numbers, columns=columns).assign(
        **{"class": ["cat", "dog"] * (ROWS // 2), **more}
    )


def parquet(tmp_path, table, *declared):
    """The embeddings of a Parquet file."""
    table.to_parquet(tmp_path / "train.parquet")
    return read_embeddings(tmp_path, "train", declared)


def arrays(tmp_path, numbers, table="class\n" + "cat\ndog\n" * (ROWS // 2)):
    np.save(tmp_path / "train.npy", numbers, allow_pickle=True)
    (tmp_path / "train.csv").write_text(table)
    return read_embeddings(tmp_path, "train")


def refused(call, *words):
    with pytest.raises(ProbelineError) as caught:
        call()
    assert not [word for word in words if word not in str(caught.value)], str(caught.value)
    assert caught.value.remedy


LEFT_OVER = {
    "label_id": [0, 1] * 3,
    "label_id float": [0.0, 1.0] * 3,
    "fold": list(range(6)),
    "Unnamed: 0": list(range(6)),
    "f8_std": [0.5] * 6,
    "f9": [0.5] * 6,
    "confidence": np.float32([0.5] * 6),
    "label_0": [0, 1] * 3,
    "F8": [0.5] * 6,
}


@pytest.mark.parametrize("name", LEFT_OVER)
@pytest.mark.parametrize("first", [True, False])
def test_a_number_beside_the_series_is_asked_about(tmp_path, name, first):
    table = frame(**{name.removesuffix(" float"): LEFT_OVER[name]})
    if first:
        table = table[table.columns[::-1]]
    refused(
        lambda: parquet(tmp_path, table), "not clear which columns", name.removesuffix(" float")
    )
    found = parquet(tmp_path, table, "f[0-7]")
    np.testing.assert_array_equal(np.sort(found.features), np.sort(NUMBERS))


@pytest.mark.parametrize(
    ("columns", "order"),
    [
        (F, F),
        (F[::-1], F),  # a series is read in the order of its numbers
        ([str(i) for i in range(WIDTH)], None),
        ([f"dim_{i + 1:03d}" for i in range(WIDTH)], None),
        (["sepal", "petal", "a", "b", "c", "d", "e", "g"], None),
    ],
)
def test_columns_that_are_beyond_doubt(tmp_path, columns, order):
    found = parquet(tmp_path, frame(columns, path=["x"] * ROWS, id=list("abcdef")))
    table = pd.DataFrame(NUMBERS, columns=columns)[order or columns]
    np.testing.assert_array_equal(found.features, table.to_numpy())
    assert found.samples.ids == list("abcdef")
    assert any("not used: path" in note for note in found.notes)


def test_ten_columns_and_more_are_in_order_of_their_numbers(tmp_path):
    columns = [f"f{i}" for i in range(12)]
    numbers = np.tile(np.arange(12, dtype=np.float32), (ROWS, 1))
    table = frame(columns, numbers)
    found = parquet(tmp_path, table[sorted(table.columns)])  # f0, f1, f10, f11, f2 …
    np.testing.assert_array_equal(found.features, numbers)


@pytest.mark.parametrize(
    ("columns", "more", "words"),
    [
        (list("abcdefgh"), {"n": [1] * 6}, ["a, b, c"]),  # of two types
        (["y", *"bcdefgh"], {}, ["y among 8"]),
        (["target", *"bcdefgh"], {}, ["target"]),
        ([f"cls_{i}" for i in range(4)] + [f"mean_{i}" for i in range(4)], {}, ["cls_0"]),
        (F, {"list": [[1.0, 2.0]] * 6}, ["list", "f0"]),
        ([f"label_{i}" for i in range(8)], {}, ["label_0"]),
    ],
)
def test_columns_in_doubt(tmp_path, columns, more, words):
    refused(lambda: parquet(tmp_path, frame(columns, **more)), "not clear", *words)


def test_a_table_without_numbers_and_patterns_that_match_nothing(tmp_path):
    table = pd.DataFrame({"class": ["a", "b"], "text": ["x", "y"]})
    refused(lambda: parquet(tmp_path, table), "no column of numbers", "text")
    refused(lambda: parquet(tmp_path, frame(), "g*"), "--features g*", "f0")
    refused(lambda: parquet(tmp_path, frame(), "class"), "--features class")
    refused(lambda: arrays_with_features(tmp_path), "--features", "an array")


def arrays_with_features(tmp_path):
    (tmp_path / "train.parquet").unlink()
    arrays(tmp_path, NUMBERS)
    return read_embeddings(tmp_path, "train", ("f*",))


def test_the_number_of_a_row_that_pandas_writes_is_no_feature(tmp_path):
    table = frame()
    table.index = pd.Index([5, 3, 9, 1, 0, 2])
    found = parquet(tmp_path, table)
    assert found.features.shape == (ROWS, WIDTH)
    assert any("__index_level_0__" in note for note in found.notes)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), WIDTH)]
)
def test_one_column_of_lists(tmp_path, kind):
    columns = {
        "class": pa.array(["cat", "dog"] * 3),
        "embedding": pa.array(NUMBERS.tolist(), kind),
        "label_id": pa.array([0, 1] * 3),
    }
    pq.write_table(pa.table(columns), tmp_path / "train.parquet", row_group_size=4)
    found = read_embeddings(tmp_path, "train")
    np.testing.assert_array_equal(found.features, NUMBERS)
    assert any("not used: label_id" in note for note in found.notes)


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ([[1.0, 2.0]] * 5 + [[1.0]], ["different numbers of features", "1, 2"]),
        ([[1.0, 2.0]] * 5 + [None], ["no features", "row 6"]),
        ([[1.0, 2.0]] * 5 + [[1.0, None]], ["not a finite number", "row 6", "feature 2"]),
        ([[1.0, 2.0]] * 5 + [[1.0, float("inf")]], ["not a finite number", "row 6"]),
    ],
)
def test_lists_that_are_none(tmp_path, lists, words):
    table = pd.DataFrame({"class": ["cat", "dog"] * 3, "embedding": lists})
    refused(lambda: parquet(tmp_path, table), *words)


def test_a_missing_feature_is_named(tmp_path):
    numbers = NUMBERS.copy()
    numbers[4, 2] = np.nan
    table = frame(numbers=numbers, id=[f"s{i}" for i in range(6)])
    refused(lambda: parquet(tmp_path, table), "nan", "row 5", "id s4", "feature 3")


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", ">f8", "i1", "i4", "u1", "?", "g", "F"])
def test_real_numbers_of_every_type_are_read_as_they_are(tmp_path, kind):
    numbers = (np.arange(ROWS * WIDTH).reshape(ROWS, WIDTH) % 100) / 4
    typed = np.asfortranarray(numbers.astype("f4")) if kind == "F" else numbers.astype(kind)
    found = arrays(tmp_path, typed).features
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, typed.astype("f4"))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (NUMBERS + 1j, ["complex numbers"]),
        (NUMBERS.astype(object), ["Python objects"]),
        (NUMBERS.astype("U5"), ["text"]),
        (NUMBERS.astype("S5"), ["bytes"]),
        (np.zeros((6, 8), "V2"), ["bfloat16"]),
        (np.zeros((6, 8), "M8[s]"), ["dates"]),
        (NUMBERS.ravel(), ["(48,)"]),
        (NUMBERS[None], ["(1, 6, 8)"]),
        (NUMBERS[:5], ["(5, 8)", "6 rows"]),
        (NUMBERS[:, :0], ["(6, 0)"]),
        (NUMBERS.astype("f8") * 1e300, ["not a finite number", "float32 can hold"]),
    ],
)
def test_arrays_that_are_no_embeddings(tmp_path, numbers, words):
    refused(lambda: arrays(tmp_path, numbers), *words)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\x93NUMPY", b"\x93NUMPY\x01\0\x05\0{a:", b"PK\3\4"]
)
def test_files_that_are_no_arrays(tmp_path, content):
    arrays(tmp_path, NUMBERS)
    (tmp_path / "train.npy").write_bytes(content)
    refused(lambda: read_embeddings(tmp_path, "train"), "can't be read as embeddings", "train.npy")


def test_an_archive_of_arrays_is_called_that(tmp_path):
    arrays(tmp_path, NUMBERS)
    np.savez(tmp_path / "both.npz", a=NUMBERS, b=NUMBERS)
    (tmp_path / "both.npz").rename(tmp_path / "train.npy")
    refused(lambda: read_embeddings(tmp_path, "train"), "an archive that holds a.npy, b.npy")


@pytest.mark.parametrize("second", ["train.parquet", "train.tsv"])
def test_two_sources_in_one_folder(tmp_path, second):
    arrays(tmp_path, NUMBERS)
    (tmp_path / second).write_bytes(b"")
    refused(lambda: read_embeddings(tmp_path, "train"), "several files", second)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("class,source\n" + "cat,web,\n" * 6, ["number of cells", "train.csv:2"]),
        ("class,source\n" + "cat\n" * 6, ["number of cells", "train.csv:2"]),
        ("class;source\n" + "cat;web\n" * 6, ["semicolons"]),
        ("class\n" + "cat\n" * 5 + '""\n', ["1 row has nothing", "line 7"]),
        ("class,id\n" + "cat,\n" * 6, ["6 rows have nothing", "'id'"]),
        ("class,id\n" + "cat,a\n" * 6, ["given twice", "a on line 2, line 3"]),
        ("class\n" + "1\n1.0\n" * 3, ["one number in two ways"]),
        ("class,class\n" + "a,b\n" * 6, ["given twice"]),
        ("class,group\n" + "a,nan\n" * 6, ["the word nan"]),
        ("kind\n" + "a\n" * 6, ["no column class"]),
    ],
)
def test_tables_with_a_fault(tmp_path, table, words):
    refused(lambda: arrays(tmp_path, NUMBERS, table), *words)


def test_what_the_table_says(tmp_path):
    table = "\ufeffid,class,group,note\r\n" + "".join(
        f'00{i}," Cafe\u0301 ",{"x" if i else ""},"a, b"\r\n' for i in range(6)
    )
    found = arrays(tmp_path, NUMBERS, table)
    assert found.samples.ids == [f"00{i}" for i in range(6)]
    assert set(found.samples.classes) == {"Caf\u00e9"}
    assert found.samples.groups == [None, *["x"] * 5]
    assert found.notes == ("not used: note",)
    assert read_samples(tmp_path, "train") == found.samples


def pair(tmp_path, train, val):
    train.to_parquet(tmp_path / "train.parquet")
    val.to_parquet(tmp_path / "val.parquet")
    return import_embeddings(tmp_path, "mine", "model")


def test_train_and_val_have_the_same_columns_and_classes(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    letters = list("abcdefgh")
    refused(
        lambda: pair(tmp_path, frame(letters), frame(letters[::-1])),
        "different feature columns", "a in train where val has h",
    )  # fmt: skip
    pair(tmp_path, frame(F), frame(F[::-1]))  # numbered: in one order
    stored = [np.load(f"data/imported/mine/model/{split}.npy") for split in ("train", "val")]
    np.testing.assert_array_equal(stored[0], stored[1][:, ::-1])
    texts = frame().assign(**{"class": ["1", "0"] * 3}), frame().assign(**{"class": ["1.0"] * 6})
    refused(lambda: pair(tmp_path, *texts), "one number in two ways", "1 and 1.0")
    numbers = frame().assign(**{"class": [1, 0] * 3}), frame().assign(**{"class": [1.0] * 6})
    kept = pair(tmp_path, *numbers)
    assert set(kept.splits["val"].samples.classes) == {"1"}
    assert "1.0 is read as 1" in kept.splits["val"].notes[0]
    assert kept.changed


def test_samples_that_differ():
    one = Samples(["a", "b", "c"], ["x", "y", "x"], [None] * 3)
    assert differing(one, one) == ""
    shuffled = Samples(["c", "a", "b"], ["x", "x", "y"], [None] * 3)
    assert differing(shuffled, one) == ""
    assert "b: x instead of y" in differing(Samples(one.ids, ["x", "x", "x"], []), one)
    assert "1 are missing, e.g. c" in differing(Samples(["a", "b"], ["x", "y"], []), one)
    more = Samples([*one.ids, "d"], [*one.classes, "y"], [])
    assert "1 are not among them, e.g. d" in differing(more, one)
    numbers = Samples(one.ids, ["0", "1", "0"], [])
    assert "3 samples have another class" in differing(numbers, one)
    assert differing(numbers, one, ["x", "y"]) == ""
    assert differing(Samples(one.ids, ["1", "0", "1"], []), one, ["x", "y"])
    assert differing(Samples(one.ids, ["0", "y", "0"], []), one, ["x", "y"])  # of two minds


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 30), st.sampled_from(["f", "", "emb_", "x-"]), st.integers(0, 1),
    st.lists(st.sampled_from(["label_id", "fold", "Unnamed: 0", "age", "y"]), unique=True),
    st.randoms(),
)  # fmt: skip
def test_a_series_is_taken_whole_or_asked_about(count, stem, start, left, random):
    """Never a column too many, never one too few, whatever the order of the columns."""
    series = [f"{stem}{start + i}" for i in range(count)]
    names = [*series, *left, "id", "class"]
    random.shuffle(names)
    schema = pa.schema([(name, pa.string() if name in ("id", "class") else pa.float32())
                        for name in names])  # fmt: skip
    try:
        chosen = choose_features(schema, (), "here").names
    except ProbelineError:
        assert left
    else:
        # One column is no series: it is as good a name as `age`.
        assert list(chosen) == series or (count == 1 and set(chosen) == {*series, *left})
        assert not {"label_id", "fold", "Unnamed: 0", "y"} & set(chosen)
