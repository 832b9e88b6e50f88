"""Shards of a real extraction, killed at random moments: the same bytes, and nothing twice.

    python -m benchmarks.shards --shards 3 --rounds 5 --kills 4    # some minutes
    python -m benchmarks.shards --images 600 --rounds 1 --kills 0  # chunks are counted

Makes a study of pictures and two small networks with random weights; extracts it by one process,
then again and again by several, of which one after the other is killed (SIGKILL) and started anew.
Without kills, the chunks that the shards say they have written must be those that there are.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from cache.cell import Cell, CellAddress

NETWORK = {"input_size": 64, "weights": "random(0)"}
EMPTY = (
    *("linear", "fewshot", "transfer", "transferability", "correlation", "report", "pretrain"),
    "finetune",
)
STUDY = {
    "datasets": {"made": {"source": "folder", "path": "images", "role": "in_domain"}},
    "models": {
        "vit": {
            "architecture": "test_vit", "arguments": {"img_size": 64}, "family": "vit", **NETWORK,
        },
        "net": {"architecture": "test_resnet", "family": "resnet", **NETWORK},
    },
    "extraction": {"precision": "float32", "storage": "float16"},
    "neighbors": {"n_neighbors": 5, "metric": ["euclidean"], "normalization": ["none"]},
    "knn": {"k": [3]},
    **{key: {} for key in EMPTY},
}  # fmt: skip


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=4, help="in each round")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _make(folder, asked.images)
        for stage in ("index", "extract"):
            process = _stage(folder, stage, "made")
            process.communicate()
            if process.returncode:
                sys.exit(f"{stage} did not end well")
        expected, chunks = _embeddings(folder), _chunks(folder)
        print(f"{asked.images:,} images, 2 models, {chunks} chunks; {asked.shards} shards")
        generator, killed = random.Random(asked.seed), 0
        for number in range(asked.rounds):
            shutil.rmtree(folder / "data" / "embeddings")
            shutil.rmtree(folder / "data" / "provenance")
            died, written = _round(folder, asked.shards, asked.kills, generator)
            killed += died
            same = _embeddings(folder) == expected
            left = [path.name for path in (folder / "data").rglob("*.partial")]
            print(
                f"round {number + 1}: {died} killed, {written} chunks written by those that lived, "
                f"{'the same' if same else 'OTHER'} bytes, {len(left)} left over", flush=True,
            )  # fmt: skip
            if not same or left or (not asked.kills and written != chunks):
                sys.exit(f"fault: {left}")
        print(f"{killed} killed in all")


def _round(folder: Path, shards: int, kills: int, generator: random.Random) -> tuple[int, int]:
    """Shards that were killed, and chunks that the others say they have written."""
    running = {n: _shard(folder, n, shards) for n in range(1, shards + 1)}
    killed = 0
    for _ in range(kills):
        time.sleep(generator.uniform(0.0, 8.0))
        victim = generator.choice(list(running))
        running[victim].kill()
        running[victim].communicate()
        killed += running[victim].returncode == -9
        running[victim] = _shard(folder, victim, shards)
    said = "".join(process.communicate()[0] for process in running.values())
    for process in running.values():
        if process.returncode:
            sys.exit(f"a shard ended with {process.returncode}\n{said}")
    return killed, sum(int(n) for n in re.findall(r"(\d+) chunks written here", said))


def _shard(folder: Path, number: int, of: int) -> subprocess.Popen[str]:
    return _stage(folder, "extract", "made", "--shard", f"{number}/{of}")


def _stage(folder: Path, *command: str) -> subprocess.Popen[str]:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); "
        f"sys.argv = ['stage', *sys.argv[1:]]; "
        f"from stages.{command[0]} import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *command[1:]],
        cwd=folder, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _make(folder: Path, images: int) -> None:
    for number in range(images):
        path = folder / "images" / "ab"[number % 2] / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(path)
    YAML().dump(STUDY, folder / "params.yaml")


def _embeddings(folder: Path) -> dict[str, bytes]:
    root = folder / "data" / "embeddings"
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _chunks(folder: Path) -> int:
    stores = (folder / "data" / "embeddings" / "made").glob("*.zarr")
    cells = (CellAddress(store, split) for store in stores for split in ("train", "val"))
    return sum(Cell.open(cell).manifest.chunks for cell in cells)


if __name__ == "__main__":
    main()
