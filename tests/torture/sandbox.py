"""A small whole study, and a process that runs stages and commands of it in forks of its own.

Everything is imported once; a fork costs some hundredths of a second. In it, a fault may strike at
the n-th change of the file system: SIGKILL, SIGTERM, or an error of the system's.
"""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}

FAULTS = ("KILL", "TERM", "ENOSPC", "EIO")

STAGES = (
    ("index", "pets"), ("pretrain",), ("extract", "pets"), ("neighbors",), ("protocol", "knn"),
    ("protocol", "linear"), ("protocol", "fewshot"), ("protocol", "predictors"),
    ("protocol", "transfer"), ("protocol", "finetune"), ("similarity",), ("collect",),
    ("correlate",), ("report",),
)  # fmt: skip
"""Of the study, in order."""


@dataclass(frozen=True)
class Fault:
    """What strikes, and at which change of the file system (the first is 1)."""

    kind: str
    at: int


@dataclass(frozen=True)
class Ran:
    """How a run ended: its status (negative: the signal), its words, and the changes it made."""

    status: int
    out: str
    changes: int


def import_everything() -> None:
    """What stages import late, so that forks need not."""
    for name in ("torch", "timm", "sklearn.linear_model", "pandas", "xarray", "zarr", "scipy.stats",
                 "netCDF4", "lightning_fabric", "lightly.loss", "stages.cli", "psutil",
                 "pipeline.embeddings.missing", "pipeline.probes.knn", "pipeline.probes.linear",
                 "pipeline.probes.fewshot", "pipeline.probes.transfer", "pipeline.report.page",
                 "pipeline.finetuning.storing", "pipeline.pretraining.run",
                 "pipeline.statistics.analysis", "pipeline.probes.predictors",
                 *(f"stages.{command}" for command, *_ in STAGES)):  # fmt: skip
        importlib.import_module(name)


def run(folder: Path, command: tuple[str, ...], fault: Fault | None = None) -> Ran:
    """Run a stage or, as ``cli …``, a command in a fork."""
    parent = os.getpid()
    said = folder / f".{parent}.said"
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 70
        try:
            os.close(reader)
            status = _inside(folder, command, fault, said, writer)
        except BaseException:
            with open(said, "a") as file:
                traceback.print_exc(file=file)
        finally:
            if os.getpid() != parent:
                os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        counted = pipe.read()
    status = os.waitpid(child, 0)[1]
    out = said.read_text(errors="replace") if said.exists() else ""
    said.unlink(missing_ok=True)
    changes = int(counted.split()[-1]) if counted.split() else 0
    return Ran(os.waitstatus_to_exitcode(status), out, changes)


def _inside(folder: Path, command: tuple[str, ...], fault: Fault | None, said: Path, pipe: int):
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout = open(1, "w", closefd=False, buffering=1)
    sys.stderr = open(2, "w", closefd=False, buffering=1)
    os.chdir(folder)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The same seconds in every run: then all bytes can be compared.
    time.monotonic = time.perf_counter = time.process_time = lambda: 1000.0
    count = strike(folder, fault)
    module = importlib.import_module(f"stages.{command[0]}")
    try:
        module.main.main(list(command[1:]), standalone_mode=False)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    sys.stdout.flush()
    os.write(pipe, f" {count[0]}".encode())
    return status


def strike(folder: Path, fault: Fault | None) -> list[int]:
    """Count this process's changes of the file system below a folder; a fault strikes at one."""
    count = [0]
    root = os.path.realpath(folder)

    def changed(path: object) -> None:
        if isinstance(path, bytes):
            path = path.decode(errors="replace")
        if not isinstance(path, str | os.PathLike):
            return
        if not os.path.abspath(path).startswith(root) or str(path).endswith(".said"):
            return
        count[0] += 1
        if fault is None or count[0] != fault.at:
            return
        if fault.kind in ("KILL", "TERM"):
            os.kill(os.getpid(), signal.SIGKILL if fault.kind == "KILL" else signal.SIGTERM)
        else:
            number = getattr(errno, fault.kind)
            raise OSError(number, os.strerror(number), os.fspath(path))

    def hook(event: str, arguments: tuple) -> None:
        if event in CHANGES or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        ):
            changed(arguments[0])

    sys.addaudithook(hook)

    def fsync(handle: int) -> None:
        changed(os.readlink(f"/proc/self/fd/{handle}"))

    os.fsync = fsync  # the kernel keeps what a killed process wrote: only the fault is wanted
    return count


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


def make_whole_study(folder: Path, *, quickly: bool = False) -> None:
    """The study with all that its stages make; quickly: without statistics and report."""
    make_study(folder)
    for command in (GIVEN, *STAGES):
        if not (quickly and command[0] in ("correlate", "report")):
            done = run(folder, command)
            assert done.status == 0, (command, done)


def make_study(folder: Path) -> None:
    """The study's own files: images, params.yaml, imported embeddings."""
    import numpy as np
    from projects import REPOSITORY, Project, fill_folder

    folder.mkdir(parents=True)
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    for split, seed in (("train", 0), ("val", 50)):
        fill_folder(folder / "images" / split, {"cat": 6, "dog": 6}, seed=seed)
    project = Project(folder)
    project.params = STUDY
    project.write()
    given, rng = folder / "given", np.random.default_rng(0)
    given.mkdir()
    for split in ("train", "val"):
        np.save(given / f"{split}.npy", rng.normal(size=(12, 4)).astype(np.float32))
        names = [f"{split}/{c}/{n:03d}.png" for c in ("cat", "dog") for n in range(6)]
        rows = "".join(f"{name},{name.split('/')[1]}\n" for name in names)
        (given / f"{split}.csv").write_text(f"id,class\n{rows}")


def files(folder: Path) -> dict[str, bytes]:
    """Everything that stages and commands made."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for top in ("data", "results", "report", "scores", "export")
        for path in sorted((folder / top).rglob("*"))
        if path.is_file()
    }


def quiet() -> None:
    """One process on the CPU, and none of the caller's variables."""
    for name in [n for n in os.environ if n.startswith(("PROBELINE_", "DASK_"))]:
        del os.environ[name]
    os.environ |= {
        "PROBELINE_DEVICE": "cpu", "PROBELINE_WORKERS": "0", "CUDA_VISIBLE_DEVICES": "",
        "LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip
