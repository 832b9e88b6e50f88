"""The top: one module per DVC stage, and the command line.

A stage reads params.yaml and the cache, computes what is missing, and writes the cache. Nobody
imports it but the command line.
"""

import atexit
import contextlib
import gc
import importlib.util
import multiprocessing
import os
import sys
from pathlib import Path

_NEEDED = ("click", "pydantic", "ruamel", "zarr", "xarray", "sklearn", "torch", "timm", "altair")

if any(importlib.util.find_spec(name) is None for name in _NEEDED):
    # `.venv/bin/dvc repro` in a shell that has not activated the environment: DVC runs whichever
    # `python` comes first in PATH, perhaps another project's.
    sys.exit(
        f"error: {sys.executable}: this Python has not Probeline's packages\n"
        "  expected  the Python of the project's environment to come first in PATH\n"
        "  to mend   `make repro`; or `. .venv/bin/activate`, then `dvc repro`"
    )

ended_well = False
"""Whether the command has done all that was asked, as `_run.explain_errors` knows."""

_is_command = sys.argv[0] == "-m" or Path(sys.argv[0]).name == "probeline"
if _is_command and multiprocessing.parent_process() is None:  # a pool's has its parent's argv
    # Nothing that is being imported is garbage; to look for some takes a fifth of a start.
    # `_run.explain_errors` looks again.
    gc.disable()

    @atexit.register  # before all that a command registers, so it runs after that
    def _leave_at_once() -> None:
        """To take a finished process apart, object by object, takes up to half a second."""
        if ended_well and "coverage" not in sys.modules:  # whose handler is of before
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or None
                    stream.flush()
            os._exit(0)
