"""Data sets from a CSV file: every fault of the table is named."""

from __future__ import annotations

import pytest
from projects import fill_folder

from cache.errors import ProbelineError
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root, list_samples
from pipeline.datasets.splits import with_splits

ROWS = [(f"{c}/{n:03d}.png", c, "val" if n == 2 else "train") for c in ("a", "b") for n in range(3)]
GOOD = "path,label,split\n" + "".join(f"{p},{c},{s}\n" for p, c, s in ROWS)


@pytest.fixture
def table(tmp_path):
    fill_folder(tmp_path, {"a": 3, "b": 3})

    def read(text: str | bytes = GOOD, **entry):
        data = text.encode() if isinstance(text, str) else text
        (tmp_path / "list.csv").write_bytes(data)
        dataset = Dataset(
            **{"source": "manifest", "manifest": "list.csv", "path": str(tmp_path)}
            | {"role": "in_domain", **entry}
        )
        samples = list_samples("pets", dataset, dataset_root("pets", dataset))
        return with_splits(samples.assign(sha256=samples["path"]), dataset)[0]

    return read


def test_the_good_table(table):
    samples = table()
    assert samples["path"].tolist() == [p for p, _, _ in ROWS]
    assert samples["class"].tolist() == [c for _, c, _ in ROWS]
    assert samples["split"].tolist() == [s for _, _, s in ROWS]


def test_order_of_rows_does_not_matter(table):
    header, *rows = GOOD.splitlines()
    assert table("\n".join([header, *reversed(rows)])).equals(table())


@pytest.mark.parametrize(
    "text",
    [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD.replace(",a,", ',"a",'), GOOD + "\n\n"],
    ids=["windows", "byte order mark", "quotes", "blank lines"],
)
def test_dialects(table, text):
    assert table(text).equals(table())


FAULTS = {
    "no column": (GOOD.replace("label", "klass"), {}, ["no column 'label'", "klass"]),
    "semicolons": (GOOD.replace(",", ";"), {}, ["no column 'path'"]),
    "absent files": (GOOD + "c/9.png,c,train\n", {}, ["1 of 7 images", "c/9.png"]),
    "absolute path": (GOOD.replace("a/000", "/a/000"), {}, ["/a/000.png"]),
    "outside": (GOOD.replace("a/000", "../a/000"), {}, ["../a/000.png"]),
    "unknown split": (GOOD.replace("val", "later"), {}, ["name no split", "later"]),
    "empty split": (GOOD.replace(",val", ","), {}, ["name no split"]),
    "duplicates": (GOOD + "a/000.png,a,train\n", {}, ["more than once", "a/000.png"]),
    "nothing": ("", {}, ["is not a CSV file"]),
    "not text": (b"\xff\xfe\x00\x01\n", {}, ["is not a CSV file"]),
    "too many fields": (GOOD.replace("train\n", "train,\n"), {}, ["is not a CSV file"]),
    "one row of too many": (GOOD + "a,b,train,d\n", {}, ["is not a CSV file", "line 8"]),
    "short row": (GOOD.replace("a/000.png,a,train", "a/000.png"), {}, ["1 rows", "'label'"]),
    "empty label": (GOOD.replace("png,a,", "png,,"), {}, ["3 rows", "'label'"]),
    "empty path": (GOOD.replace("a/000.png", ""), {}, ["1 rows", "'path'"]),
    "filter column": (GOOD, {"filter": {"domain": "x"}}, ["no column 'domain'"]),
    "filter value": (GOOD, {"filter": {"label": "x"}}, ["no row", "one of a, b", "found     x"]),
    "group column": (GOOD, {"columns": {"group": "site"}}, ["no column 'site'"]),
    "split column": (GOOD, {"columns": {"split": "fold"}}, ["no column 'fold'"]),
    "no manifest": (GOOD, {"manifest": "other.csv"}, ["no such file", "other.csv"]),
    "unset variable": (GOOD, {"manifest": "$NO_SUCH_ONE/l.csv"}, ["NO_SUCH_ONE"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_refused_with_their_place(table, name):
    text, entry, words = FAULTS[name]
    with pytest.raises(ProbelineError) as caught:
        table(text, **entry)
    for word in words:
        assert word in str(caught.value)
    assert "pets" in caught.value.place
    assert caught.value.remedy


def test_filters_keep_what_they_name(table):
    assert set(table(filter={"label": "b"})["class"]) == {"b"}
    assert len(table(filter={"label": ["a", "b"], "split": "train"})) == 4


def test_numbers_are_text_and_nothing_is_taken_for_absent(table):
    text = GOOD.replace(",a,", ",007,").replace(",b,", ",NA,")
    assert set(table(text)["class"]) == {"007", "NA"}
    assert len(table(text.replace("007", "7"), filter={"label": 7})) == 3


def test_without_a_split_column_the_seed_splits(table):
    text = "\n".join(line.rsplit(",", 1)[0] for line in GOOD.splitlines())
    samples = table(text, val_fraction=0.34)
    assert samples.groupby("class")["split"].nunique().tolist() == [2, 2]
    again = table(GOOD, columns={"split": None}, val_fraction=0.34)
    assert again.equals(samples)


def test_groups_are_kept(table):
    samples = table(columns={"group": "split"})
    assert samples["group"].tolist() == [s for _, _, s in ROWS]


def test_a_manifest_elsewhere_names_paths_below_the_root(table, tmp_path):
    (tmp_path / "else where").mkdir()
    elsewhere = tmp_path / "else where" / "own.csv"
    elsewhere.write_text(GOOD)
    assert table(GOOD, manifest=str(elsewhere)).equals(table())
