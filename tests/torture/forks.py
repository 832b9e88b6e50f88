"""A process that has imported everything, and forks of it which run stages and commands.

Interpreters, PyTorch and DVC take seconds to start; a fork costs some hundredths of one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from faults import Fault, Touched, watched


@dataclass(frozen=True)
class Ran:
    """How a run ended: its status (negative: the signal), its words, what it did to files."""

    status: int
    out: str
    touched: Touched

    @property
    def changes(self) -> int:
        """How many files, names and folders it changed."""
        return len(self.touched.changes)


def quiet() -> None:
    """One process on the CPU, and none of the caller's variables."""
    for name in [n for n in os.environ if n.startswith(("PROBELINE_", "DASK_"))]:
        del os.environ[name]
    os.environ |= {
        "PROBELINE_DEVICE": "cpu", "PROBELINE_WORKERS": "0", "CUDA_VISIBLE_DEVICES": "",
        "LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip


def import_everything() -> None:
    """What stages import late, so that forks need not."""
    for name in ("torch", "timm", "sklearn.linear_model", "pandas", "xarray", "zarr", "scipy.stats",
                 "h5py", "netCDF4", "lightning_fabric", "lightly.loss", "psutil"):  # fmt: skip
        importlib.import_module(name)
    for floor in ("cache", "pipeline", "stages"):
        path = importlib.import_module(floor).__path__
        for module in pkgutil.walk_packages(path, f"{floor}."):
            with contextlib.suppress(ImportError):  # of what is optional
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # else every fork's collections copy the pages of all that


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

    def inside() -> int:
        os.close(reader)
        os.chdir(folder)
        if before is not None:
            before()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        touched = watched(folder, fault)
        status = status_of(command)
        os.write(1, f"{_TOUCHED}{touched.reads} {' '.join(touched.changes)}".encode())
        return status

    child = forked(inside, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    out, _, touched = said.partition(_TOUCHED)
    reads, *changes = touched.split() or ["0"]
    return Ran(ended(child), out, Touched(changes, int(reads)))


_TOUCHED = "\x00touched\x00"


def status_of(command: tuple[str, ...]) -> int:
    """Run a stage or command in this process, by clocks that stand still."""
    stop_clocks()
    module = importlib.import_module(f"stages.{command[0]}")
    try:
        module.main.main(list(command[1:]), standalone_mode=False)
        return 0
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.stdout.flush()


def stop_clocks() -> None:
    """The same seconds in every run: then all bytes can be compared."""
    time.monotonic = time.perf_counter = time.process_time = lambda: 1000.0


def forked(inside: Callable[[], int], out: int | None = None) -> int:
    """A process that calls a function and ends with what that returns; its number.

    Parameters
    ----------
    inside : callable
    out : int, optional
        Where what it says goes, an open file; without it, where this process's goes.
    """
    child = os.fork()
    if not child:
        _in_fork(inside, out)
    return child


def _in_fork(inside: Callable[[], int], out: int | None) -> NoReturn:
    status = 70
    try:
        if out is not None:
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout = open(1, "w", closefd=False, buffering=1)
            sys.stderr = open(2, "w", closefd=False, buffering=1)
        status = inside()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(status)


def ended(child: int) -> int:
    """How a process ended; negative: the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
