"""Data sets from a CSV file: every fault of the table is named."""

from __future__ import annotations

import tracemalloc

import pandas as pd
import pytest
from projects import fill_folder
from ruamel.yaml import YAML
from source_contract import SourceContract

from cache.errors import ProbelineError
from pipeline.datasets.indexing import build_index
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root, list_source
from pipeline.datasets.splits import with_splits
from pipeline.datasets.tables import read_table

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
        samples = list_source("pets", dataset, dataset_root("pets", dataset)).samples
        return with_splits(samples.assign(sha256=samples["path"]), dataset).samples

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
    "semicolons": (GOOD.replace(",", ";"), {}, ["separated by semicolons", "path;label"]),
    "absent files": (GOOD + "c/9.png,c,train\n", {}, ["1 of 7 images", "c/9.png"]),
    "absolute path": (GOOD.replace("a/000", "/a/000"), {}, ["/a/000.png"]),
    "outside": (GOOD.replace("a/000", "../a/000"), {}, ["../a/000.png"]),
    "unknown split": (GOOD.replace("val", "later"), {}, ["name no split", "later"]),
    "empty split": (GOOD.replace(",val", ","), {}, ["name no split"]),
    "duplicates": (GOOD + "a/000.png,a,train\n", {}, ["more than once", "a/000.png"]),
    "nothing": ("", {}, ["is an empty file"]),
    "not text": (b"\xff\xfe\x00\x01\n", {}, ["is not UTF-8 text", "UTF-16"]),
    "too many fields": (GOOD.replace("train\n", "train,\n"), {}, ["list.csv:2", "number of cells"]),
    "one row of too many": (
        GOOD + "a,b,train,d\n",
        {},
        ["list.csv:8", "number of cells", "4 cells"],
    ),
    "short row": (
        GOOD.replace("a/000.png,a,train", "a/000.png"),
        {},
        ["list.csv:2", "1 cell on line 2"],
    ),
    "empty label": (
        GOOD.replace("png,a,", "png,,"),
        {},
        ["3 rows", "'label'", "line 2, line 3, line 4"],
    ),
    "empty path": (GOOD.replace("a/000.png", ""), {}, ["1 row has", "'path'", "line 2"]),
    "filter column": (GOOD, {"filter": {"domain": "x"}}, ["no column 'domain'"]),
    "filter value": (GOOD, {"filter": {"label": "x"}}, ["no row", "one of a, b", "found     x"]),
    "bars": (GOOD.replace(",", "|"), {}, ["separated by vertical bars"]),
    "tabs in a .csv": (GOOD.replace(",", "\t"), {}, ["separated by tabs", ".tsv"]),
    "latin-1": (GOOD.replace(",b,", ",bé,").encode("latin-1"), {}, ["list.csv:5", "0xE9"]),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), {}, ["is not UTF-8", "zero bytes"]),
    "a zero byte": (GOOD + "\0", {}, ["is not UTF-8", "list.csv:8"]),
    "a workbook": (b"PK\x03\x04" + bytes(range(200)), {}, ["is no text", ".xlsx"]),
    "a header alone": ("path,label,split\n", {}, ["has no rows"]),
    "capitals": (GOOD.replace("label", "Label"), {}, ["is it 'Label'?", "columns: {path"]),
    "mistyped": (GOOD, {"filter": {"splt": "x"}}, ["no column 'splt'", "is it 'split'?"]),
    "no header": (GOOD.partition("\n")[2], {}, ["no header", "path,label"]),
    "JSON": ('[{"path": "a/000.png"}]', {}, ["is JSON", "to_csv"]),
    "no split's word": (GOOD.replace(",val", ",1"), {}, ["name no split", "1 on line 4, line 7"]),
    "no word at all": (GOOD.replace(",val", ","), {}, ["filter: {split: [train]}"]),
    "val and test": (
        GOOD.replace("b/002.png,b,val", "b/002.png,b,test"),
        {},
        ["2 values of column 'split' could be the val split"],
    ),
    "open quote": (GOOD + '"a/9.png,a,train\n', {}, ["line 8 is no CSV"]),
    "column twice": (GOOD.replace("split", "label", 1), {}, ["'label' is given twice"]),
    "space for a label": (GOOD.replace("png,a,", "png, ,"), {}, ["3 rows", "'label'"]),
    "unseen": (GOOD.replace(",a,", ",a\u200bb,"), {}, ["U+200B ZERO WIDTH SPACE", "line 2"]),
    "line break": (GOOD.replace(",a,", ',"a\nb",'), {}, ["U+000A", "line 2"]),
    "two numbers": (
        GOOD.replace("1.png,a", "1.png,1.0").replace(",a,", ",1,"),
        {},
        ["one number in two ways", "1 and 1.0"],
    ),
    "windows": (GOOD.replace("a/0", "C:\\a\\0"), {}, ["Windows machine", "begin in `path`"]),
    "no group but a word": (
        GOOD.replace("2.png,a,val", "2.png,a,nan"),
        {"columns": {"group": "split", "split": None}},
        ["the word nan", "line 4"],
    ),
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


def test_labels_and_groups_are_stripped_and_composed(table):
    text = GOOD.replace(",a,", ", cafe\u0301 ,").replace("2.png,b,val", "2.png,b,")
    samples = table(text, columns={"group": "split", "split": None})
    assert set(samples["class"]) == {"caf\u00e9", "b"}
    assert samples["group"].tolist()[:3] == ["train", "train", "val"]
    assert samples["group"].isna().tolist() == [False] * 5 + [True]  # rather than a group ""


@pytest.mark.parametrize("label", ["NA", "null", "None", "nan", "01", "1e3", "-", "True", "N/A"])
def test_every_word_is_a_label(table, label):
    assert set(table(GOOD.replace(",a,", f",{label},"))["class"]) == {label, "b"}


def test_paths_as_windows_and_as_absolute_ones_write_them(table, tmp_path):
    good = table()
    assert table(GOOD.replace("a/0", "a\\0")).equals(good)
    assert table(GOOD.replace("\na/0", f"\n{tmp_path}/a/0")).equals(good)
    assert table(GOOD.replace("\na/0", "\n./b/../a/0")).equals(good)
    assert table(GOOD.replace("\na/0", "\n a/0")).equals(good)


def test_a_file_whose_name_has_a_backslash_goes_before_windows(table, tmp_path):
    (tmp_path / "a\\000.png").write_bytes((tmp_path / "b/000.png").read_bytes())
    assert "a\\000.png" in table(GOOD.replace("a/000", "a\\000"))["path"].tolist()


def test_named_files_may_be_hidden_but_not_elsewhere(table, tmp_path):
    (tmp_path / "a").rename(tmp_path / ".a")
    assert table(GOOD.replace("\na/", "\n.a/"))["path"].tolist()[0] == ".a/000.png"
    secret = tmp_path.parent / "secret.png"
    secret.write_bytes(b"")
    for path in ("../secret.png", str(secret), "b/../../secret.png", "\\\\..\\secret.png"):
        with pytest.raises(ProbelineError, match="1 of 7 images"):
            table(GOOD.replace("\na/", "\n.a/") + f"{path},b,val\n")


def test_tab_separated_and_parquet(table, tmp_path):
    good = table()
    (tmp_path / "list.tsv").write_text(GOOD.replace(",", "\t"))
    assert table(manifest="list.tsv").equals(good)
    columns = {"path": [p for p, _, _ in ROWS], "split": [s for _, _, s in ROWS]}
    labels = {"text": [c for _, c, _ in ROWS], "whole": [int(c == "a") for _, c, _ in ROWS]}
    labels["point"] = [float(number) for number in labels["whole"]]
    for name, of_rows in labels.items():
        frame = pd.DataFrame({**columns, "label": of_rows, "site": ["x", None, float("nan")] * 2})
        frame.to_parquet(tmp_path / f"{name}.parquet")
    assert table(manifest="text.parquet").equals(good)
    numbered = table(manifest="whole.parquet", columns={"group": "site"})
    assert numbered["class"].tolist() == ["1"] * 3 + ["0"] * 3
    assert numbered["group"].fillna("none").tolist() == ["x", "none", "none"] * 2
    assert table(manifest="point.parquet")["class"].tolist() == numbered["class"].tolist()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([None, "a", "b"], ["1 row has nothing", "row 1"]),
        ([float("nan"), 1.0, 0.0], ["1 row has nothing", "row 1"]),
        ([0.5, 1.0, 0.0], ["no single name", "row 1", "0.5"]),
        ([["a"], ["a", "b"], ["b"]], ["no single name", "list of 1"]),
        ([b"\xff", b"a", b"b"], ["no single name", "no UTF-8"]),
        ([float("inf"), 1.0, 0.0], ["no single name", "inf"]),
    ],
)
def test_labels_of_a_typed_table_that_are_none(table, tmp_path, labels, words):
    paths = [p for p, _, _ in ROWS][:3]
    pd.DataFrame({"path": paths, "label": labels}).to_parquet(tmp_path / "odd.parquet")
    with pytest.raises(ProbelineError) as caught:
        table(manifest="odd.parquet")
    for word in ("odd.parquet", "label", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_file(table, tmp_path, content):
    (tmp_path / "odd.parquet").write_bytes(content)
    with pytest.raises(ProbelineError, match=r"is no Parquet file"):
        table(manifest="odd.parquet")


def test_what_is_read_otherwise_than_it_stands_there_is_said(table, tmp_path):
    assert table().attrs["notes"] == ()
    merged = table(GOOD.replace("0.png,a,", "0.png,a ,"))
    assert set(merged["class"]) == {"a", "b"}
    assert "'a ' and 'a'" in merged.attrs["notes"][0]
    frame = pd.DataFrame({"path": [p for p, _, _ in ROWS], "label": [1.0] * 3 + [0.0] * 3})
    frame.to_parquet(tmp_path / "point.parquet")
    dataset = Dataset(
        source="manifest", manifest="point.parquet", path=str(tmp_path), role="in_domain"
    )
    assert any("1.0 is read as 1" in remark for remark in build_index("pets", dataset).remarks)


@pytest.mark.parametrize("rows", [1_000, 10_000])
def test_a_long_table_takes_memory_in_proportion_and_no_more(rows):
    """Of its cells, those that repeat are kept once: a row takes less than its text does."""
    text = "path,label,note\n" + "".join(
        f"red/{n:06d}.png,{'ab'[n % 2]},{'x' * 200}{n}\n" for n in range(rows)
    )
    data = text.encode()
    tracemalloc.start()
    found = read_table(data, "list.csv", "here", lambda _: ["path", "label"])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == rows
    assert kept < 150 * rows  # the notes, which nobody asked for, are not kept


class TestManifest(SourceContract):
    def write(self, folder, images):
        rows = [(f"{i.number}.png", i.label, i.split) for i in images]
        table = pd.DataFrame(rows, columns=["path", "label", "split"]).dropna(axis="columns")
        table.to_csv(folder / "list.csv", index=False)
        for image in images:
            (folder / f"{image.number}.png").write_bytes(image.data)
        return {"source": "manifest", "path": str(folder), "manifest": "list.csv"}


def test_words_of_a_split_column_in_any_spelling(table):
    assert table(GOOD.replace(",train", ",Training").replace(",val", ",DEV")).equals(table())


def test_val_and_test_of_a_column_are_asked_about_and_both_answers_work(table):
    text = GOOD.replace("b/002.png,b,val", "b/002.png,b,test").replace("1.png,a,t", "1.png,a,T")
    with pytest.raises(ProbelineError) as caught:
        table(text)
    advised = caught.value.remedy.split("`")[1::2]
    both, one, left = (YAML(typ="safe").load(part) for part in advised)
    assert len(table(text, **both)) == 6
    assert len(table(text, **one, **left)) == 5


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("a/00", "images/a/00", "take images/ away"),
        ("a/00", "/home/me/a/00", "take /home/me/ away"),
        (".png", "", "000.png is there"), ("a/00", "A/00", "mind capitals: a/000.png"),
    ],
)  # fmt: skip
def test_where_missing_files_are_is_said(table, old, new, word):
    with pytest.raises(ProbelineError, match="not exist") as caught:
        table(GOOD.replace(old, new))
    assert word in caught.value.remedy


def test_a_table_in_a_folder_beside_the_images_is_read_as_the_message_says(table, tmp_path):
    (tmp_path / "meta data").mkdir()
    (tmp_path / "meta data" / "list.csv").write_text(GOOD)
    with pytest.raises(ProbelineError) as caught:
        table(manifest="meta data/list.csv")
    advised = YAML(typ="safe").load(caught.value.remedy.split("`")[-2])
    assert table(**advised).equals(table())


def test_names_within_a_folder_are_found_as_the_message_says(table):
    bare = GOOD.replace("a/00", "00").replace("b/00", "00")
    lines = [line for line in bare.splitlines() if ",b," not in line]
    with pytest.raises(ProbelineError) as caught:
        table("\n".join(lines))
    advised = [YAML(typ="safe").load(part) for part in caught.value.remedy.split("`")[1::2]]
    assert len(table("\n".join(lines), **advised[0], **advised[1])) == 3
