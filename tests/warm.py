"""Python processes that start warm: forked from one that has imported what many of them need.

Most of what a new interpreter does here is to import PyTorch, timm, pandas and DVC, and a study
under DVC starts some fifty. Here one server for all workers of a test run imports these, never
anything of this project, and forks for each ``python …``: the child has its own folder, environment
and streams, and takes `pipeline` and its like from where it runs, as a new interpreter does.
What such a child starts by `sys.executable` starts warm, too (not the processes of a pool). A
command with options of the interpreter (``-X importtime``) gets a new one. Tests of what is
imported, of memory, and of kills start new ones themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

IMPORTED = (
    "click", "h5py", "jinja2", "netCDF4", "numpy", "pandas", "PIL.Image", "pyarrow.parquet",
    "pydantic",
    "ruamel.yaml", "scipy.stats", "scipy.optimize", "sklearn.linear_model", "sklearn.datasets",
    "timm", "torch", "torchvision", "xarray", "zarr", "dvc.cli.parser", "dvc.repo",
    "dvc.repo.reproduce", "dvc.repo.index", "dvc.repo.graph", "networkx", "dvc.stage.run",
    "dvc.output", "dvc_data.index", "lightning_fabric", "lightly.loss",
    "multiprocessing.spawn", "threadpoolctl", "joblib",
)  # fmt: skip

STUB = """\
#!{python} -SEI
import os, sys
if len(sys.argv) < 2 or (sys.argv[1][:1] == "-" and sys.argv[1] not in ("-m", "-c")):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
import json, signal, socket, struct
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"."], [0, 1, 2])
said = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
server.sendall(struct.pack("=Q", len(said)) + said)
status = int(server.recv(8) or 1)
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""

FOLDER = "WARM_PYTHONS"
"""Variable of the test run's folder with the server's address."""


def begin() -> int:
    """Make that folder, for all workers; the server ends with the process that called this.

    Returns
    -------
    int
        An open file: the server ends when it is closed, and does when this process is killed.
    """
    made = Path(tempfile.mkdtemp(prefix="warm"))
    os.environ[FOLDER] = str(made)
    os.mkfifo(made / "alive")
    return os.open(made / "alive", os.O_RDWR)


def end(alive: int) -> None:
    """End the server, if one was started, and remove its folder."""
    os.close(alive)
    shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


def python() -> str:
    """The command that starts warm, to be used like `sys.executable`."""
    return str(folder() / "python")


@cache
def folder() -> Path:
    """A folder with a command ``python`` that starts warm; the first who asks starts the server."""
    made = Path(os.environ[FOLDER])
    with open(made / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stub = made / "python"
        if not stub.exists():
            with open(made / "said", "w", encoding="utf-8") as said:  # no pipe: it stays open
                done = subprocess.run(
                    [sys.executable, __file__, str(made)],
                    stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False,
                )  # fmt: skip
            assert done.returncode == 0, (made / "said").read_text(encoding="utf-8")
            written = made / "written"
            written.write_text(
                STUB.format(python=sys.executable, address=str(made / "server")), encoding="utf-8"
            )
            written.chmod(0o755)
            written.rename(stub)
    return made


def serve(made: Path) -> None:
    """Import, then, in the background, fork for each that connects until the run ends."""
    del sys.path[0]  # the tests' own folder
    for module in IMPORTED:
        with contextlib.suppress(ImportError):
            import_module(module)
    gc.collect()
    gc.freeze()  # else every fork's collections copy the pages of all that
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(made / "server"))
    listener.listen(16)
    alive = os.open(made / "alive", os.O_RDONLY | os.O_NONBLOCK)
    if os.fork():
        os._exit(0)  # whoever waits for this process knows that the server listens
    while True:
        ready, _, _ = select.select([listener, alive], [], [])
        if alive in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(alive)
            answer(connection, made / "python")
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def answer(connection: socket.socket, stub: Path) -> None:
    """Run what is asked for in a child, and say how it ended."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    (size,) = struct.unpack("=Q", connection.recv(8, socket.MSG_WAITALL))
    arguments, cwd, environment = json.loads(connection.recv(size, socket.MSG_WAITALL))
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(files):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        start(arguments, stub)
    for number in files:
        os.close(number)
    if hasattr(os, "pidfd_open"):
        ended = os.pidfd_open(child)
        if connection in select.select([connection, ended], [], [])[0]:  # who asked was killed
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def start(arguments: list[str], stub: Path) -> NoReturn:
    """As ``python -m MODULE …``, ``python -c CODE …`` and ``python FILE …`` do."""
    kind = arguments[0] if arguments[0] in ("-m", "-c") else ""
    what = arguments[1] if kind else arguments[0]
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering=1, encoding="utf-8", errors=errors, closefd=False)
        for number, mode, errors in (
            (0, "r", "surrogateescape"), (1, "w", "surrogateescape"), (2, "w", "backslashreplace")
        )
    )  # fmt: skip
    more = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    for package in (entry.stem for path in more for entry in Path(path).glob("*")):
        for module in [m for m in sys.modules if m == package or m.startswith(f"{package}.")]:
            if package in {name.split(".")[0] for name in IMPORTED}:
                del sys.modules[module]  # another one stands in its place, e.g. one that forbids it
    first = {"-m": str(Path.cwd()), "-c": "", "": str(Path(what).resolve().parent)}[kind]
    sys.path[:0] = [first, *more]
    sys.executable = str(stub)
    sys.argv = [what if kind == "-m" else kind or what, *arguments[2 if kind else 1 :]]
    ended = 0
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        elif kind == "-c":
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), main.__dict__)
        else:
            runpy.run_path(what, run_name="__main__")
    except SystemExit as error:
        ended = error.code if isinstance(error.code, int) else int(error.code is not None)
        if not isinstance(error.code, int | None):
            print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        ended = -signal.SIGINT
    except BaseException:  # noqa: BLE001 - as an interpreter tells them
        sys.excepthook(*sys.exc_info())
        ended = 1
    finish(ended)


def finish(status: int) -> NoReturn:
    """End like an interpreter, without taking apart what was imported: that takes a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 255)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
