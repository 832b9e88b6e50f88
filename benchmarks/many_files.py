"""What many small files cost: index, status, plan and check, by growth of the data set.

    python benchmarks/many_files.py [--images 12500 50000 200000] [--per-class 40] [--worst]

Makes folders of PNG files of one pixel, each of another colour, 40 in each class (5,000 classes
of 200,000 images), and runs each command as a process of its own. Processor time and the highest
memory are of that process and its children; what starting costs is measured on a folder of two
classes and taken off. Linear growth: four times the images, four times the rest.

--worst: a table with a filter instead of folders, a limit, and files that are no images.
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.project.paths import PARAMS

REPOSITORY = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PROBELINE_WORKERS": "1"}
COMMANDS = {
    "plan, before": ("stages.cli", "plan"),
    "index": ("stages.index", "images"),
    "index again": ("stages.index", "images"),
    "status": ("stages.cli", "status"),
    "plan": ("stages.cli", "plan"),
    "datasets check": ("stages.cli", "datasets", "check"),
    "datasets check images": ("stages.cli", "datasets", "check", "images"),
}


def pixel(number: int) -> bytes:
    """A PNG file of one pixel, whose colour is the number."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    colour = b"\0" + number.to_bytes(3, "big")
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(colour)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def make_study(images: int, per_class: int, *, worst: bool) -> None:
    """Write the files, and params.yaml with one network that never runs."""
    folder, rows = Path("images"), ["path,label,site"]
    for number in range(images):
        name = f"class_{number // per_class:05d}"
        if number % per_class == 0:
            (folder / name).mkdir(parents=True)
        (folder / name / f"{number:08d}.png").write_bytes(pixel(number))
        rows.append(f"{name}/{number:08d}.png,{name},s{number % 10}")
        if worst and number % 10 == 0:
            (folder / name / f"{number:08d}.txt").write_bytes(b"x")
    with open(REPOSITORY / "studies" / "digits.yaml", encoding="utf-8") as file:
        params: dict[str, Any] = YAML(typ="safe").load(file)
    entry: dict[str, Any] = {"source": "folder", "path": "images", "role": "in_domain"}
    if worst:
        (folder / "list.csv").write_text("\n".join([*rows, ""]))
        kept = [f"s{site}" for site in range(9)]
        entry |= {"source": "manifest", "manifest": "list.csv", "filter": {"site": kept},
                  "limit_per_class": max(1, per_class // 2)}  # fmt: skip
    params |= {"datasets": {"images": entry}, "pretrain": {}, "finetune": {}, "transfer": {}}
    params["models"] = {"net": {"architecture": "resnet18", "weights": "random(0)"}}
    params["fewshot"]["coarse"] = {}
    with open(PARAMS, "w", encoding="utf-8") as file:
        YAML().dump(params, file)
    shutil.copy(REPOSITORY / "dvc.yaml", "dvc.yaml")


def spent(*command: str) -> tuple[float, float]:
    """Seconds of processor time and MB at most, of a Python process."""
    with open("said", "wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", *command], env=ENVIRONMENT, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)}:\n{Path('said').read_text()}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measured(
    images: int, per_class: int, names: Sequence[str], *, worst: bool
) -> dict[str, tuple[float, float]]:
    """What each command spends on a data set of so many images."""
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_study(images, per_class, worst=worst)
        found = {name: spent(*COMMANDS[name]) for name in names}
        os.chdir(start)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[12_500, 50_000, 200_000])
    parser.add_argument("--per-class", type=int, default=40)
    parser.add_argument("--worst", action="store_true")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    sizes = sorted(options.images)
    names = [name for name in COMMANDS if name in options.commands]
    floor, *rest = (
        measured(n, options.per_class, names, worst=options.worst)
        for n in (2 * options.per_class, *sizes)
    )
    found = dict(zip(sizes, rest, strict=True))
    for what, unit in ((0, "processor time, s"), (1, "most memory, MB")):
        header = [unit, "start", *(f"{n:,}" for n in sizes), "growth, of the last step"]
        print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
        for name in names:
            first = floor[name][what]
            of = [found[n][name][what] for n in sizes]
            last = [max(value - first, 1e-3) for value in of[-2:]]
            cells = [f"{value:,.{2 - 2 * what}f}" for value in (first, *of)]
            ratio = f"{last[-1] / last[0]:.1f}" if len(last) > 1 else ""
            print(f"| {name} | {' | '.join(cells)} | {ratio} |")


if __name__ == "__main__":
    main()
