"""The small whole study that is struck: its files, its stages, and what they make."""

from __future__ import annotations

import shutil
from pathlib import Path

from forks import run

STAGES = (
    ("index", "pets"), ("pretrain",), ("extract", "pets"), ("neighbors",), ("protocol", "knn"),
    ("protocol", "linear"), ("protocol", "fewshot"), ("protocol", "predictors"),
    ("protocol", "transfer"), ("protocol", "finetune"), ("similarity",), ("collect",),
    ("correlate",), ("report",),
)  # fmt: skip
"""Of the study, in order."""

STUDY = {
    "datasets": {
        "pets": {"source": "folder", "path": "images", "role": "in_domain"},
    },
    "models": {
        "tiny": {
            "architecture": "test_vit", "weights": "random(0)", "input_size": 32,
            "arguments": {"img_size": 32}, "family": "vit",
        },
        "net": {"architecture": "test_resnet", "weights": "random(0)", "input_size": 32},
        "own": {"architecture": "test_resnet", "weights": "pretrain(small)", "input_size": 32},
        "given": {"architecture": "imported", "weights": "imported"},
    },
    "extraction": {"precision": "float32", "storage": "float16"},
    "neighbors": {"n_neighbors": 5, "metric": ["euclidean"], "normalization": ["none"]},
    "knn": {"k": [3]},
    "linear": {"c": [0.1, 1.0], "normalization": ["none"], "max_iterations": 50},
    "fewshot": {"episodes": 2, "shots": [1]},
    "transfer": {},
    "transferability": {"names": ["rankme"]},
    "correlation": {},
    "report": {},
    "pretrain": {
        "small": {
            "architecture": "test_resnet", "method": "simclr", "dataset": "pets", "epochs": 1,
            "batch_size": 4, "input_size": 32, "seed": 0,
        },
    },
    "finetune": {
        "enabled": True, "models": ["tiny"],
        "runs": {
            "small": {
                "recipe": "sgd", "epochs": 2, "batch_size": 8, "warmup_epochs": 1,
                "drop_path": 0.0,
            },
        },
    },
}  # fmt: skip


GIVEN = ("cli", "cache", "import", "given", "--dataset", "pets", "--model", "given")


SMALLEST = STUDY | {
    "models": {name: STUDY["models"][name] for name in ("tiny", "given")},
    "linear": STUDY["linear"] | {"c": [1.0]}, "pretrain": {}, "finetune": {},
}  # fmt: skip
"""For whole runs by the dozen: every stage runs, those that train have nothing to do."""


def make_study(folder: Path, params: dict = STUDY) -> None:
    """The study's own files: images, params.yaml, imported embeddings."""
    import numpy as np
    from projects import REPOSITORY, Project, fill_folder

    folder.mkdir(parents=True)
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    for split, seed in (("train", 0), ("val", 50)):
        fill_folder(folder / "images" / split, {"cat": 6, "dog": 6}, seed=seed)
    project = Project(folder)
    project.params = params
    project.write()
    given, rng = folder / "given", np.random.default_rng(0)
    given.mkdir()
    for split in ("train", "val"):
        np.save(given / f"{split}.npy", rng.normal(size=(12, 4)).astype(np.float32))
        names = [f"{split}/{c}/{n:03d}.png" for c in ("cat", "dog") for n in range(6)]
        rows = "".join(f"{name},{name.split('/')[1]}\n" for name in names)
        (given / f"{split}.csv").write_text(f"id,class\n{rows}")


def make_whole_study(folder: Path, *, quickly: bool = False) -> None:
    """The study with all that its stages make; quickly: without statistics and report."""
    make_study(folder)
    for command in (GIVEN, *STAGES):
        if not (quickly and command[0] in ("correlate", "report")):
            done = run(folder, command)
            assert done.status == 0, (command, done)


GIVEN_FILES = ("images", "given", "dvc.yaml", "other.yaml", "theirs.csv")


def files(folder: Path) -> dict[str, bytes]:
    """Everything that stages and commands made or may change."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in GIVEN_FILES
    }
