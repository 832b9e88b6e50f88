"""What is fetched: a model's weights and a known data set, from a server on this machine."""

from __future__ import annotations

import hashlib
import importlib
import io
import tarfile
import threading
from dataclasses import replace
from functools import cache
from pathlib import Path

import servers

WEIGHTS = "weights.pth"
ARCHIVE = "CUB_200_2011.tgz"
BIRDS = ("001.Albatross", "002.Sparrow")


@cache
def server() -> servers.Server:
    """Runs until this process ends."""
    running = servers.Server()
    files = {WEIGHTS: _weights(), ARCHIVE: _archive()}
    running.script = lambda request, _: servers.send(
        request, files[request.path.rpartition("/")[2]]
    )
    threading.Thread(target=running.serve_forever, daemon=True).start()
    return running


def model() -> dict[str, object]:
    """Of params.yaml: one whose weights the server has."""
    return {
        "architecture": "test_resnet", "weights": server().address, "input_size": 32,
        "checkpoint": {"entry": "state_dict"},
    }  # fmt: skip


def offer_birds(_: Path) -> None:
    """Have commands take the server's small data set for the known one called ``cub``."""
    from pipeline.datasets.known import known_dataset

    known = known_dataset("cub")
    (file,) = known.files
    address = server().address.replace(WEIGHTS, ARCHIVE)
    here = replace(file, address=address, md5=hashlib.md5(_archive()).hexdigest())
    counts = {"train": 2, "val": 2, "classes": 2}
    made = replace(known, files=(here,), entry={**known.entry, "expected": counts})
    for module in ("datasets.settings", "datasets.known_layouts"):
        importlib.import_module(f"pipeline.{module}").known_dataset = lambda _: made
    importlib.import_module("stages.datasets_commands").known_dataset = lambda _: made


@cache
def _weights() -> bytes:
    import timm
    import torch

    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save({"state_dict": timm.create_model("test_resnet", num_classes=5).state_dict()}, file)
    return file.getvalue()


@cache
def _archive() -> bytes:
    """As the real one is laid out."""
    from projects import draw

    names = [f"{bird}/{n}.jpg" for bird in BIRDS for n in range(2)]
    files = {
        "images.txt": "".join(f"{n} {name}\n" for n, name in enumerate(names, 1)).encode(),
        "classes.txt": f"1 {BIRDS[0]}\n2 {BIRDS[1]}\n".encode(),
        "image_class_labels.txt": b"1 1\n2 1\n3 2\n4 2\n",
        "train_test_split.txt": b"1 1\n2 0\n3 1\n4 0\n",
    }
    for number, name in enumerate(names):
        picture = io.BytesIO()
        draw(number).save(picture, "JPEG")
        files[f"images/{name}"] = picture.getvalue()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"CUB_200_2011/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
