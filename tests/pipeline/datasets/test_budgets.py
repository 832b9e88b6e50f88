"""Files that promise more than there is: refused by what they say, before it is made room for."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image
from projects import REPOSITORY

from cache.errors import ProbelineError
from pipeline.datasets import images
from pipeline.datasets.embedding_files import mapped
from pipeline.datasets.images import decode
from pipeline.datasets.tars import Tar
from pipeline.fetching.archives import ArchiveError, unpack
from pipeline.study.params import load_study
from pipeline.study.study_text import StudyError


def tar_of(*members: tuple[bytes, bytes]) -> bytes:
    """Headers of a type, each with its data."""
    found = io.BytesIO()
    for kind, data in members:
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, len(data)
        found.write(member.tobuf() + data + bytes(-len(data) % 512))
    return found.getvalue() + bytes(1024)


LONG = b"a/" * 300_000


@pytest.mark.parametrize(
    "data",
    [
        tar_of((tarfile.GNUTYPE_LONGNAME, LONG), (tarfile.REGTYPE, b"1")),
        tar_of((tarfile.GNUTYPE_LONGLINK, LONG), (tarfile.SYMTYPE, b"")),
        tar_of((tarfile.XHDTYPE, b"600012 path=" + LONG), (tarfile.REGTYPE, b"1")),
        tar_of((tarfile.GNUTYPE_LONGNAME, LONG[:20_000]), (tarfile.REGTYPE, b"1")),
    ],
    ids=["GNU name", "GNU link", "POSIX name", "a path of 20,000 bytes"],
)
def test_a_tar_with_a_name_of_any_length(data, tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.raises(ProbelineError, match=r"name|path"):
        Tar(path).entries()
    with pytest.raises(ArchiveError):
        unpack(path, tmp_path / "out")


def test_an_array_with_a_header_of_any_length(tmp_path):
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        file.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 100))
        file.truncate(2**32)  # of zeros, which take no room on the disk
    with pytest.raises(ValueError, match="header of 4,294"):
        mapped(path)
    path.unlink()


def test_an_array_that_promises_four_tebibytes(tmp_path):
    path, found = tmp_path / "x.npy", io.BytesIO()
    np.lib.format.write_array_header_1_0(
        found, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**20)}
    )
    path.write_bytes(found.getvalue())
    with pytest.raises((ValueError, OSError)):
        mapped(path)


def test_a_study_of_any_length(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("datasets: [" + "x, " * 400_000)
    with pytest.raises(StudyError, match="too large"):
        load_study(path)


def test_no_part_of_a_message_is_longer_than_a_page():
    assert len(str(ProbelineError("x", "y", found="z" * 1_000_000))) < 9_000


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(images, "LARGE", 10)
    inside, most = 0, 0
    load, lock = Image.Image.load, threading.Lock()

    def watched(image):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        found = load(image)
        with lock:
            inside -= 1
        return found

    picture = io.BytesIO()
    Image.new("RGB", (60, 60)).save(picture, "BMP")
    monkeypatch.setattr(images, "_to_rgb", lambda image, *_: watched(image) and image)
    threads = [threading.Thread(target=decode, args=(picture.getvalue(), "x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_laid_over_white_in_strips_is_that_of_the_whole(mode, monkeypatch):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (37, 23, 4), np.uint8)).convert(mode)
    over = image.convert("RGBA")
    white = Image.new("RGBA", over.size, "white")
    whole = Image.alpha_composite(white, over).convert("RGB")
    monkeypatch.setattr(images, "_PART", 100)
    np.testing.assert_array_equal(np.asarray(images._over_white(image)), np.asarray(whole))


def test_a_python_without_the_packages_is_told(tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", "-m", "stages.study"],
        cwd=REPOSITORY, env={"PATH": "/usr/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "has not Probeline's packages" in done.stderr
    assert "activate" in done.stderr
    assert "Traceback" not in done.stderr
