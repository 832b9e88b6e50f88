"""What stage `correlate` costs at full size, and beside a plain loop over SciPy.

    python benchmarks/correlate.py make FOLDER [--models 26] [--datasets 14] [--images 50000]
    python benchmarks/correlate.py run FOLDER
    python benchmarks/correlate.py parts FOLDER
    python benchmarks/correlate.py imported FOLDER [--models 1500] [--datasets 8]

`make` writes a study with a record for every cell (some 4 GB, minutes), as the stages before would:
kNN, linear probe, few-shot, transfer, transferability metrics, and imported fine-tuning scores.
`run` times stage `correlate` there as a process of its own, its interpreter's start included, with
its peak memory. `parts` times each statistic; beside them: the same coefficients and the jackknife
in a loop of SciPy's calls over pairs of columns, timed on some pairs. `imported` times the stages
on a table of foreign scores alone.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from ruamel.yaml import YAML
from scipy import stats

from cache.fingerprint import fingerprint
from cache.records import write_record
from pipeline.datasets.index import Index, index_rows, read_index, write_index
from pipeline.embeddings.cells import cell_key
from pipeline.embeddings.provenance import origin, recorded_card
from pipeline.machine.netcdf import read_netcdf
from pipeline.probes.scoring import Outcome, outcome_table
from pipeline.project.paths import PARAMS, SCORES_NC, SPLITS, provenance_path, record_path
from pipeline.results.cube import comparable
from pipeline.statistics.analysis import analyse
from pipeline.statistics.evidence import gather_evidence
from pipeline.statistics.registry import STATISTICS
from pipeline.study import metrics
from pipeline.study.fewshot import FEWSHOT
from pipeline.study.finetune import FINETUNE
from pipeline.study.knn import KNN
from pipeline.study.linear import LINEAR
from pipeline.study.metric import Need
from pipeline.study.params import load_study
from pipeline.study.predictors import PREDICTORS
from pipeline.study.records import protocols_of, record_key
from pipeline.study.schema import Study
from pipeline.study.transfer import TRANSFER

REPOSITORY = Path(__file__).parents[1]
CLASSES, TRAIN, DRAWS = 100, 5_000, 5
VARIANTS = {
    KNN.name: ["study", "study_zscore", "dino_k20", "tuned"],
    LINEAR.name: ["logistic_none", "logistic_zscore"],
    FEWSHOT.name: ["ridge_10_shots", "ridge_1_shot"],
    TRANSFER.name: ["from_data_0_logistic_none"],
    PREDICTORS.name: ["rankme", "h_score", "label_cka"],
}
METRICS = [m.name for m in metrics.METRICS if not m.needs & {Need.GROUPS, Need.HELD_OUT_GROUPS}]
LOOPED = 60
"""Pairs of columns that the loop is timed on."""


def make(folder: Path, models: int, datasets: int, images: int) -> None:
    """Write the study and everything that stage `correlate` reads."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    study = write_study(models, datasets)
    for number, name in enumerate(study.datasets):
        write_index(make_index(name, images, number))
    cells = [(d, m) for d in range(datasets) for m in range(models)]
    with Pool(2) as pool:
        pool.starmap(fill_cell, cells, chunksize=4)
    write_finetuning(study)
    subprocess.run(stage("collect"), check=True)


def write_study(models: int, datasets: int) -> Study:
    """Ten families, two kinds of backbone; one in-domain data set, two clusters of the others."""
    with open(REPOSITORY / "studies" / "digits.yaml", encoding="utf-8") as file:
        params: dict[str, Any] = YAML(typ="safe").load(file)
    params["pretrain"] = {}
    params["fewshot"] |= {"ways": [], "coarse": {}}
    params["finetune"] = {}  # its scores are imported
    params["datasets"] = {
        f"data_{number}": {
            "source": "folder",
            "path": "images",
            "role": "out_of_domain" if number else "in_domain",
            "cluster": "first" if 1 <= number < 7 else "second" if 7 <= number < 10 else None,
            "shift": ["style", "place", "texture"][number % 3] if number else None,
        }
        for number in range(datasets)
    }
    params["models"] = {
        f"model_{number:02d}": {
            "architecture": "resnet50",
            "weights": f"random({number})",
            "family": f"family_{number % 10}",
            "method": f"method_{number % 10}",
            "backbone": "vit_b" if number % 3 == 2 else "resnet50",
            "objective": "generative" if number % 9 == 8 else "discriminative",
            "supervision": "supervised" if number % 5 == 0 else "self_supervised",
        }
        for number in range(models)
    }
    params["transfer"] = {"sources": ["data_0"]}
    with open(PARAMS, "w", encoding="utf-8") as file:
        YAML().dump(params, file)
    shutil.copy(REPOSITORY / "dvc.yaml", "dvc.yaml")
    return load_study()


def make_index(name: str, images: int, seed: int) -> Index:
    """An index with so many val images, in random classes."""
    labels = np.random.default_rng(seed).integers(0, CLASSES, TRAIN + images)
    rows = np.arange(TRAIN + images)
    table = pd.DataFrame(
        {
            "path": [f"{name}/image_{row:08d}.jpg" for row in rows],
            "offset": 0,
            "bytes": 100_000,
            "sha256": "0" * 64,
            "class": [f"class_{label}" for label in labels],
            "label": labels,
            "split": np.where(rows < TRAIN, "train", "val"),
            "group": None,
            "label_set": pd.Series([None] * len(rows), dtype=object),
        }
    )
    return Index(name, tuple(f"class_{c}" for c in range(CLASSES)), (), index_rows(table))


def fill_cell(dataset: int, model: int) -> None:
    """Write provenance and records of one model on one data set."""
    study = load_study()
    d, m = list(study.datasets)[dataset], list(study.models)[model]
    index, entry = read_index(d), study.models[m]
    write_provenance(d, m, study)

    def cells(name: str) -> dict[str, str]:
        card = recorded_card(d, m, entry)
        assert card is not None
        other = read_index(name)
        keys: dict[str, str] = {
            split: fingerprint(cell_key(study, other, split, entry, card)) for split in SPLITS
        }
        return {**keys, **other.beside_cells}

    labels = index.labels("val")
    rng = np.random.default_rng([dataset, model])
    hardness = np.random.default_rng([99, dataset]).standard_normal(len(labels))
    ability = np.random.default_rng([7, model]).normal(0.8, 0.6) - 0.1 * dataset
    for protocol in protocols_of(study):
        if protocol == TRANSFER.name and dataset == 0:
            continue  # the source itself
        rows, outcomes = [], []
        for variant in VARIANTS[protocol]:
            found, scored = _outcomes(protocol, variant, labels, hardness, ability, rng)
            rows += scored
            outcomes += found
        write_record(
            record_path(protocol, d, m),
            key=record_key(study, protocol, d, cells),
            scores=rows,
            outcomes=outcome_table(outcomes),
            group_rows=len(labels),
        )


def _outcomes(
    protocol: str,
    variant: str,
    labels: Any,
    hardness: Any,
    ability: float,
    rng: np.random.Generator,
) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """Made-up outcomes, one for each draw, and the rows of scores."""
    level = ability + rng.normal(0, 0.15)
    if protocol == PREDICTORS.name:
        return [], [_row(variant, metric, level, 0) for metric in ("value", "promise")]
    found, accuracies = [], []
    for _ in range(DRAWS if protocol == FEWSHOT.name else 1):
        n = len(labels)
        right = level + rng.standard_normal(n) > hardness
        predicted = np.where(right, labels, (labels + 1) % CLASSES).astype(np.int32)
        rank = np.where(right, 1, rng.integers(2, CLASSES, n)).astype(np.int32)
        loss = rng.random(n).astype(np.float32)
        found.append(Outcome(variant, predicted, rank, -loss, loss, 1.0, "made up", None, {}))
        accuracies.append(float(right.mean()))
    rows = [_row(variant, metric, float(np.mean(accuracies)), len(labels)) for metric in METRICS]
    told = {
        "draws": accuracies, "shots": 10, "classes": CLASSES, "chance": 1 / CLASSES,
        "images": [10 * CLASSES] * DRAWS,
    }  # fmt: skip
    for row in rows:
        row["details"] = told if protocol == FEWSHOT.name else {}
    return found, rows


def _row(variant: str, metric: str, value: float, images: int) -> dict[str, Any]:
    return {
        "variant": variant, "metric": metric, "value": value, "ci_low": value, "ci_high": value,
        "n_train": TRAIN, "n_test": images, "seed": 0, "seconds": 1.0, "backend": "made up",
        "details": {},
    }  # fmt: skip


def write_provenance(dataset: str, model: str, study: Study) -> None:
    """What tells `collect` which cell the records are of."""
    facts = {
        **origin(model, study.models[model]),
        "parameters": 25_000_000,
        "dimension": 2048,
        "weights": fingerprint(model),
        "transform": {"size": 224},
        "precision": "float32",
        "device": "cpu",
        "processor": "made up",
        "versions": {},
        "python": "3.11",
        "splits": {split: {"images": 100, "seconds": 1.0, "remarks": []} for split in SPLITS},
    }
    path = provenance_path(dataset, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts))


def write_finetuning(study: Study) -> None:
    """Imported scores of the same models, without outcomes."""
    rng = np.random.default_rng(5)
    lines = ["model,dataset,protocol,metric,value,n_test"]
    for number, model in enumerate(study.models):
        ability = np.random.default_rng([7, number]).normal(0.8, 0.6)
        for d, dataset in enumerate(study.datasets):
            share = stats.norm.cdf((ability - 0.1 * d + rng.normal(0, 0.2)) / 1.4)
            lines.append(f"{model},{dataset},{FINETUNE.name},top1,{share:.4f},50000")
    Path("scores").mkdir()
    Path("scores/finetune.csv").write_text("\n".join(lines) + "\n")


def stage(name: str) -> list[str]:
    """The command of a stage."""
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import stages.{name} as s; s.main()"
    )
    return [sys.executable, "-c", code]


def run(folder: Path) -> None:
    """Time stage `correlate`, its parts, and the loop."""
    os.chdir(folder)
    start = time.perf_counter()
    with subprocess.Popen(stage("correlate")) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit("the stage failed")
    size = sum(path.stat().st_size for path in Path("results").rglob("*.parquet"))
    print(f"stage correlate: {seconds:.1f} s, peak {used.ru_maxrss / 1e6:.2f} GB, "
          f"user {used.ru_utime:.1f} s; records {size / 1e9:.1f} GB")  # fmt: skip


def parts(folder: Path) -> None:
    """Time each statistic in this process, and the loop."""
    os.chdir(folder)
    study, cube = load_study(), read_netcdf(SCORES_NC)
    whole, correlations = timed(lambda: analyse(cube, study.correlation))
    print(f"| part | seconds |\n|---|---|\n| all pairs of columns | {whole:.2f} |")
    evidence = gather_evidence(study, cube)
    for name, statistic in STATISTICS.items():
        seconds, _ = timed(functools.partial(statistic, evidence))
        print(f"| {name} | {seconds:.2f} |", flush=True)
    pairs = correlations.sizes["predictor"] * (correlations.sizes["predictor"] - 1) // 2
    looped = min(LOOPED, pairs)
    seconds, difference = timed(lambda: loop(cube, study, correlations, looped))
    print(
        f"a loop over SciPy: {seconds:.2f} s for {looped} of {pairs:,} pairs, so "
        f"{seconds / looped * pairs:,.0f} s for all: {seconds / looped * pairs / whole:,.0f} times "
        f"as long; largest difference {difference:.1e}"
    )


def loop(cube: xr.Dataset, study: Study, found: xr.Dataset, count: int) -> float:
    """Coefficients and delete-one-family jackknife by SciPy; the largest difference from ours."""
    scores = comparable(cube, study.correlation.metric)
    columns = [found[f"predictor_{of}"].values for of in ("variant", "dataset")]
    families = cube["family"].values
    pairs = list(itertools.combinations(range(found.sizes["predictor"]), 2))
    chosen = np.random.default_rng(0).permutation(len(pairs))[:count]
    worst = 0.0
    for first, second in (pairs[number] for number in chosen):
        x, y = (
            scores.sel(variant=columns[0][i], dataset=columns[1][i]).values for i in (first, second)
        )
        both = np.isfinite(x) & np.isfinite(y)
        if both.sum() < 4:
            continue
        for coefficient, value in _scipy(x[both], y[both]):
            ours = found["value"].sel(coefficient=coefficient).values[first, second]
            worst = max(worst, abs(ours - value))
        for family in np.unique(families[both]):
            rest = both & (families != family)
            for _ in _scipy(x[rest], y[rest]):
                pass
    return worst


def _scipy(x: Any, y: Any) -> Iterator[tuple[str, float]]:
    yield "pearson", stats.pearsonr(x, y).statistic
    yield "spearman", stats.spearmanr(x, y).statistic
    yield "kendall", stats.kendalltau(x, y).statistic


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and the result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def imported(folder: Path, models: int, datasets: int) -> None:
    """Write a project of foreign scores alone, and time its stages."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    shutil.copy(REPOSITORY / "studies" / "scores.yaml", PARAMS)
    shutil.copy(REPOSITORY / "dvc.yaml", "dvc.yaml")
    rng = np.random.default_rng(0)
    ability = rng.standard_normal((models, 1, 1)) + rng.standard_normal((1, datasets, 1)) / 2
    shares = stats.norm.cdf(ability + rng.normal(0, 0.4, (models, datasets, 2))).round(4)
    lines = ["model,dataset,protocol,metric,value,n_test,family,backbone,role"]
    for m, d, p in np.ndindex(shares.shape):
        lines.append(
            f"model_{m},data_{d},{(LINEAR.name, FINETUNE.name)[p]},top1,{shares[m, d, p]},10000,"
            f"family_{m % max(1, models // 10)},backbone_{m % 7},"
            + ("out_of_domain" if d else "in_domain")
        )
    Path("scores").mkdir()
    Path("scores/theirs.csv").write_text("\n".join(lines) + "\n")
    seconds, _ = timed(lambda: subprocess.run(stage("collect"), check=True))
    print(f"stage collect: {seconds:.1f} s")
    run(Path())


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["make", "run", "parts", "imported"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int)
    parser.add_argument("--datasets", type=int)
    parser.add_argument("--images", type=int, default=50_000)
    options = parser.parse_args()
    if options.what == "make":
        make(options.folder, options.models or 26, options.datasets or 14, options.images)
    elif options.what == "imported":
        imported(options.folder, options.models or 1_500, options.datasets or 8)
    else:
        {"run": run, "parts": parts}[options.what](options.folder)


if __name__ == "__main__":
    main()
