"""Extraction against its limit and against the loop that people write.

For each network, three rates on the same JPEG files, each in a process of its own, interleaved:

- forward   the network alone, on pixels already decoded and resized, through `pipeline.forward`
- extract   the whole engine: read, decode, resize, run, digest, journal, commit
- plain     DataLoader with 2 workers, float32, default memory format, outputs concatenated

    python benchmarks/extraction.py [--images 1024] [--repeats 3] [--models resnet50 ...]

Takes about 20 minutes on 2 cores. Expect extract/forward near 1: the engine costs little beyond
the network itself; and extract/plain above 1 for convolutional networks.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

MODELS = {"mobilenetv2_100": 224, "resnet50": 224, "deit_tiny_patch16_224": 224}
MODES = ("forward", "extract", "plain")


def make_images(folder: Path, count: int) -> None:
    """`count` JPEG files in two classes and two splits, parts of scikit-learn's photographs."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    with tarfile.open(folder / "images.tar", "w") as archive:
        for number in range(count + 4):
            photo = photos[rng.integers(2)]
            top, left = rng.integers(photo.shape[0] - 96), rng.integers(photo.shape[1] - 96)
            file = io.BytesIO()
            Image.fromarray(photo[top : top + 96, left : left + 96]).save(file, "JPEG", quality=90)
            split = "val" if number >= count else "train"
            member = tarfile.TarInfo(f"{split}/{number % 2}/{number:05d}.jpg")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)


def measure(mode: str, name: str, size: int) -> float:
    """Images a second of one mode, in the current folder; start-up and loading not counted."""
    import torch

    from pipeline.devices import this_machine
    from pipeline.engine import Job, extract_split
    from pipeline.forward import Forward
    from pipeline.index import build_index
    from pipeline.loading import BatchLoader
    from pipeline.models import load_model
    from pipeline.samples import entries_of
    from pipeline.sources import dataset_root
    from pipeline.study import Dataset, Model

    dataset = Dataset(source="folder", path="images.tar", role="in_domain")
    index = build_index("images", dataset)
    root = dataset_root("images", dataset)
    samples = index.split("train")
    model = load_model(name, Model(architecture=name, weights="random(0)", input_size=size))
    if mode == "plain":
        return plain_loop(model, root, entries_of(samples))
    machine = this_machine()
    forward = Forward(model, machine)
    loader = BatchLoader(root, samples, [model.transform.geometry], machine.workers)
    step = machine.batch_size
    slices = [slice(i, min(i + step, len(samples))) for i in range(0, len(samples), step)]
    batches = [pixels[model.transform.geometry] for _, pixels in loader.batches(slices)]
    forward(batches[0], ["pooled"])
    torch.set_grad_enabled(False)
    start = time.perf_counter()
    if mode == "forward":
        for batch in batches:
            forward(batch, ["pooled"])
    else:
        key = {"benchmark": os.getpid()}
        job = Job(name, model, forward, key)
        extract_split(index, "train", root, [job], machine, "float16")
    return len(samples) / (time.perf_counter() - start)


def plain_loop(model, root, entries) -> float:
    """The loop that people write today."""
    import torch
    from PIL import Image
    from timm.data import create_transform
    from torch.utils.data import DataLoader, Dataset

    shown = model.transform.to_dict()
    transform = create_transform(
        shown["size"],
        crop_pct=shown["crop"],
        interpolation=shown["interpolation"],
        mean=shown["mean"],
        std=shown["std"],
    )

    class Images(Dataset):
        def __len__(self):
            return len(entries)

        def __getitem__(self, row):
            return transform(Image.open(io.BytesIO(root.read(entries[row]))).convert("RGB"))

    outputs = []
    start = time.perf_counter()
    with torch.no_grad():
        for images in DataLoader(Images(), batch_size=64, num_workers=2):
            outputs.append(model.backbone(images))  # noqa: PERF401 - as people write it
        torch.cat(outputs)
    return len(entries) / (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--one", nargs=2, metavar=("MODE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        mode, name = options.one
        print(json.dumps(measure(mode, name, MODELS.get(name, 224))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), options.images)
        print(
            f"{options.images} JPEG files of 96 x 96 px, {os.cpu_count()} processors, "
            f"median of {options.repeats}; images a second"
        )
        print(
            f"{'network':<24}{'forward':>9}{'extract':>9}{'plain':>9}"
            f"{'extract/forward':>18}{'extract/plain':>15}"
        )
        for name in options.models:
            rates: dict[str, list[float]] = {mode: [] for mode in MODES}
            for _ in range(options.repeats):
                for mode in MODES:
                    call = [sys.executable, str(Path(__file__).resolve()), "--one", mode, name]
                    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
                    if done.returncode:
                        sys.exit(done.stderr)
                    rates[mode].append(json.loads(done.stdout.splitlines()[-1]))
            forward, extract, plain = (statistics.median(rates[mode]) for mode in MODES)
            beside = statistics.median(
                e / f for e, f in zip(rates["extract"], rates["forward"], strict=True)
            )
            gain = statistics.median(
                e / p for e, p in zip(rates["extract"], rates["plain"], strict=True)
            )
            print(
                f"{name:<24}{forward:>9.1f}{extract:>9.1f}{plain:>9.1f}"
                f"{beside:>18.2f}{gain:>15.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
