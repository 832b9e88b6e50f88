"""Images, alone and many in a file."""

from __future__ import annotations

import io
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from changes import change_bytes
from reader import Reader


def readers() -> Iterator[Reader]:
    """Every format, and every kind of file that holds some."""
    from PIL import Image
    from projects import draw

    from pipeline.datasets.images import decode, examine

    modes = {"PNG": "RGB", "JPEG": "RGB", "GIF": "P", "TIFF": "I;16", "WEBP": "RGB", "BMP": "RGB"}
    for kind, mode in (modes | {"PPM": "RGB", "AVIF": "RGB"}).items():
        picture = io.BytesIO()
        try:
            image = draw(3) if mode == "RGB" else Image.new(mode, (20, 16), 7)
            image.save(picture, kind)
        except (KeyError, OSError):  # Pillow without that library
            continue

        def image(path: Path) -> object:
            return examine(path.read_bytes(), "x"), decode(path.read_bytes(), "x")

        yield Reader(f"image, {kind}", "i", picture.getvalue(), change_bytes, image)
    yield from _archives()
    yield from _sources()


def _archives() -> Iterator[Reader]:
    """Listed and read in place, or unpacked."""
    from pipeline.datasets.tars import Tar
    from pipeline.fetching.archives import unpack

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a/0.png", "a/é.png", "b/" + "x" * 120 + ".png"):
            member = tarfile.TarInfo(name)
            member.size = 10
            tar.addfile(member, io.BytesIO(b"0123456789"))
        link = tarfile.TarInfo("b/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../a/0.png"
        tar.addfile(link)

    def listing(path: Path) -> object:
        root = Tar(path)
        return [root.read(entry) for entry in root.entries()]

    def unpacked(path: Path) -> object:
        shutil.rmtree(path.parent / "out", ignore_errors=True)
        return unpack(path, path.parent / "out")

    def change_tar(data: bytes, rng: random.Random) -> bytes:
        """A header's field changed, and its sum made right again."""
        if rng.random() < 0.4:
            return change_bytes(data, rng)
        found = bytearray(data)
        at = 512 * rng.randrange(len(found) // 512)
        places = (0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155)
        field_at, length = rng.choice((*places, (257, 8), (386, 24), (482, 1)))
        filled = rng.choice((rng.randbytes(length), b"7" * length, b"\xff" * length, b"\0" * length,
                             b"LKxgSVM1234567"[rng.randrange(14) :][:1] * length))  # fmt: skip
        found[at + field_at : at + field_at + length] = filled[:length]
        found[at + 148 : at + 156] = b" " * 8
        total = sum(found[at : at + 512])
        found[at + 148 : at + 156] = b"%06o\0 " % (total & 0o777777)
        return bytes(found)

    yield Reader("tar of images", "t.tar", packed.getvalue(), change_tar, listing)
    yield Reader("archive, tar", "t.tar", packed.getvalue(), change_tar, unpacked)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/0.png", "b/é.png"):
            archive.writestr(name, b"0123456789" * 20)
    yield Reader("archive, zip", "z.zip", zipped.getvalue(), change_bytes, unpacked)


def _sources() -> Iterator[Reader]:
    """Files that hold many images: listed, and every image read and decoded."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from projects import draw

    from pipeline.datasets.images import decode, examine
    from pipeline.datasets.samples import entries_of
    from pipeline.datasets.settings import Dataset
    from pipeline.datasets.sources import dataset_root, list_source

    pictures = []
    for number in range(4):
        picture = io.BytesIO()
        draw(number).save(picture, "PNG")
        pictures.append(picture.getvalue())

    def reads(source: str, **more: object) -> Callable[[Path], object]:
        def read(path: Path) -> object:
            said = {"source": source, "path": str(path), "role": "in_domain", **more}
            dataset = Dataset.model_validate(said)
            root = dataset_root("x", dataset)
            entries = entries_of(list_source("x", dataset, root).samples)
            images = [root.read(entry) for entry in entries]
            return [(examine(image, "x"), decode(image, "x")) for image in images]

        return read

    zipped, packed, table = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, picture in enumerate(pictures):
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", picture)
    yield Reader("zip of images", "z.zip", zipped.getvalue(), change_bytes, reads("folder"))
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, picture in enumerate(pictures):
            for suffix, data in (("png", picture), ("json", b'{"label": "%d"}' % (number % 2))):
                member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    yield Reader("shard of images", "s-0.tar", packed.getvalue(), change_bytes,
                 reads("webdataset"))  # fmt: skip
    rows = {
        "image": [{"bytes": p, "path": f"{n}.png"} for n, p in enumerate(pictures)],
        "label": [n % 2 for n in range(len(pictures))],
    }
    pq.write_table(pa.table(rows), table)
    yield Reader(
        "images in Parquet", "train.parquet", table.getvalue(), change_bytes, reads("parquet")
    )
