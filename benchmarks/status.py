"""What looking costs: `probeline status` on a study of 26 models and 14 data sets, all cached.

    python benchmarks/status.py [--models 26] [--datasets 14] [--images 500] [--repeats 7]

Makes a project of small cells, indexes, model cards and records, then times the whole command as a
user starts it, the interpreter's start included, and says whether it imported torch. Beside it:
the same command's imports alone, which no study is too small to pay.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from ruamel.yaml import YAML

from cache.cell import Cell
from cache.fingerprint import fingerprint
from cache.records import write_record
from cache.writer import CellWriter
from pipeline.datasets.index import Index, index_rows, write_index
from pipeline.embeddings.cells import cell_key
from pipeline.models.card import Card
from pipeline.models.cards import keep_card
from pipeline.project.paths import PARAMS, SPLITS, cell_address, record_path
from pipeline.study.params import load_study
from pipeline.study.records import protocols_of, record_key
from pipeline.study.schema import Study

COLUMNS = 64
REPOSITORY = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
STATUS = """
import sys
from stages.cli import main
try:
    main(["status"])
finally:
    print("heavy:", *sorted({"torch", "timm", "sklearn", "pandas", "zarr"} & sys.modules.keys()))
"""
IMPORTS = "import stages.cli, pipeline.planning.overview"


def make_study(models: int, datasets: int) -> Study:
    """Write params.yaml: the default study's protocols, with so many models and data sets."""
    with open(REPOSITORY / "studies" / "digits.yaml", encoding="utf-8") as file:
        params: dict[str, Any] = YAML(typ="safe").load(file)
    params["datasets"] = {
        f"data_{number}": {"source": "folder", "path": "images", "role": "in_domain"}
        for number in range(datasets)
    }
    params["models"] = {
        f"model_{seed}": {"architecture": "resnet18", "weights": f"random({seed})", "family": "r"}
        for seed in range(models)
    }
    params["transfer"], params["pretrain"] = {"sources": ["data_0"]}, {}
    # Both name data sets and models that are replaced here.
    params["fewshot"]["coarse"], params["finetune"] = {}, {}
    with open(PARAMS, "w", encoding="utf-8") as file:
        YAML().dump(params, file)
    shutil.copy(REPOSITORY / "dvc.yaml", "dvc.yaml")
    return load_study()


def make_index(name: str, images: int) -> Index:
    """Write an index of `images` images of ten classes, a fifth of them for val."""
    rows = np.arange(images)
    table = pd.DataFrame(
        {
            "path": [f"train/class_{row % 10}/image_{row:08d}.jpg" for row in rows],
            "offset": 0,
            "bytes": 100_000 + rows,
            "sha256": [fingerprint([name, int(row)]) for row in rows],
            "class": [f"class_{row % 10}" for row in rows],
            "label": rows % 10,
            "split": np.where(rows % 5, "train", "val"),
            "group": None,
            "label_set": pd.Series([None] * images, dtype=object),
        }
    )
    index = Index(name, tuple(f"class_{c}" for c in range(10)), (), index_rows(table))
    write_index(index)
    return index


def fill_cache(study: Study, images: int) -> None:
    """Write every index, card, cell and record of the study."""
    transform = {"size": [224, 224], "interpolation": "bicubic"}
    cards = {
        name: Card(fingerprint(name), transform, COLUMNS, 11_000_000, gmacs=1.8)
        for name in study.models
    }
    for name, card in cards.items():
        keep_card(name, study.models[name], card)
    outcomes = pa.table({"variant": ["v"] * images, "predicted": np.arange(images) % 10})
    made: dict[tuple[str, str], dict[str, str]] = {}
    for dataset in study.datasets:
        index = make_index(dataset, images)
        for name, entry in study.models.items():
            for split in SPLITS:
                labels = index.labels(split)
                with CellWriter(
                    cell_address(dataset, name, split),
                    key=cell_key(study, index, split, entry, cards[name]),
                    ids=index.split(split)["path"].tolist(),
                    labels=labels,
                    columns=COLUMNS,
                ) as writer:
                    for chunk in writer.missing:
                        rows = writer.rows_of(chunk)
                        shape = (rows.stop - rows.start, COLUMNS)
                        writer.write(chunk, np.random.default_rng(0).standard_normal(shape))
                    writer.commit()
            train, val = (Cell.open(cell_address(dataset, name, split)) for split in SPLITS)
            of = {"train": train.manifest.fingerprint, "val": val.manifest.fingerprint}
            made[dataset, name] = {**of, **index.beside_cells}
            for protocol in protocols_of(study):
                key = record_key(study, protocol, dataset, lambda d, m=name: made[d, m])
                path = record_path(protocol, dataset, name)
                write_record(path, key=key, scores=[{"value": 0.5}], outcomes=outcomes)


def timed(*command: str) -> tuple[float, str]:
    """Seconds of a whole Python process, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, done.stdout


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=int, default=26)
    parser.add_argument("--datasets", type=int, default=14)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        study = make_study(options.models, options.datasets)
        fill_cache(study, options.images)
        _, said = timed("-c", STATUS)
        total = options.models * options.datasets
        if f"all {total} cells are cached and scored" not in said:
            sys.exit(f"the study is not whole:\n{said}")
        # One after the other in turns, so that a machine that grows slower weighs on both.
        turns = [(timed("-c", STATUS)[0], timed("-c", IMPORTS)[0]) for _ in range(options.repeats)]
        os.chdir(start)
    heavy = said.split("heavy:")[1].split() or ["none"]
    whole, imports = (statistics.median(side) for side in zip(*turns, strict=True))
    print(f"{options.models} models x {options.datasets} data sets of {options.images} images")
    print(f"torch, timm, sklearn, pandas, zarr imported: {', '.join(heavy)}")
    print("| | median, s | lowest to highest |\n|---|---|---|")
    for label, side in (("probeline status", 0), ("its imports alone", 1)):
        seconds = sorted(turn[side] for turn in turns)
        middle = whole if side == 0 else imports
        print(f"| {label} | {middle:.2f} | {seconds[0]:.2f} to {seconds[-1]:.2f} |")


if __name__ == "__main__":
    main()
