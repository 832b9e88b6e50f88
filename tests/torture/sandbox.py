"""A small whole study, and a process that runs stages and commands of it in forks of its own.

Everything is imported once; a fork costs some hundredths of a second. In it, a fault may strike at
the n-th change of the file system: SIGKILL, SIGTERM, or an error of the system's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
LOOKS = {"os.listdir", "os.scandir"}

FAULTS = ("KILL", "TERM", "ENOSPC", "EIO", "EFBIG", "UNREADABLE", "READ EIO")
"""The first five strike at a change; with EFBIG, the kernel takes 64 bytes of any file from then on
and refuses the rest, whoever writes. The last two strike at an opening for reading."""

OF_READING = {"UNREADABLE": errno.EACCES, "READ EIO": errno.EIO}

STAGES = (
    ("index", "pets"), ("pretrain",), ("extract", "pets"), ("neighbors",), ("protocol", "knn"),
    ("protocol", "linear"), ("protocol", "fewshot"), ("protocol", "predictors"),
    ("protocol", "transfer"), ("protocol", "finetune"), ("similarity",), ("collect",),
    ("correlate",), ("report",),
)  # fmt: skip
"""Of the study, in order."""


@dataclass(frozen=True)
class Fault:
    """What strikes, and at which change (or opening for reading) it does; the first is 1."""

    kind: str
    at: int


@dataclass(frozen=True)
class Ran:
    """How a run ended: its status (negative: the signal), its words, its changes, what it read."""

    status: int
    out: str
    changes: int
    reads: int = 0

    def of(self, kind: str) -> int:
        """Places at which a fault of a kind may strike."""
        return self.reads if kind in OF_READING else self.changes


def import_everything() -> None:
    """What stages import late, so that forks need not."""
    for name in ("torch", "timm", "sklearn.linear_model", "pandas", "xarray", "zarr", "scipy.stats",
                 "h5py", "netCDF4", "lightning_fabric", "lightly.loss", "stages.cli", "psutil",
                 "pipeline.embeddings.missing", "pipeline.probes.knn", "pipeline.probes.linear",
                 "pipeline.probes.fewshot", "pipeline.probes.transfer", "pipeline.report.page",
                 "pipeline.finetuning.storing", "pipeline.pretraining.run",
                 "pipeline.statistics.analysis", "pipeline.probes.predictors",
                 *(f"stages.{command}" for command, *_ in STAGES)):  # fmt: skip
        importlib.import_module(name)


def run(
    folder: Path,
    command: tuple[str, ...],
    fault: Fault | None = None,
    *,
    before: Callable[[], object] | None = None,
) -> Ran:
    """Run a stage or, as ``cli …``, a command in a fork.

    Parameters
    ----------
    folder : Path
        The project's.
    command : tuple of str
    fault : Fault, optional
    before : callable, optional
        Called in the fork first: another user, other locks.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 70
        try:
            os.close(reader)
            status = _inside(folder, command, fault, before, writer)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    status = os.waitpid(child, 0)[1]
    out, _, counted = said.partition(_COUNTED)
    changes, reads = map(int, counted.split()) if counted else (0, 0)
    return Ran(os.waitstatus_to_exitcode(status), out, changes, reads)


_COUNTED = "\x00counted\x00"


def _inside(
    folder: Path,
    command: tuple[str, ...],
    fault: Fault | None,
    before: Callable[[], object] | None,
    pipe: int,
) -> int:
    os.dup2(pipe, 1)
    os.dup2(pipe, 2)
    sys.stdout = open(1, "w", closefd=False, buffering=1)
    sys.stderr = open(2, "w", closefd=False, buffering=1)
    os.chdir(folder)
    if before is not None:
        before()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stop_clocks()
    count = strike(folder, fault)
    module = importlib.import_module(f"stages.{command[0]}")
    try:
        module.main.main(list(command[1:]), standalone_mode=False)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    sys.stdout.flush()
    os.write(pipe, f"{_COUNTED}{count['changes']} {count['reads']}".encode())
    return status


def stop_clocks() -> None:
    """The same seconds in every run: then all bytes can be compared."""
    time.monotonic = time.perf_counter = time.process_time = lambda: 1000.0


def strike(folder: Path, fault: Fault | None) -> Counter[str]:
    """Count this process's changes of, and looks into, files below a folder; a fault strikes."""
    count: Counter[str] = Counter()
    root = os.path.realpath(folder)
    sort = "reads" if fault is not None and fault.kind in OF_READING else "changes"

    def touched(how: str, path: object) -> None:
        if isinstance(path, bytes):
            path = path.decode(errors="replace")
        if not isinstance(path, str | os.PathLike):
            return
        if not os.path.abspath(path).startswith(root):
            return
        count[how] += 1
        if fault is None or how != sort or count[how] != fault.at:
            return
        if fault.kind in ("KILL", "TERM"):
            os.kill(os.getpid(), signal.SIGKILL if fault.kind == "KILL" else signal.SIGTERM)
        elif fault.kind == "EFBIG":
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
        else:
            number = OF_READING.get(fault.kind) or getattr(errno, fault.kind)
            raise OSError(number, os.strerror(number), os.fspath(path))

    def hook(event: str, arguments: tuple) -> None:
        if event in CHANGES:
            touched("changes", arguments[0])
        elif event in LOOKS:
            touched("reads", arguments[0])
        elif event == "open" and isinstance(arguments[2], int):
            touched("changes" if arguments[2] & 3 else "reads", arguments[0])

    sys.addaudithook(hook)

    def fsync(handle: int) -> None:
        touched("changes", os.readlink(f"/proc/self/fd/{handle}"))

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


GIVEN_FILES = ("images", "given", "dvc.yaml", "other.yaml", "theirs.csv")


def files(folder: Path) -> dict[str, bytes]:
    """Everything that stages and commands made or may change."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in GIVEN_FILES
    }


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A project in which nobody but a superuser may write."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


def as_ordinary_user() -> None:
    """Of a superuser, take away the right to read and write what its modes forbid."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    sets = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    assert libc.capget(header, sets) == 0
    sets[0] &= ~(1 << 1 | 1 << 2 | 1 << 3)  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
    assert libc.capset(header, sets) == 0


def without_locks() -> None:
    """A file system that knows none."""

    def flock(handle: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = flock


def quiet() -> None:
    """One process on the CPU, and none of the caller's variables."""
    for name in [n for n in os.environ if n.startswith(("PROBELINE_", "DASK_"))]:
        del os.environ[name]
    os.environ |= {
        "PROBELINE_DEVICE": "cpu", "PROBELINE_WORKERS": "0", "CUDA_VISIBLE_DEVICES": "",
        "LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip
