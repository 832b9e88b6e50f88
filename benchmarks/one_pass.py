"""One pass over the images for six models against six passes: what decoding once saves.

    python benchmarks/one_pass.py [--images 512] [--side 224]

Prints how often an image was decoded and the ratio of times, for three interleaved repeats.
Six light networks of three input sizes, so that reading and decoding weigh as much as they can.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from pathlib import Path

from extraction import make_images

from pipeline.datasets.indexing import build_index
from pipeline.datasets.settings import Dataset
from pipeline.datasets.sources import dataset_root
from pipeline.embeddings import loading
from pipeline.embeddings.engine import extract_splits
from pipeline.embeddings.forward import Forward
from pipeline.embeddings.jobs import Job
from pipeline.machine.devices import this_machine
from pipeline.models.networks import load_model
from pipeline.models.settings import Model

NETWORKS = [(f"{name}", size) for size in (64, 96, 128) for name in ("regnetx_002", "lcnet_050")]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--side", type=int, default=224)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_images(Path(), options.images, options.side)
        decode = loading.decode
        try:
            compare(options.images)
        finally:
            loading.decode = decode


def compare(images: int) -> None:
    """Extract with the six models together and one after the other."""
    dataset = Dataset(source="folder", path="images.tar", role="in_domain")
    index, root = build_index("images", dataset), dataset_root("images", dataset)
    machine = this_machine()
    networks = {
        f"{name}_{size}": load_model(
            name, Model(architecture=name, weights="random(0)", input_size=size)
        )
        for name, size in NETWORKS
    }
    jobs = [Job(name, m, Forward(m, machine), {}) for name, m in networks.items()]
    decoded = 0
    decode = loading.decode

    def counting(*arguments):
        nonlocal decoded
        decoded += 1
        return decode(*arguments)

    loading.decode = counting

    def run(groups, mark):
        nonlocal decoded
        decoded, start = 0, time.perf_counter()
        for group in groups:
            keyed = [dataclasses.replace(job, key={"mark": mark}) for job in group]
            extract_splits(index, {"train": keyed}, root, machine, "float32", lambda *_: None)
        return decoded / images, time.perf_counter() - start

    run([jobs], "warm-up")
    print(f"{'decodings an image':>20}{'one pass s':>12}{'six passes s':>14}{'six / one':>11}")
    for repeat in range(3):
        once, together = run([jobs], f"together {repeat}")
        six, apart = run([[job] for job in jobs], f"apart {repeat}")
        print(
            f"{f'{once:.0f} and {six:.0f}':>20}{together:>12.1f}{apart:>14.1f}"
            f"{apart / together:>11.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
