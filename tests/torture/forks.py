"""A process that has imported everything, and forks of it which run stages and commands.

Interpreters, PyTorch and DVC take seconds to start; a fork costs some hundredths of one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from faults import OF_READING, Fault, strike

STAGES = ("study", "index", "pretrain", "extract", "neighbors", "protocol", "similarity", "collect",
          "correlate", "report")  # fmt: skip


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
                 "h5netcdf", "netCDF4", "lightning_fabric", "lightly.loss", "stages.cli", "psutil",
                 "pipeline.embeddings.missing", "pipeline.probes.knn", "pipeline.probes.linear",
                 "pipeline.probes.fewshot", "pipeline.probes.transfer", "pipeline.report.page",
                 "pipeline.finetuning.storing", "pipeline.pretraining.run",
                 "pipeline.statistics.analysis", "pipeline.probes.predictors",
                 *(f"stages.{stage}" for stage in STAGES)):  # fmt: skip
        importlib.import_module(name)
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
        count = strike(folder, fault)
        status = status_of(command)
        os.write(1, f"{_COUNTED}{count['changes']} {count['reads']}".encode())
        return status

    child = forked(inside, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    out, _, counted = said.partition(_COUNTED)
    changes, reads = map(int, counted.split()) if counted else (0, 0)
    return Ran(ended(child), out, changes, reads)


_COUNTED = "\x00counted\x00"


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
