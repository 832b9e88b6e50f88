"""What every stage has in common: its command line, its closing line, its errors."""

from __future__ import annotations

import errno
import functools
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, ParamSpec, TypeVar

import click

import stages
from cache.errors import ProbelineError
from cache.files import explain_disk_errors, whose, write_durably
from pipeline.project.own_folders import refuse_links_out
from stages._announce import announced
from stages._output import give_up_output, written_out

P = ParamSpec("P")
R = TypeVar("R")


def explain_errors(function: Callable[P, R]) -> Callable[P, R]:
    """What every command does: look at the project's folders, and explain errors.

    A `ProbelineError` is printed without a traceback, and the exit status is 1. SIGTERM, by which
    Slurm and Docker end a process, ends it as Ctrl-C does.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if not gc.isenabled():  # since `stages/__init__.py`
            gc.freeze()  # what was imported stays, and is not looked through again
            gc.enable()
        former = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is threading.main_thread():  # Python takes it there only
            signal.signal(signal.SIGTERM, _terminate)
        try:
            refuse_links_out()
            with written_out(), announced():
                result = function(*args, **kwargs)
        except ProbelineError as error:
            _fail(error)
        except MemoryError as error:
            said = ProbelineError(
                "this machine's memory",
                "does not hold what was asked of it",
                found=str(error),
                remedy="`probeline plan` says what a study needs; of a stranger's file, look at "
                "what it promises",
            )
            _fail(said)
        except OSError as error:
            if error.errno in (None, errno.EPIPE):  # a pipe's reader that has gone: click ends
                raise
            _fail(_of_the_system(error))
        except KeyboardInterrupt as end:
            print(
                "\ninterrupted: what was committed is kept; run it again to go on", file=sys.stderr
            )
            sys.exit(128 + (signal.SIGTERM if isinstance(end, _TerminatedError) else signal.SIGINT))
        finally:
            stages.ended_well = False  # of a command within this one
            give_up_output()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, former)
        # A group's own function has ended before its command's words are so much as looked at.
        context = click.get_current_context(silent=True)
        stages.ended_well = context is None or context.invoked_subcommand is None
        return result

    return wrapped


def _of_the_system(error: OSError) -> ProbelineError:
    """What the system says of a file that nobody could say more of."""
    if not error.filename:  # files are opened, and written, where disk errors are explained
        try:
            with explain_disk_errors(Path("standard output")):
                raise error
        except ProbelineError as explained:
            return explained
        except OSError:
            pass
    place = str(error.filename or "the system")
    if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ProbelineError(
            place,
            "this user may not do with it what was asked",
            found=f"{error.strerror}{whose(place)}",
            remedy="give this user the right to it, or run this as its owner: what was committed "
            "is kept",
        )
    return ProbelineError(
        place,
        "refuses what was asked of it",
        found=error.strerror or str(error),
        remedy="mend that and run it again: what was committed is kept",
    )


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM; what cleans up after Ctrl-C cleans up after it."""


def _terminate(number: int, frame: FrameType | None) -> None:
    if multiprocessing.parent_process() is not None:  # a forked worker, which its pool ends
        os._exit(128 + number)
    raise _TerminatedError


class Tally:
    """Counts cells and prints a stage's closing line: what was cached, computed, how long."""

    def __init__(self, stage: str) -> None:
        self._stage, self._start = stage, time.monotonic()
        self.cached = 0
        self.computed = 0

    def close(self) -> None:
        """Print the line."""
        seconds = time.monotonic() - self._start
        print(f"{self._stage}: {self.cached} cached, {self.computed} computed, {seconds:.1f} s")


def folder_option(flag: str, default: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """An option that says into which folder a command writes, as its parameter ``folder``."""
    return click.option(
        flag,
        "folder",
        type=click.Path(path_type=Path),
        default=Path(default),
        show_default=True,
        help="Folder to write to.",
    )


def keep_folder(folder: Path) -> None:
    """Make a stage's folder, which DVC expects even where the study asks nothing of the stage.

    The file in it keeps DVC from warning of an empty folder at every run.
    """
    mark = folder / ".folder"
    if not mark.exists():
        write_durably(mark, b"DVC expects this folder, filled or not.\n")


def say(stage: str, text: str) -> None:
    """A closing line for stages that have no cells."""
    print(f"{stage}: {text}")


def _fail(error: ProbelineError) -> NoReturn:
    plain = not sys.stderr.isatty() or "NO_COLOR" in os.environ
    word = "error: " if plain else click.style("error: ", fg="red", bold=True)
    print(f"{word}{error}", file=sys.stderr)
    sys.exit(1)
