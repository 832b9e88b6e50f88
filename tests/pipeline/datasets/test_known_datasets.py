"""Known data sets against tiny trees that lie as the real ones do."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import draw
from torchvision.transforms.functional import center_crop, pil_to_tensor

from cache.errors import ProbelineError
from pipeline.datasets import known_layouts
from pipeline.datasets.folders import Folder
from pipeline.datasets.known import known_dataset, known_names
from pipeline.datasets.known_layouts import read_layout
from pipeline.datasets.roots import Entry
from pipeline.datasets.settings import Dataset
from pipeline.models.transforms import padded, squared


def write(folder: Path, path: str, content: str | bytes = "") -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)


def picture(folder: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        draw(number).save(folder / path)


def read(name: str, folder: Path) -> list[tuple[str, str, str]]:
    """Path, class and split of every image, sorted."""
    known = known_dataset(name)
    table = read_layout(known.layout, known.arguments, Folder(folder))
    return sorted(zip(table["path"], table["class"], table["split"], strict=True))


def test_imagenet_without_the_image_that_the_study_leaves_out(tmp_path):
    picture(
        tmp_path,
        "train/n04266014/n04266014_10835.JPEG",
        "train/n04266014/n04266014_1.JPEG",
        "train/n01440764/n01440764_18.JPEG",
        "val/n04266014/ILSVRC2012_val_00000001.JPEG",
        "test/n04266014/ILSVRC2012_test_00000001.JPEG",
    )
    assert read("imagenet", tmp_path) == [
        ("train/n01440764/n01440764_18.JPEG", "n01440764", "train"),
        ("train/n04266014/n04266014_1.JPEG", "n04266014", "train"),
        ("val/n04266014/ILSVRC2012_val_00000001.JPEG", "n04266014", "val"),
    ]


def test_cub_by_its_own_tables(tmp_path):
    albatross, sparrow = "001.Black_footed_Albatross", "118.House_Sparrow"
    names = [f"{albatross}/A_0046_18.jpg", f"{albatross}/A_0009_34.jpg", f"{sparrow}/H_0001_1.jpg"]
    picture(tmp_path, *(f"images/{name}" for name in names))
    write(tmp_path, "images.txt", "".join(f"{n} {p}\n" for n, p in enumerate(names, 1)))
    write(tmp_path, "classes.txt", f"1 {albatross}\n118 {sparrow}\n")
    write(tmp_path, "image_class_labels.txt", "1 1\n2 1\n3 118\n")
    write(tmp_path, "train_test_split.txt", "1 0\n2 1\n3 1\n")
    assert read("cub", tmp_path) == [
        (f"images/{albatross}/A_0009_34.jpg", albatross, "train"),
        (f"images/{albatross}/A_0046_18.jpg", albatross, "val"),
        (f"images/{sparrow}/H_0001_1.jpg", sparrow, "train"),
    ]


def mask(*counts: tuple[int, int]) -> bytes:
    """A palette image with so many pixels of each index."""
    indices = np.concatenate([np.full(count, index, np.uint8) for index, count in counts])
    image = Image.fromarray(indices[np.newaxis], "P")
    image.putpalette(list(range(256)) * 3)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_pascals_label_is_the_class_of_most_pixels(tmp_path):
    write(tmp_path, "ImageSets/Segmentation/train.txt", "2007_000032\n")
    write(tmp_path, "ImageSets/Segmentation/val.txt", "2007_000033\n")
    picture(tmp_path, "JPEGImages/2007_000032.jpg", "JPEGImages/2007_000033.jpg")
    write(tmp_path, "SegmentationClass/2007_000032.png", mask((0, 50), (1, 3), (15, 7), (255, 20)))
    write(tmp_path, "SegmentationClass/2007_000033.png", mask((20, 2), (8, 9), (0, 1)))
    assert read("pascal", tmp_path) == [
        ("JPEGImages/2007_000032.jpg", "person", "train"),
        ("JPEGImages/2007_000033.jpg", "cat", "val"),
    ]
    write(tmp_path, "SegmentationClass/2007_000033.png", mask((0, 9), (255, 3)))
    with pytest.raises(ProbelineError, match="no object class"):
        read("pascal", tmp_path)


def test_caltech_256_is_split_as_published(tmp_path):
    names = [f"{c:03d}.thing-{c}/{c:03d}_{i:04d}.jpg" for c in (1, 2, 257) for i in range(1, 8)]
    for name in names:
        write(tmp_path, name, b"x")
    write(tmp_path, "198.spider/RENAME2")  # lies in the published archive
    found = read("caltech256", tmp_path)
    assert [path for path, *_ in found] == names
    order = np.arange(len(names))
    np.random.RandomState(0).shuffle(order)
    expected = {names[i] for i in order[:16]}  # four fifths of 21, rounded down
    assert {path for path, _, split in found if split == "train"} == expected
    assert int(0.8 * 30_607) == 24_485


def test_domainnet_by_its_own_lists(tmp_path):
    names = ["sketch/The Eiffel Tower/s_1.jpg", "sketch/zebra/s_2.jpg", "sketch/zebra/s_3.jpg"]
    picture(tmp_path, *names)
    write(tmp_path, "sketch_train.txt", f"{names[0]} 0\n{names[1]} 344\n")
    write(tmp_path, "sketch_test.txt", f"{names[2]} 344\n")
    assert read("imagenet_d_sketch", tmp_path) == [
        (names[0], "The Eiffel Tower", "train"),
        (names[1], "zebra", "train"),
        (names[2], "zebra", "val"),
    ]
    (tmp_path / names[1]).unlink()
    with pytest.raises(ProbelineError) as caught:
        read("imagenet_d_sketch", tmp_path)
    assert caught.value.expected == "3 images"
    assert names[1] in caught.value.found


SPECIES = [
    # id, supercategory, family, genus, epithet as in the public taxonomy. The genus task has the
    # first two of these fishes, the species task the last two.
    (0, "Animals", "Lumbricidae", "Lumbricus", "terrestris"),
    (2756, "Ray-finned Fishes", "Amiidae", "Amia", "calva"),
    (2775, "Ray-finned Fishes", "Fundulidae", "Fundulus", "diaphanus"),
    (2776, "Ray-finned Fishes", "Fundulidae", "Fundulus", "heteroclitus"),
]


def inaturalist_parts(
    species: list[tuple[int, str, str, str, str]], counts: dict[str, int]
) -> dict[str, dict[str, list[dict[str, object]]]]:
    """The two annotation files as the competition gives them out, with all their fields.

    Fields and the folders' names: github.com/visipedia/inat_comp/tree/master/2021.
    """
    categories = [
        {
            "id": n,
            "name": f"{genus} {epithet}",
            "common_name": epithet,
            "supercategory": above,
            "kingdom": "Plantae" if above == "Plants" else "Animalia",
            "family": family,
            "genus": genus,
            "specific_epithet": epithet,
            "image_dir_name": f"{n:05d}_{above}_{family}_{genus}_{epithet}",
        }
        for n, above, family, genus, epithet in species
    ]
    parts = {}
    for part, count in counts.items():
        images, annotations = [], []
        for category in categories:
            for _ in range(count):
                number = 1 + len(images)
                path = f"{part}/{category['image_dir_name']}/{number:08d}.jpg"
                images.append({"id": number, "width": 500, "height": 375, "file_name": path,
                               "license": 0, "rights_holder": "x", "latitude": None})  # fmt: skip
                annotations.append(
                    {"id": number, "image_id": number, "category_id": category["id"]}
                )
        parts[part] = {"info": {"year": 2021}, "images": images, "annotations": annotations,
                       "categories": categories, "licenses": []}  # fmt: skip
    return parts


def test_inaturalist_at_three_levels(tmp_path):
    for name, content in inaturalist_parts(SPECIES, {"train_mini": 2, "val": 1}).items():
        write(tmp_path, f"{name}.json", json.dumps(content))
        picture(tmp_path, *(image["file_name"] for image in content["images"]))
    families = read("inaturalist", tmp_path)
    assert len(families) == 12
    assert [found[1] for found in families[4:8]] == ["Fundulidae"] * 4
    genera = Counter(found[1:] for found in read("inaturalist_genus", tmp_path))
    assert genera == {
        (g, s): n for g in ("Amia", "Fundulus") for s, n in (("train", 2), ("val", 1))
    }
    species = {found[1] for found in read("inaturalist_species", tmp_path)}
    assert species == {"Fundulus diaphanus", "Fundulus heteroclitus"}


@pytest.mark.parametrize(
    ("name", "by_group"),
    [
        # PROTOCOLS.md; counts of the authors' lists, [CALC]
        ("genus", {"Aves": 626, "Reptilia": 149, "Mammalia": 141, "Actinopterygii": 113,
                   "Amphibia": 62, "Elasmobranchii": 10, "Ascidiacea": 2}),
        ("species", {"Aves": 755, "Reptilia": 142, "Amphibia": 105, "Mammalia": 57,
                     "Actinopterygii": 44}),
    ],
)  # fmt: skip
def test_inaturalists_subsets_are_the_papers(name, by_group, shared_data):
    with gzip.open(shared_data / "inat_taxonomy.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    species = [(int(r["id"]), "x", r["family"], r["genus"], r["species"]) for r in rows]
    counts = {"train_mini": 1, "val": 1}
    assert {(int(r["n_train_samples"]), int(r["n_val_samples"])) for r in rows} == {(50, 10)}
    parts = inaturalist_parts(species, counts)
    texts = {f"{part}.json": json.dumps(content) for part, content in parts.items()}
    paths = [image["file_name"] for content in parts.values() for image in content["images"]]
    known = known_dataset(f"inaturalist_{name}")
    table = read_layout(known.layout, known.arguments, Listed(paths, texts))
    of_val = table[table["split"] == "val"]
    expected = known.entry["expected"]
    classes = set(of_val["class"])
    assert len(classes) == len(of_val) == len(table) / 2 == expected["classes"] == 1103
    assert (expected["train"], expected["val"]) == (1103 * 50, 1103 * 10)
    with (shared_data / "inat_subset_ids.csv").open(encoding="utf-8") as file:
        wanted = {int(r["category_id"]) for r in csv.DictReader(file) if r["subset"] == name}
    assert {int(path.split("/")[1].split("_")[0]) for path in of_val["path"]} == wanted
    class_of = {int(r["id"]): r["class"] for r in rows}
    assert Counter(class_of[i] for i in wanted) == by_group
    whole = read_layout("inat2021", {"level": "family"}, Listed(paths, texts))
    assert whole["class"].nunique() == 1103


def make_cifar(folder: Path) -> None:
    rng = np.random.default_rng(0)
    write(folder, "fine_label_names.txt", "apple\naquarium_fish\n")
    for name, labels in (("train.bin", (0, 1, 1, 0)), ("test.bin", (1, 0))):
        records = rng.integers(0, 256, (len(labels), 2 + 3072), dtype=np.uint8)
        records[:, 1] = labels
        write(folder, name, records.tobytes())


def test_cifar_100_from_its_binary_files(project):
    make_cifar(project.folder / "cifar")
    project.params["datasets"] = {
        "cifar": {
            "source": "known:cifar100",
            "path": "cifar",
            "expected": {"train": 4, "val": 2, "classes": 2},
        }
    }
    project.write()
    project.run("index", "cifar").succeeded("4 train and 2 val images of 2 classes")
    project.run("extract", "cifar").succeeded("1 computed")
    with open(project.folder / "cifar" / "test.bin", "ab") as file:
        file.write(b"x")
    (project.folder / "data" / "raw" / "cifar100.tar").unlink()
    project.run("index", "cifar").refused("test.bin", "cut short")


def test_wrong_counts_stop_before_anything_runs(project):
    make_cifar(project.folder / "cifar")
    project.params["datasets"] = {"cifar": {"source": "known:cifar100", "path": "cifar"}}
    project.write()
    project.run("index", "cifar").refused("other counts than expected", "50,000 train", "4")


class Listed:
    """A root that has files of these names, and in some of them text."""

    def __init__(self, paths: list[str], texts: dict[str, str]) -> None:
        self._texts = texts
        self._entries = [Entry(path, 0, 1) for path in sorted([*paths, *texts])]

    def entries(self) -> list[Entry]:
        return self._entries

    def read(self, entry: Entry) -> bytes:
        return self._texts[entry.path].encode()


def test_eight_missing_birds_of_all_are_counted_and_named():
    numbers = range(1, 11_789)
    names = [f"{n % 200 + 1:03d}.Bird/{n:05d}.jpg" for n in numbers]
    tables = {
        "images.txt": "".join(f"{n} {name}\n" for n, name in zip(numbers, names, strict=True)),
        "image_class_labels.txt": "".join(f"{n} {n % 200 + 1}\n" for n in numbers),
        "classes.txt": "".join(f"{c} {c:03d}.Bird\n" for c in range(1, 201)),
        "train_test_split.txt": "".join(f"{n} {int(n <= 5994)}\n" for n in numbers),
    }
    there = [f"images/{name}" for name in names]
    table = read_layout("cub", {}, Listed(there, tables))
    assert table["split"].value_counts().to_dict() == {"train": 5994, "val": 5794}
    with pytest.raises(ProbelineError) as caught:
        read_layout("cub", {}, Listed(there[:100] + there[108:], tables))
    assert caught.value.expected == "11,788 images"
    assert caught.value.found.startswith(f"11,780; these are missing: {there[100]}, {there[101]}")


def test_a_missing_image_and_a_missing_class_are_said_while_indexing(project):
    folder = project.folder / "imagenet"
    kinds = ("n01440764", "n01443537")
    picture(folder, *(f"{s}/{k}/{n}.JPEG" for s in ("train", "val") for k in kinds for n in "abc"))
    entry = {"source": "known:imagenet", "path": "imagenet"}
    project.params["datasets"] = {"imagenet": entry}
    project.write()
    project.run("index", "imagenet").refused("expected  1,281,166 train", "found     6 train")
    for wrong, words in (
        ({"train": 7, "val": 6, "classes": 2}, ("7 train", "6 train")),
        ({"train": 6, "val": 6, "classes": 3}, ("3 classes", "2 classes")),
    ):
        project.params["datasets"] = {"imagenet": {**entry, "expected": wrong}}
        project.write()
        project.run("index", "imagenet").refused("other counts than expected", *words)


def test_what_is_missing_is_named(tmp_path):
    write(tmp_path, "readme.txt", "hello")
    with pytest.raises(ProbelineError) as caught:
        read("cub", tmp_path)
    assert "images.txt" in str(caught.value)
    assert "readme.txt" in str(caught.value)


@pytest.mark.parametrize("size", [(20, 16), (16, 20), (7, 16), (16, 16), (33, 8)])
def test_padding_gives_torchvisions_pixels(size):
    image = draw(3, size)
    expected = center_crop(image, [max(size)] * 2)
    assert (pil_to_tensor(padded(image)) == pil_to_tensor(expected)).all()


@pytest.mark.parametrize("size", [(20, 16), (16, 21), (7, 16), (16, 16), (33, 8)])
def test_cutting_gives_torchvisions_pixels(size):
    image = draw(3, size)
    expected = center_crop(image, [min(size)] * 2)
    assert (pil_to_tensor(squared(image, "crop")) == pil_to_tensor(expected)).all()
    assert squared(image, False) is image


def test_padding_is_part_of_the_key(project):
    project.prepare()
    before = project.files("data/embeddings")
    project.params["datasets"]["pets"]["pad"] = True
    project.write()
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").succeeded("0 cached, 1 computed")
    assert project.files("data/embeddings") != before
    project.run("extract", "pets").succeeded("1 cached, 0 computed")
    project.params["datasets"]["pets"]["pad"] = "crop"
    project.write()
    project.run("index", "pets").succeeded()
    project.run("extract", "pets").succeeded("0 cached, 1 computed")


def test_every_known_data_set_is_a_usable_entry():
    for name in known_names():
        entry = Dataset(source=f"known:{name}", path="x")
        assert entry.expected.val is not None
        assert entry.test_only == (entry.expected.train is None)
        assert known_dataset(name).layout in known_layouts.LAYOUTS
        assert entry.pad == {
            "pascal": "crop",
            "cub": True,
            "caltech256": True,
            "cifar100": True,
        }.get(name, False)
    totals = [Dataset(source=f"known:{n}", path="x").expected for n in known_names() if "_d_" in n]
    assert sum(t.train for t in totals) == 409_832
    assert sum(t.val for t in totals) == 176_743
    with pytest.raises(ValueError, match="did you mean cifar100"):
        Dataset(source="known:cifar10", path="x")
