"""Python processes that start warm: forked from one that has imported what many of them need.

A study under DVC starts some fifty interpreters, and most of what they do is to import PyTorch,
pandas and DVC. Here a server imports these once, never anything of this project, and forks for
each ``python …``: the child has its own folder, environment and streams, and takes `pipeline` and
its like from where it runs, as a new interpreter does. Tests of what is imported start one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path

IMPORTED = (
    "click", "h5py", "jinja2", "netCDF4", "numpy", "pandas", "PIL.Image", "pyarrow.parquet",
    "pydantic",
    "ruamel.yaml", "scipy.stats", "scipy.optimize", "sklearn.linear_model", "sklearn.datasets",
    "timm", "torch", "torchvision", "xarray", "zarr", "dvc.cli.parser", "dvc.repo",
    "dvc.repo.reproduce", "dvc.repo.index", "dvc.stage.run", "dvc.output", "dvc_data.index",
)  # fmt: skip

STUB = """\
#!{python} -SEI
import json, os, socket, struct, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"."], [0, 1, 2])
said = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
server.sendall(struct.pack("=Q", len(said)) + said)
status = server.recv(8)
os._exit(int(status) if status else 1)
"""


@cache
def folder() -> Path:
    """A folder with a command ``python`` that starts warm; the server ends with this process."""
    made = Path(tempfile.mkdtemp(prefix="warm"))
    address = str(made / "server")
    stub = made / "python"
    stub.write_text(STUB.format(python=sys.executable, address=address), encoding="utf-8")
    stub.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(stop, server, made)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return made


def stop(server: subprocess.Popen[bytes], made: Path) -> None:
    """End the server, and remove its folder."""
    server.communicate(timeout=60)
    shutil.rmtree(made, ignore_errors=True)


def serve(address: str) -> None:
    """Import, then fork for each that connects, until the input ends."""
    del sys.path[0]  # the tests' own folder
    for module in IMPORTED:
        with contextlib.suppress(ImportError):
            import_module(module)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            answer(connection)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def answer(connection: socket.socket) -> None:
    """Run what is asked for in a child, and say how it ended."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    (size,) = struct.unpack("=Q", connection.recv(8, socket.MSG_WAITALL))
    arguments, cwd, environment = json.loads(connection.recv(size, socket.MSG_WAITALL))
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        start(arguments)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(str(os.waitstatus_to_exitcode(status) & 255).encode())
    os._exit(0)


def start(arguments: list[str]) -> None:
    """As ``python -m MODULE …`` and ``python -c CODE …`` do."""
    kind, what = arguments[:2]
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
    sys.path[:0] = [str(Path.cwd()) if kind == "-m" else "", *more]
    sys.argv = [what if kind == "-m" else kind, *arguments[2:]]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    raise SystemExit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
