"""Small trees of the shape that the paper's archives have, their known faults included.

Each function fills the folder that `probeline datasets prepare` would, and returns the counts that
the data set's own lists give. Sources: the archives' own documentation, torchvision's readers, and
the paper's code (PROTOCOLS.md of this project's facts).
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from projects import draw

Counts = dict[str, int]


def write(folder: Path, path: str, content: str | bytes = "") -> None:
    """A file, and the folders above it."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)


def image(seed: int, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """An encoded picture."""
    file = io.BytesIO()
    draw(seed, (24, 18 + seed % 5)).convert(mode).save(file, kind)
    return file.getvalue()


def imagenet(folder: Path) -> Counts:
    """One PNG and a few CMYK files are called JPEG; the paper left one image out; a test split."""
    for n, (split, kind, name) in enumerate(
        (split, kind, f"{kind}_{i}" if split == "train" else f"ILSVRC2012_val_0000000{i}")
        for split, count in (("train", 3), ("val", 2))
        for kind in ("n01440764", "n04266014")
        for i in range(count)
    ):
        odd = {0: ("PNG", "RGB"), 1: ("JPEG", "CMYK"), 2: ("JPEG", "L")}.get(n, ("JPEG", "RGB"))
        write(folder, f"{split}/{kind}/{name}.JPEG", image(n, *odd))
    write(folder, "train/n04266014/n04266014_10835.JPEG", image(99))
    write(folder, "test/ILSVRC2012_test_00000001.JPEG", image(98))
    write(folder, "meta.bin", b"\x80")
    return {"train": 6, "val": 4, "classes": 2}


SPECIES = [
    (2756, "Amiidae", "Amia", "calva"),
    (2775, "Fundulidae", "Fundulus", "diaphanus"),
    (2776, "Fundulidae", "Fundulus", "heteroclitus"),
    (2777, "Fundulidae", "Fundulus", "notatus"),
    (0, "Lumbricidae", "Lumbricus", "terrestris"),
]
"""Ids and names of the public taxonomy: both tasks have the second, one each the others."""


def inat2021(folder: Path) -> dict[str, Counts]:
    """One folder for three tasks; images without a place, a file that no list names."""
    categories = [
        {"id": n, "name": f"{genus} {epithet}", "family": family, "genus": genus,
         "specific_epithet": epithet, "kingdom": "Animalia", "supercategory": "Animals",
         "image_dir_name": f"{n:05d}_{family}_{genus}_{epithet}"}
        for n, family, genus, epithet in SPECIES
    ]  # fmt: skip
    for part, count in (("train_mini", 2), ("val", 1)):
        images: list[dict[str, Any]] = []
        for category in categories:
            for _ in range(count):
                number = len(images) + 1
                path = f"{part}/{category['image_dir_name']}/{number:08d}.jpg"
                images.append({"id": number, "file_name": path, "latitude": None,
                               "category": category["id"]})  # fmt: skip
                write(folder, path, image(number))
        write(folder, f"{part}.json", json.dumps({
            "images": images, "categories": categories, "licenses": [],
            "annotations": [{"id": i["id"], "image_id": i["id"], "category_id": i["category"]}
                            for i in images],
        }))  # fmt: skip
    write(folder, "val/.DS_Store", b"x")
    return {
        "inaturalist": {"train": 10, "val": 5, "classes": 3},
        "inaturalist_genus": {"train": 4, "val": 2, "classes": 2},
        "inaturalist_species": {"train": 6, "val": 3, "classes": 3},
    }


def cub(folder: Path) -> Counts:
    """Tables and further folders of the archive; a few images are grey."""
    names = [f"{c}/{c[4:]}_{i:04d}_{i}.jpg" for c in ("001.Albatross", "200.Yellowthroat")
             for i in range(3)]  # fmt: skip
    for n, name in enumerate(names):
        write(folder, f"images/{name}", image(n, "JPEG", "L" if n == 1 else "RGB"))
    numbers = range(1, 7)
    write(folder, "images.txt", "".join(f"{n} {p}\n" for n, p in zip(numbers, names, strict=True)))
    write(folder, "classes.txt", "1 001.Albatross\n200 200.Yellowthroat\n")
    write(
        folder, "image_class_labels.txt", "".join(f"{n} {1 if n < 4 else 200}\n" for n in numbers)
    )
    write(folder, "train_test_split.txt", "".join(f"{n} {n % 2}\n" for n in numbers))
    write(folder, "bounding_boxes.txt", "1 60.0 27.0 325.0 304.0\n")
    write(folder, "attributes/class_attribute_labels_continuous.txt", "1 2 3\n")
    write(folder, "parts/parts.txt", "1 back\n")
    write(folder, "README", "Caltech-UCSD Birds-200-2011")
    return {"train": 3, "val": 3, "classes": 2}


def pascal(folder: Path) -> Counts:
    """More images than the segmentation lists name; masks are palette images with a void border."""
    lists = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033", "2007_000042"]}
    for n, (name, label) in enumerate(
        zip([*lists["train"], *lists["val"]], (1, 20, 1, 20), strict=True)
    ):
        write(folder, f"JPEGImages/{name}.jpg", image(n))
        indices = np.full((18, 24), 255, np.uint8)
        indices[2:16, 2:22] = 0
        indices[4:10, 4:12] = label
        mask = Image.fromarray(indices).convert("P")
        mask.putdata(indices.ravel().tolist())
        file = io.BytesIO()
        mask.save(file, "PNG")
        write(folder, f"SegmentationClass/{name}.png", file.getvalue())
        write(folder, f"SegmentationObject/{name}.png", file.getvalue())
        write(folder, f"Annotations/{name}.xml", "<annotation/>")
    write(folder, "JPEGImages/2008_000001.jpg", image(77))
    for split, names in {**lists, "trainval": [*lists["train"], *lists["val"]]}.items():
        write(folder, f"ImageSets/Segmentation/{split}.txt", "\n".join(names) + "\n")
    write(folder, "ImageSets/Main/aeroplane_train.txt", "2007_000032  1\n")
    return {"train": 2, "val": 2, "classes": 2}


def caltech256(folder: Path) -> Counts:
    """A stray file and a stray folder lie in the published archive; clutter is a class."""
    names = ("001.ak47", "056.dog", "198.spider", "257.clutter")
    for n, (kind, i) in enumerate((k, i) for k in names for i in range(1, 6)):
        write(folder, f"{kind}/{kind[:3]}_{i:04d}.jpg", image(n, "JPEG", "L" if n == 3 else "RGB"))
    write(folder, "198.spider/RENAME2", "#!/bin/sh\n")
    write(folder, "056.dog/greg/vision309/056_0001.jpg", image(55))
    return {"train": 16, "val": 4, "classes": 4}


def cifar100(folder: Path) -> Counts:
    """Two files of records: coarse label, fine label, 3,072 bytes; and two lists of names."""
    rng = np.random.default_rng(0)
    write(folder, "fine_label_names.txt", "apple\naquarium_fish\n")
    write(folder, "coarse_label_names.txt", "aquatic_mammals\nfish\n")
    for name, labels in (("train.bin", (0, 1, 1, 0)), ("test.bin", (1, 0))):
        records = rng.integers(0, 256, (len(labels), 2 + 3072), dtype=np.uint8)
        records[:, 1] = labels
        write(folder, name, records.tobytes())
    return {"train": 4, "val": 2, "classes": 2}


def domainnet(folder: Path) -> dict[str, Counts]:
    """One folder of six domains, with images that no list names; painting lacks a class in each."""
    counts = {}
    classes = {"The_Eiffel_Tower": 0, "syringe": 1, "t-shirt": 2}
    for d, domain in enumerate(("clipart", "infograph", "painting", "quickdraw", "real", "sketch")):
        suffix = "png" if domain == "quickdraw" else "jpg"
        kind = "PNG" if suffix == "png" else "JPEG"
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for name, label in classes.items():
            for i in range(3):
                split = "test" if i == 2 else "train"
                path = f"{domain}/{name}/{domain}_{label:03d}_{i:06d}.{suffix}"
                write(folder, path, image(100 * d + 10 * label + i, kind))
                lacks = {"train": "t-shirt", "test": "syringe"}[split]
                if not (domain == "painting" and name == lacks):
                    lines[split].append(f"{path} {label}\n")
        for split, listed in lines.items():
            write(folder, f"{domain}_{split}.txt", "".join(listed))
        write(folder, f"{domain}/syringe/nobody_lists_this.{suffix}", image(5, kind))
        counts[f"imagenet_d_{domain}"] = {
            "train": len(lines["train"]), "val": len(lines["test"]), "classes": 3,
        }  # fmt: skip
    return counts


def make_all(images: Path) -> dict[str, Counts]:
    """All 14 data sets of studies/paper.yaml below one folder; what each must hold."""
    return {
        "imagenet": imagenet(images / "imagenet"),
        **inat2021(images / "inat2021"),
        "cub": cub(images / "CUB_200_2011"),
        "pascal": pascal(images / "VOC2012"),
        "caltech256": caltech256(images / "256_ObjectCategories"),
        "cifar100": cifar100(images / "cifar-100-binary"),
        **domainnet(images / "domainnet"),
    }
