"""Change files of strangers at random, and read them, with limits of time and memory.

What reads a file may take it or refuse it by a `ProbelineError`; any other exception, more than
20 s of processor time or 1 GB of memory for one file is a fault. Forks read a batch each; where one
dies, the mutant that it was at is the culprit.
"""

from __future__ import annotations

import io
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import readers_of_caches
import readers_of_images
import readers_of_machines
import readers_of_tables
import readers_of_weights
import small_study
from reader import Reader

from cache.errors import ProbelineError

SECONDS, BYTES = 20, 1 << 30
BATCH = 250

HEADER = ("what is read", "mutants", "taken", "refused", "tracebacks", "over 20 s", "over 1 GB")


@dataclass
class Row:
    """What became of the mutants of one kind of file."""

    kind: str
    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        ends = [str(self.ends[e]) for e in ("taken", "refused", "traceback", "slow", "large")]
        return self.kind, str(self.ends.total()), *ends


def campaign(base: Path, tries: int, only: tuple[str, ...] = (), seed: int = 0) -> Iterator[Row]:
    """One row for each reader."""
    small_study.make_whole_study(base / "study", quickly=True)
    yield from in_study(base / "study", tries, only, seed)


def in_study(study: Path, tries: int, only: tuple[str, ...] = (), seed: int = 0) -> Iterator[Row]:
    """The rows, of a study that is made already."""
    os.chdir(study)
    for reader in readers():
        if not only or any(word in reader.name for word in only):
            yield fuzzed(reader, tries, seed)


def readers() -> Iterator[Reader]:
    """Everything that a stranger's file may be read by."""
    yield from readers_of_tables.readers()
    yield from readers_of_caches.readers()
    yield from readers_of_images.readers()
    yield from readers_of_weights.readers()
    yield from readers_of_machines.readers()


def fuzzed(reader: Reader, tries: int, seed: int) -> Row:
    """Read mutants of a file, numbered: each is made of the seed and its number alone."""
    row, number = Row(reader.name), 0
    while number < tries:
        number = _batch(reader, seed, number, min(number + BATCH, tries), row)
    return row


def _batch(reader: Reader, seed: int, first: int, end: int, row: Row) -> int:
    """In a fork; returns the number of the next mutant."""
    reader_end, writer_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader_end)
            with os.fdopen(writer_end, "w", buffering=1) as pipe:
                _in_fork(reader, seed, range(first, end), pipe)
        except BaseException:
            traceback.print_exc(file=sys.__stdout__)
            os._exit(3)
        finally:
            os._exit(0)
    os.close(writer_end)
    at = first
    with os.fdopen(reader_end) as pipe:
        for line in pipe:
            end_of, _, words = line.rstrip("\n").partition(" ")
            row.ends[end_of] += 1
            if end_of not in ("taken", "refused"):
                row.faults.append(f"{reader.name}, seed {seed}, mutant {at}: {end_of} {words}")
            at += 1
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if at < end:  # it died at this one
        kind = "slow" if status in (-24, -14) else "large" if status in (-9, -6) else "traceback"
        row.ends[kind] += 1
        row.faults.append(f"{reader.name}, seed {seed}, mutant {at}: ended by {status}")
        at += 1
    return at


def _in_fork(reader: Reader, seed: int, numbers: range, pipe: io.TextIOBase) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries warn of
    path = Path(f"mutant-{os.getpid()}") / reader.file
    path.parent.mkdir()
    os.fsync = lambda handle: None  # nobody cuts the power here
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # Far above the limit, for what only reserves; what is used is measured below.
    resource.setrlimit(resource.RLIMIT_AS, (held + 8 * BYTES, held + 8 * BYTES))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        data = reader.change(reader.sound, random.Random(f"{seed} {number}"))
        path.write_bytes(data)
        used = time.process_time()
        limit = int(used) + SECONDS + 2
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        signal.alarm(30 * SECONDS)  # of one that waits, on a machine that is busy
        try:
            reader.read(path)
            said = "taken"
        except ProbelineError as error:
            said = "refused" if str(error) else "traceback empty words"
        except MemoryError:
            said = "large MemoryError"
        except BaseException as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            ours = [f"{Path(f.filename).name}:{f.lineno}" for f in
                    traceback.extract_tb(error.__traceback__) if "/pipeline/" in f.filename
                    or "/cache/" in f.filename]  # fmt: skip
            words = f"{error}".replace("\n", " ")[:160]
            said = f"traceback {type(error).__name__}: {words} at {at.name}, {' '.join(ours[-3:])}"
        if time.process_time() - used > SECONDS:
            said = f"slow {time.process_time() - used:.0f} s"
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if (now - peak) * 1024 > BYTES:
            said = f"large {(now - peak) >> 10} MB"
        peak = max(peak, now)
        pipe.write(said.replace("\n", " ") + "\n")
