"""Every image of a data set read and decoded once, while it is indexed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pandas as pd

from cache.errors import ProbelineError
from cache.files import sha256_bytes
from pipeline.datasets.images import Examined, examine
from pipeline.datasets.remote import BrokenConnectionError
from pipeline.datasets.roots import Entry, Root
from pipeline.datasets.samples import entries_of
from pipeline.machine.environment import cpu_count, worker_count
from pipeline.machine.progress import Progress
from pipeline.project.words import leave_out_text

_AT_ONCE = 1024
"""Images handed to the threads together: memory does not grow with the data set's size."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What reading an image tells.

    Attributes
    ----------
    sha256 : str
        Of the file; "" where it can't be read.
    fault : ProbelineError or None
        Why it can't be read or decoded.
    examined : Examined or None
        What decoding told; None where it failed.
    """

    sha256: str
    fault: ProbelineError | None = None
    examined: Examined | None = None


def read_images(name: str, samples: pd.DataFrame, root: Root) -> list[ImageFacts]:
    """Read and decode every image, in threads (Pillow's decoders release Python's lock).

    Exactly what extraction decodes later is decoded here, so that what is broken is found before
    any time is spent on networks.
    """

    def look(entry: Entry) -> ImageFacts:
        digest = ""
        try:
            data = root.read(entry)
            digest = sha256_bytes(data)
            return ImageFacts(digest, examined=examine(data, entry.path))
        except BrokenConnectionError:
            raise  # says nothing of the image, which must not be skipped for it
        except ProbelineError as error:
            return ImageFacts(digest, error)

    entries = entries_of(samples)
    facts: list[ImageFacts] = []
    with (
        ThreadPoolExecutor(worker_count(cpu_count()) or 1) as pool,
        Progress(f"index {name}", len(entries), "images") as progress,
    ):
        for start in range(0, len(entries), _AT_ONCE):
            for one in pool.map(look, entries[start : start + _AT_ONCE]):
                facts.append(one)
                progress.advance()
    return facts


def refuse_changed(name: str, before: Hashable, after: Hashable) -> None:
    """Refuse what was changed while it was read: what a place in it holds, nobody knows then.

    Parameters
    ----------
    name : str
    before, after : hashable
        `Root.state` before it was listed, and after it was read.
    """
    if before != after:
        raise ProbelineError(
            f"data set {name}",
            "its archive (or table) has changed while it was read",
            expected="the same size, time or tag before and after",
            found="others",
            remedy="wait until it is written, then index the data set again",
        )


def refuse_faults(name: str, faults: Mapping[str, ProbelineError], images: int) -> None:
    """Refuse a data set with images that can't be read, if there are any; by path."""
    if not faults:
        return
    some = [f"{path}: {_said(error)}" for path, error in list(faults.items())[:5]]
    raise ProbelineError(
        f"data set {name}",
        f"{len(faults):,} of {images:,} files can't be read as images",
        expected="files that decode",
        found="; ".join(some) + (" …" if len(faults) > 5 else ""),
        remedy=f"{next(iter(faults.values())).remedy}; to leave all such files out: "
        f"`on_bad_image: skip` in datasets.{name}",
    )


def refuse_lost_classes(name: str, before: Sequence[str], after: Sequence[str]) -> None:
    """Refuse to skip all images of a class: it would be missing unseen."""
    if lost := sorted(set(before) - set(after)):
        raise ProbelineError(
            f"data set {name}",
            f"no image of {len(lost):,} class{'es' * (len(lost) > 1)} can be read",
            expected="an image of every class that decodes",
            found=", ".join(lost[:8]) + (" …" if len(lost) > 8 else ""),
            remedy="put sound images there; or leave the class out, e.g. with "
            f"`{leave_out_text(lost[0])}` in datasets.{name}",
        )


def why_skipped(faults: Mapping[str, ProbelineError]) -> dict[str, str]:
    """By path, what is wrong with the images that are left out."""
    return {path: _said(error) for path, error in faults.items()}


def _said(error: ProbelineError) -> str:
    return f"{error.problem}: {error.found}"
