"""Fetching a known data set: its files downloaded, checked, unpacked and put in place, once.

Downloads and what is being unpacked lie in ``.NAME.partial`` beside the data set's folder. Each
piece (often the whole folder) is renamed into place when its archive is unpacked, in the order of
known_datasets.yaml, which puts last what the data set can't be read without.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from cache.errors import ProbelineError
from cache.files import explain_disk_errors, fsync_directory, sha256_file
from cache.fingerprint import fingerprint
from cache.lock import Lock, clear_lock
from cache.removal import discard
from pipeline.datasets.folders import Folder
from pipeline.datasets.known import PACKED, KnownDataset, KnownFile
from pipeline.datasets.known_layouts import read_layout
from pipeline.fetching.archives import is_archive, unpack
from pipeline.fetching.content import Content
from pipeline.fetching.downloads import download
from pipeline.machine.environment import wait_seconds


def prepare(known: KnownDataset, images: Path) -> tuple[Path, bool]:
    """Make a data set's folder, if it is not there yet.

    Parameters
    ----------
    known : KnownDataset
    images : Path
        The folder of all images.

    Returns
    -------
    folder : Path
        The data set's own, as `path` in params.yaml has to name it.
    made : bool
        False when all of it was there before.

    Raises
    ------
    ProbelineError
        When only a person can fetch the files, or one can't be fetched, is not what it should be,
        or does not hold what is wanted. What was fetched is kept, what was unpacked is not.
    """
    folder = images / known.into
    lock = images / f".{known.into}.lock.partial"
    if is_there(known, folder):
        clear_lock(lock)  # of a run that was stopped when all was done
        return folder, False
    if any(not file.address for file in known.files):
        raise _by_hand(known, folder)
    work = images / f".{known.into}.partial"
    with Lock(lock, str(folder), wait=wait_seconds()):
        for file in known.files:
            if missing := [n for n in file.gives.values() if not (folder / n).exists()]:
                _put(known, file, work, folder, missing)
        with explain_disk_errors(work):
            discard(work)
    return folder, True


def is_there(known: KnownDataset, folder: Path) -> bool:
    """Whether every piece of a data set lies in its folder."""
    return all((folder / piece).exists() for piece in known.pieces)


def describe_counts(known: KnownDataset, folder: Path) -> str:
    """What lies there, by the data set's own lists, after a check against what should.

    Raises
    ------
    ProbelineError
        When images are missing, or there are others.
    """
    if known.layout == PACKED:  # two files of raw pixels, which the index stage takes apart
        return "two files of images"
    table = read_layout(known.layout, known.arguments, Folder(folder))
    counts = Counter(table["split"])
    found = {**counts, "classes": table["class"].nunique()}
    expected = known.entry["expected"]
    if wrong := [what for what, count in expected.items() if found.get(what, 0) != count]:
        raise ProbelineError(
            str(folder),
            "does not hold what the data set should",
            expected=", ".join(f"{expected[what]:,} {what}" for what in wrong),
            found=", ".join(f"{found.get(what, 0):,} {what}" for what in wrong),
            remedy="move this folder away and prepare the data set again",
        )
    images = " and ".join(f"{counts[s]:,} {s}" for s in ("train", "val") if s in counts)
    return f"{images} images of {found['classes']:,} classes, as expected"


def digest_lists(known: KnownDataset, folder: Path) -> str:
    """SHA-256 of the paths, classes and splits of all images, sorted; of no pixels.

    Of CIFAR's binary files, of the files themselves.
    """
    if known.layout == PACKED:
        return fingerprint({name: sha256_file(folder / name) for name in ("train.bin", "test.bin")})
    table = read_layout(known.layout, known.arguments, Folder(folder))
    rows = zip(table["path"], table["class"], table["split"], strict=True)
    return fingerprint(sorted(map(list, rows)))


def _put(
    known: KnownDataset, file: KnownFile, work: Path, folder: Path, missing: list[str]
) -> None:
    """Fetch one file and put the missing pieces that it gives in place."""
    place = f"data set {known.name}"
    with explain_disk_errors(work):
        work.mkdir(parents=True, exist_ok=True)
    fetched = work / file.file
    download([file.address], fetched, Content(md5=file.md5), place=place)
    unpacked = work / "unpacked"
    discard(unpacked)  # by a run that was killed
    try:
        if is_archive(file.file):
            unpack(fetched, unpacked)
        else:
            unpacked.mkdir()
            shutil.copyfile(fetched, unpacked / file.file)
        for source, name in file.gives.items():
            if name in missing:
                _rename(place, unpacked, source, folder / name)
        fetched.unlink()  # archives and images of all files together may not fit
    finally:
        discard(unpacked)


def _rename(place: str, unpacked: Path, source: str, target: Path) -> None:
    if not (unpacked / source).exists():
        raise ProbelineError(
            place,
            "the archive does not hold what was expected of it",
            expected=source,
            found=", ".join(sorted(p.name for p in unpacked.iterdir())[:8]) or "nothing",
            remedy="its authors may have replaced it; unpack it yourself and name the folder as "
            "`path`",
        )
    with explain_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        (unpacked / source).rename(target)
        fsync_directory(target.parent)


def _by_hand(known: KnownDataset, folder: Path) -> ProbelineError:
    wanted = ", ".join(file.file for file in known.files)
    return ProbelineError(
        f"data set {known.name}",
        "its licence does not let a program fetch it",
        expected=f"{', '.join(str(folder / piece) for piece in known.pieces)} (from {wanted})",
        found=f"no {next(p for p in known.pieces if not (folder / p).exists())} in {folder}",
        remedy=f"see {known.home}: {known.by_hand.format(folder=folder)}",
    )
