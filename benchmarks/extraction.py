"""Extraction against its limit and against the loop that people write.

For each network, rates on the same JPEG files, each in a process of its own, interleaved:

- forward   the network alone, on pixels already decoded and resized, through
`pipeline.embeddings.forward`
- decode    reading, decoding and resizing alone, with as many threads as there are processors
- extract   the whole engine: read, decode, resize, run, digest, journal, commit
- plain     DataLoader with 2 workers, float32, default memory format, outputs concatenated

On a CPU, network and decoder share the processors: no engine can go beyond 1 / (1/forward +
1/decode), the bound. Compiling (`pipeline/embeddings/compiling.py`) is left to its rule for a data
set of 100,000 images and is not in the rates; its seconds stand beside them.

    python benchmarks/extraction.py [--images 512] [--side 224] [--repeats 3] [--models ...]

Takes about 20 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import dataclasses
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
MODES = ("forward", "decode", "extract", "plain")
LONG_RUN = 100_000
"""Images of the data set that the rule of compiling is told of."""


def make_images(folder: Path, count: int, side: int) -> None:
    """`count` JPEG files in two classes and two splits, parts of scikit-learn's photographs."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    with tarfile.open(folder / "images.tar", "w") as archive:
        for number in range(count + 4):
            photo = photos[rng.integers(2)]
            top, left = (rng.integers(length - side) for length in photo.shape[:2])
            part = photo[top : top + side, left : left + side]
            file = io.BytesIO()
            Image.fromarray(part).save(file, "JPEG", quality=90)
            split = "val" if number >= count else "train"
            member = tarfile.TarInfo(f"{split}/{number % 2}/{number:05d}.jpg")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)


def measure(mode: str, name: str, size: int) -> tuple[float, float]:
    """Images a second of one mode, in the current folder, and the first call's seconds."""

    from pipeline.datasets.indexing import build_index
    from pipeline.datasets.samples import entries_of
    from pipeline.datasets.settings import Dataset
    from pipeline.datasets.sources import dataset_root
    from pipeline.embeddings.engine import extract_splits
    from pipeline.embeddings.forward import Forward
    from pipeline.embeddings.jobs import Job
    from pipeline.embeddings.loading import BatchLoader
    from pipeline.machine.devices import this_machine
    from pipeline.models.networks import load_model
    from pipeline.models.settings import Model

    dataset = Dataset(source="folder", path="images.tar", role="in_domain")
    index = build_index("images", dataset)
    root = dataset_root("images", dataset)
    samples = index.split("train")
    model = load_model(name, Model(architecture=name, weights="random(0)", input_size=size))
    if mode == "plain":
        return plain_loop(model, root, entries_of(samples)), 0.0
    machine = this_machine()
    if mode == "decode":
        machine = dataclasses.replace(machine, workers=os.cpu_count())
    forward = Forward(model, machine, images=LONG_RUN)
    loader = BatchLoader(root, samples, [model.transform.geometry], machine.workers)
    step = machine.batch_size
    slices = [slice(i, min(i + step, len(samples))) for i in range(0, len(samples), step)]
    batches = [pixels[model.transform.geometry] for _, pixels in loader.batches(slices)]
    start = time.perf_counter()
    if mode != "decode":
        forward(batches[0], ["pooled"])
    first = time.perf_counter() - start
    start = time.perf_counter()
    if mode == "decode":
        for _ in loader.batches(slices):
            pass
    elif mode == "forward":
        for batch in batches:
            forward(batch, ["pooled"])
    else:
        key = {"benchmark": os.getpid()}
        job = Job(name, model, forward, key)
        # float32, as asked: nothing about how rows are stored is to be decided first
        extract_splits(index, {"train": [job]}, root, machine, "float32", lambda *_: None)
    return len(samples) / (time.perf_counter() - start), first


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


def ratio(rates: dict[str, list[float]], one: str, other: str) -> float:
    """The median of ratios of runs that followed each other."""
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--side", type=int, default=224, help="of the JPEG files, pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--one", nargs=2, metavar=("MODE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        mode, name = options.one
        print(json.dumps(measure(mode, name, MODELS.get(name, 224))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), options.images, options.side)
        print(
            f"{options.images} JPEG files of {options.side} x {options.side} px, "
            f"{os.cpu_count()} processors, median of {options.repeats}; images a second"
        )
        print(
            f"{'network':<24}{'forward':>9}{'decode':>9}{'extract':>9}{'plain':>9}"
            f"{'extract/forward':>17}{'bound/forward':>15}{'extract/plain':>15}{'compile s':>11}"
        )
        for name in options.models:
            rates: dict[str, list[float]] = {mode: [] for mode in MODES}
            firsts = []
            for _ in range(options.repeats):
                for mode in MODES:
                    call = [sys.executable, str(Path(__file__).resolve()), "--one", mode, name]
                    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
                    if done.returncode:
                        sys.exit(done.stderr)
                    rate, first = json.loads(done.stdout.splitlines()[-1])
                    rates[mode].append(rate)
                    firsts += [first] if mode == "forward" else []
            forward, decode, extract, plain = (statistics.median(rates[mode]) for mode in MODES)
            bound = 1 / (1 / forward + 1 / decode)
            print(
                f"{name:<24}{forward:>9.1f}{decode:>9.1f}{extract:>9.1f}{plain:>9.1f}"
                f"{ratio(rates, 'extract', 'forward'):>17.2f}{bound / forward:>15.2f}"
                f"{ratio(rates, 'extract', 'plain'):>15.2f}{max(firsts):>11.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
