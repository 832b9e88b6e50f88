"""What fine-tuning gains on 10% of a shifted data set: against a probe, and from scratch.

    python benchmarks/finetuning.py [--method simclr] [--dataset digits_photo] [--draws 1]

A small ResNet is pre-trained on the digits. On 10% of another data set's labels (the study's own
few-shot draws) it is probed, then fine-tuned in several ways; the same network is trained there
from its random weights. Prints top-1 on val, seconds, and the parameters that were trained. Takes
about a minute on two cores.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from ruamel.yaml import YAML

from cache.records import read_record
from pipeline.finetuning.run import Finetuned, finetune_cell
from pipeline.project.paths import record_path
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.params import load_study

RUN = {
    "recipe": "modern", "fraction": 0.1, "epochs": 30, "warmup_epochs": 2, "batch_size": 16,
    "learning_rate": 0.03, "head_learning_rate": 0.1, "mixup": 0.0, "cutmix": 0.0, "ema": 0.9,
    "layer_decay": 1.0, "drop_path": 0.0, "flip": False, "view_area": 0.8, "selection": "last",
}  # fmt: skip
"""Small images and steps: no mixing, large views, high rates for the batch of 16."""

STUDY = Path(__file__).parents[1] / "studies" / "digits.yaml"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--method", default="simclr", help="of pre-training")
    parser.add_argument("--dataset", default="digits_photo")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=RUN["epochs"], help="of a training, at most")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_study(options.method, options.dataset, range(options.draws), options.epochs)
        for stage, arguments in (
            ("index", ["digits"]), ("index", [options.dataset]), ("pretrain", []),
            ("extract", ["digits"]), ("extract", [options.dataset]), ("protocol", [FEWSHOT.name]),
        ):  # fmt: skip
            run_stage(stage, arguments)
        compare(options.dataset, f"{options.method}_resnet", range(options.draws))
        os.chdir(STUDY.parent)


def write_study(method: str, dataset: str, draws: Sequence[int], epochs: int) -> None:
    """The default study's ResNets, on two of its data sets."""
    params: dict[str, Any] = YAML(typ="safe").load(STUDY)
    params["datasets"] = {name: params["datasets"][name] for name in {"digits", dataset}}
    for section in ("pretrain", "models"):
        names = (f"{method}_resnet", "random_resnet")
        params[section] = {name: params[section][name] for name in names}
    for training in params["pretrain"].values():
        training["epochs"] = min(training["epochs"], epochs)
    params["transfer"]["sources"] = []
    tenth = {"fractions": [0.1], "heads": ["ridge", "logistic"], "episodes": 10, "seed": 0}
    params["fewshot"] = {"shots": [], **tenth}
    runs = {
        f"{train}_{draw}": {**RUN, "epochs": epochs, "draw": draw, "train": train}
        for train in ("all", "second_half", "head")
        for draw in draws
    }
    params["finetune"] = {"enabled": True, "models": [], "datasets": [], "seed": 0, "runs": runs}
    with open("params.yaml", "w", encoding="utf-8") as file:
        YAML(typ="safe").dump(params, file)


def run_stage(name: str, arguments: Sequence[str]) -> None:
    """One stage, in this process."""
    done = CliRunner().invoke(importlib.import_module(f"stages.{name}").main, list(arguments))
    if done.exit_code:
        raise SystemExit(done.output)


def compare(dataset: str, model: str, draws: Sequence[int]) -> None:
    """Print a line for each way."""
    print(f"{dataset}, 10% of the labels, {len(draws)} draws: top-1 on val")
    rows = read_record(record_path(FEWSHOT.name, dataset, model)).scores
    for row in rows:
        if row["metric"] == "top1":
            print(f"  {model:<18} linear probe, {row['variant']:<22} {row['value']:.3f}")
    for name, train in ((model, "all"), (model, "second_half"), (model, "head"),
                        ("random_resnet", "all")):  # fmt: skip
        found = [one_run(dataset, name, f"{train}_{draw}") for draw in draws]
        top1 = np.mean([np.mean(f.outcome.rank == 1) for f in found])
        seconds = np.mean([f.cost["seconds"] for f in found])
        words = "from scratch" if name == "random_resnet" else f"fine-tuned, train: {train}"
        print(f"  {name:<18} {words:<36} {top1:.3f}   {seconds:.1f} s, "
              f"{found[0].cost['trained']:,} parameters")  # fmt: skip


def one_run(dataset: str, model: str, run: str) -> Finetuned:
    """Fine-tune one cell, from the start."""
    with tempfile.TemporaryDirectory() as kept:
        return finetune_cell(load_study(), dataset, model, run, kept=Path(kept))


if __name__ == "__main__":
    main()
