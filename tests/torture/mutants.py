"""Change files of strangers at random, and read them, with limits of time and memory.

What reads a file may take it or refuse it by a `ProbelineError`; any other exception, more than
20 s of processor time or 1 GB of memory for one file is a fault. Forks read a batch each; where one
dies, the mutant that it was at is the culprit.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tarfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import small_study
from forks import run

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


@dataclass(frozen=True)
class Reader:
    """A sound file, how it is changed, and what reads it from a path."""

    name: str
    file: str
    sound: bytes
    change: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path], object]


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


ODD = (
    b"", b"0", b"-1", b"1e999", b"nan", b"null", b"true", b"[]", b"{}", b'""',
    b"99999999999999999999", b"\x00", b"\xff\xfe", b"\r", b"\n", b'"', b"'", b"=1+1",
    b"\xe2\x80\xae", b"\x1b[2J", b"..", b"/", b"~", b"!!python/object:os.system", b"&a [*a]",
    b"<<: *a", b"2020-13-45", b": ", b"- ", b"|", b">", b"[[[[[[[[", b"\xc3\xa9", b"\xed\xa0\x80",
    b"4294967296", b"-9223372036854775809", b".5.5", b"0x1F",
)  # fmt: skip


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to eight changes of bytes: flipped, odd, taken away, doubled, moved, cut."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not found:
            break
        at = rng.randrange(min(len(found), rng.choice((64, 1024, len(found)))))
        length = rng.choice((1, 1, 2, 4, 8, 64, 512))
        match rng.randrange(8):
            case 0:
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                found[at : at + length] = rng.randbytes(length)
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = found[at : at + length] * rng.choice((1, 2, 50))
            case 4:
                found[at : at + length] = bytes([rng.choice((0, 255, 127, 128))]) * length
            case 5:
                del found[at:]
            case 6:
                found[at:at] = rng.choice(ODD)
            case 7:
                other = rng.randrange(len(found))
                found[at : at + length] = found[other : other + length]
    return bytes(found)


def change_words(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of words: odd ones, other ones of the file, doubled and dropped lines."""
    parts = re.split(rb"([\s,:;\"\[\]{}]+)", data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(parts))
        match rng.randrange(6):
            case 0:
                parts[at] = rng.choice(ODD)
            case 1:
                parts[at] = rng.choice(parts)
            case 2:
                parts[at] *= rng.choice((0, 2, 40, 3000))
            case 3:
                parts[at] += rng.choice(ODD)
            case 4:
                parts.insert(at, b"\n" + b" " * rng.randrange(6))
            case 5:
                return change_bytes(b"".join(parts), rng)
    return b"".join(parts)


VALUES = (
    None, True, -1, 0, 1.5, 1e308, float("nan"), 2**70, "", "..", "\x1b[2J", "é" * 200, [], [1], {},
    "\ud800",
    {"a": []}, [[[]]], "0" * 64,
)  # fmt: skip


def change_json(value: object, rng: random.Random, depth: int = 0) -> object:
    """A JSON value in which one thing is another, absent or doubled."""
    if isinstance(value, dict) and value and (depth == 0 or rng.random() < 0.8):
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.1:
            return {(f"{k}_" if k == key else k): v for k, v in value.items()}
        return {k: change_json(v, rng, depth + 1) if k == key else v for k, v in value.items()}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [change_json(v, rng, depth + 1) if i == at else v for i, v in enumerate(value)]
    return rng.choice(VALUES)


def sealed_again(data: bytes, rng: random.Random) -> bytes:
    """JSON with its own digest, by a stranger who knows how to make one."""
    from cache.seals import sealed_json

    facts = json.loads(data)
    facts.pop("sealed", None)
    for _ in range(rng.choice((1, 1, 2, 3))):
        changed = change_json(facts, rng)
        facts = changed if isinstance(changed, dict) else facts
    return sealed_json(facts)


def plain_json(data: bytes, rng: random.Random) -> bytes:
    """JSON changed by its values, or by its bytes."""
    if rng.random() < 0.3:
        return change_bytes(data, rng)
    return json.dumps(change_json(json.loads(data), rng)).encode()


def readers() -> Iterator[Reader]:
    """Everything that a stranger's file may be read by."""
    import pandas as pd
    import pyarrow.parquet as pq
    import torch
    from PIL import Image
    from projects import draw
    from safetensors.torch import save

    from cache.cell import Cell, CellAddress
    from cache.records import read_record
    from pipeline.datasets import index as indexes
    from pipeline.datasets.embedding_files import read_embeddings
    from pipeline.datasets.images import decode, examine
    from pipeline.datasets.roots import Tar
    from pipeline.datasets.tables import read_table
    from pipeline.embeddings import provenance
    from pipeline.fetching.archives import unpack
    from pipeline.models import hub, lockfile, pretrained
    from pipeline.models.checkpoint_files import read_checkpoint
    from pipeline.models.checkpoints import state_dict_of
    from pipeline.models.settings import Checkpoint, Model
    from pipeline.models.weights import locked_digest
    from pipeline.pretraining import entries
    from pipeline.results.costs import recorded_costs
    from pipeline.results.foreign_file import read_foreign
    from pipeline.study.params import load_study

    yield Reader("study", "params.yaml", Path("params.yaml").read_bytes(), change_words, load_study)

    def manifest(path: Path) -> object:
        table = read_table(path.read_bytes(), path.name, path.name, lambda names: list(names)[:3])
        return [table.labels(name) for name in list(table.columns)[1:2]]

    rows = "".join(f"images/{n}.png,class {n % 3},site {n % 2}\n" for n in range(30))
    csv = f"path,label,group\n{rows}".encode()
    yield Reader("manifest, CSV", "m.csv", csv, change_words, manifest)
    yield Reader("manifest, TSV", "m.tsv", csv.replace(b",", b"\t"), change_words, manifest)
    buffer = io.BytesIO()
    frame = pd.read_csv(io.BytesIO(csv))
    frame.to_parquet(buffer)
    yield Reader("manifest, Parquet", "m.parquet", buffer.getvalue(), change_bytes, manifest)

    array = io.BytesIO()
    np.save(array, np.arange(60, dtype=np.float32).reshape(12, 5))
    ids = "id,class\n" + "".join(f"{n},{n % 2}\n" for n in range(12))

    def embeddings(path: Path) -> object:
        if path.suffix == ".npy":
            path.with_suffix(".csv").write_text(ids)
        found = read_embeddings(path.parent, "train").features
        return float(np.asarray(found).sum())

    yield Reader("embeddings, .npy", "train.npy", array.getvalue(), change_bytes, embeddings)
    wide = pd.DataFrame(np.arange(60.0).reshape(12, 5), columns=[f"f{n}" for n in range(5)])
    buffer = io.BytesIO()
    wide.assign(id=[str(n) for n in range(12)], **{"class": ["a", "b"] * 6}).to_parquet(buffer)
    yield Reader(
        "embeddings, .parquet", "train.parquet", buffer.getvalue(), change_bytes, embeddings
    )

    scores = "model,dataset,protocol,metric,value,ci_low,ci_high,n_test,details\n" + "".join(
        f"m{n},pets,knn,top1,0.{n}5,0.{n},0.{n}9,100,\n" for n in range(1, 9)
    )
    yield Reader("scores of others", "s.csv", scores.encode(), change_words, read_foreign)

    lock = {"a.pth": {"source": "https://x.y/a.pth", "sha256": "0" * 64, "size": 5},
            "hf-hub:a/b": {"revision": "c" * 40, "files": {"config.json": "1" * 64}}}  # fmt: skip

    def locked(path: Path) -> object:
        lockfile.WEIGHTS_LOCK = path
        source = {"source": {"sha256": "0" * 64}}
        entry = Model.model_validate(
            {"architecture": "x", "weights": "https://x.y/a.pth", **source}
        )
        return [lockfile.locked(name) for name in lock], locked_digest(entry)

    yield Reader("weights.lock.json", "w.json", json.dumps(lock).encode(), plain_json, locked)

    made = "data/provenance/pets/tiny.json"

    def origin(path: Path) -> object:
        provenance.provenance_path = lambda *_: path
        study = load_study(Path("params.yaml"))
        found = (
            recorded_costs("pets", "tiny", study.models["tiny"]),
            provenance.copied_rows("pets", "tiny"),
        )
        card = provenance.recorded_card("pets", "tiny", study.models["tiny"])
        return found, card, provenance.recorded_audit("pets", "tiny")

    sound = Path(made).read_bytes()
    yield Reader("provenance, sealed anew", "p.json", sound, sealed_again, origin)
    yield Reader("provenance, bytes", "p.json", sound, change_bytes, origin)

    def trained(path: Path) -> object:
        entries.record_path = lambda name: path
        return entries.read_training("small")

    sound = Path("data/checkpoints/small.json").read_bytes()
    yield Reader("record of a pre-training", "p.json", sound, sealed_again, trained)

    def index(path: Path) -> object:
        indexes.index_path = lambda name: path
        found = indexes.read_index("pets")
        return found.labels("train"), found.split_names, found.said, found.samples_digest("val")

    sound = Path("data/index/pets.parquet").read_bytes()
    yield Reader("index, bytes", "i.parquet", sound, change_bytes, index)

    def index_again(data: bytes, rng: random.Random) -> bytes:
        table = pq.read_table(io.BytesIO(data))
        metadata = dict(table.schema.metadata)
        facts = change_json(json.loads(metadata[b"probeline.index"]), rng)
        metadata[b"probeline.index"] = json.dumps(facts).encode()
        if rng.random() < 0.3:
            table = table.drop_columns([rng.choice(table.column_names)])
        metadata[b"probeline.sha256"] = indexes._check(metadata[b"probeline.index"], table)
        out = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(metadata), out)
        return out.getvalue()

    yield Reader("index, sealed anew", "i.parquet", sound, index_again, index)

    def record(path: Path) -> object:
        found = read_record(path)
        return found and found.outcomes()

    sound = Path("results/knn/pets/tiny.parquet").read_bytes()
    yield Reader("record of a probe", "r.parquet", sound, change_bytes, record)

    def cell(path: Path) -> object:
        store = path.parent / "m.zarr"
        if not store.exists():
            shutil.copytree("data/embeddings/pets/tiny.zarr", store)
        (store / "train/zarr.json").write_bytes(path.read_bytes())
        found = Cell.open(CellAddress(store, "train"))
        return found.read(), found.labels(), found.ids(), found.digests()

    sound = Path("data/embeddings/pets/tiny.zarr/train/zarr.json").read_bytes()
    yield Reader("description of a cell", "z.json", sound, _manifest_again, cell)

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

    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2)}

    def checkpoint(path: Path) -> object:
        return state_dict_of(read_checkpoint(path, "models.x"), Checkpoint(), "models.x")

    yield Reader("weights, safetensors", "w.safetensors", save(state), change_bytes, checkpoint)
    buffer = io.BytesIO()
    torch.save({"model": state, "epoch": 3}, buffer)
    yield Reader("weights, .pth", "w.pth", buffer.getvalue(), change_bytes, checkpoint)
    buffer = io.BytesIO()
    torch.save({"model": state}, buffer, _use_new_zipfile_serialization=False)
    yield Reader("weights, old .pth", "w.pth", buffer.getvalue(), change_bytes, checkpoint)

    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(5.0), b=np.ones((2, 2)))
    yield Reader("weights, .npz", "w.npz", buffer.getvalue(), change_bytes,
                 lambda path: pretrained._loaded(path, "models.x"))  # fmt: skip
    config = {"architecture": "resnet18", "num_classes": 0, "model_args": {"drop_rate": 0.1},
              "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3}}  # fmt: skip

    def hub_config(path: Path) -> object:
        hub._require_timm(path, "o/n", "models.x")
        return pretrained._read_config(path, "models.x")

    text = json.dumps(config).encode()
    yield Reader("config.json of a hub", "config.json", text, plain_json, hub_config)
    yield from _unfinished()
    yield from _sources()
    yield from _taken()
    yield from _of_this_machine()


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


def _taken() -> Iterator[Reader]:
    """A classifier that somebody took: its facts changed, and the manifest made right again."""
    from pipeline.taken.classifier import load
    from pipeline.taken.folder import HEAD_FILE, MANIFEST_FILE, manifest_of

    made = run(Path.cwd(), ("cli", "take", "tiny", "taken", "--dataset", "pets"))
    assert made.status == 0, made
    sound = (Path("taken") / HEAD_FILE).read_bytes()

    def taken(path: Path) -> object:
        folder = path.parent / "taken"
        if not folder.exists():
            shutil.copytree("taken", folder)
        shutil.copy(path, folder / HEAD_FILE)
        (folder / MANIFEST_FILE).write_bytes(manifest_of(folder))
        return load(folder)

    yield Reader("taken classifier", "head.json", sound, plain_json, taken)


def _of_this_machine() -> Iterator[Reader]:
    """Beside the results: what was seen and remembered. A copied project brings a stranger's."""
    from pipeline.datasets.watching import look
    from pipeline.models.cards import find_card
    from pipeline.models.transform_origin import in_one_line, transform_parts
    from pipeline.planning.stage_times import record_plan, stage_times, where_we_are
    from pipeline.study.params import load_study

    def card(path: Path) -> object:
        study = load_study(Path("params.yaml"))
        for place in Path("data/cards").glob("*.json"):
            shutil.copy(path, place)
        found = find_card("tiny", study.models["tiny"])
        return found and (f"{found.columns:,} {found.parameters / 1e6}", in_one_line(
            transform_parts(study.models["tiny"], found.transform)))  # fmt: skip

    sound = next(Path("data/cards").glob("*.json")).read_bytes()
    yield Reader("card of a model", "c.json", sound, sealed_again, card)

    def seen(path: Path) -> object:
        shutil.copy(path, ".probeline/seen/pets.parquet")
        study = load_study(Path("params.yaml"))
        return str(look("pets", study.datasets["pets"]))

    sound = Path(".probeline/seen/pets.parquet").read_bytes()
    yield Reader("files that were seen", "s.parquet", sound, change_bytes, seen)

    record_plan({"extract@pets": 3.0, "knn": 12.5})

    def times(path: Path) -> object:
        shutil.copy(path, ".probeline/times/planned.json")
        return where_we_are("knn", ["study", "knn", "extract@pets"], stage_times())

    sound = Path(".probeline/times/planned.json").read_bytes()
    yield Reader("times of stages", "t.json", sound, plain_json, times)


def _manifest_again(data: bytes, rng: random.Random) -> bytes:
    from cache.files import sha256_bytes

    if rng.random() < 0.3:
        return change_bytes(data, rng)
    document = json.loads(data)
    described = document["attributes"]["probeline"]
    described["self"] = "0" * 64
    document["attributes"]["probeline"] = {**change_json(described, rng), "self": "0" * 64}
    blank = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode(
        errors="replace"
    )
    seal = f'"self": "{sha256_bytes(blank)}"'.encode()
    return blank.replace(b'"self": "' + b"0" * 64 + b'"', seal)


def _unfinished() -> Iterator[Reader]:
    """What lies beside an unfinished cell: its journal, as a stranger with the sums right."""
    from cache.cell import CellAddress
    from cache.journal import _check
    from cache.writer import CellWriter

    values = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)

    def writer(folder: Path) -> CellWriter:
        ids, address = [str(n) for n in range(600)], CellAddress(folder / "m.zarr", "train")
        return CellWriter(address, key={"k": 1}, ids=ids, labels=np.arange(600), columns=4)

    with writer(Path("begun")) as begun:
        begun.write(0, values[begun.rows_of(0)])
    partial = Path("begun/m.train.partial")

    def change(data: bytes, rng: random.Random) -> bytes:
        lines = []
        for line in data.splitlines():
            entry = json.loads(line)
            entry.pop("check")
            entry = change_json(entry, rng)
            if not isinstance(entry, dict):
                entry = {"chunk": entry}
            lines.append(json.dumps({**entry, "check": _check(entry)}).encode() + b"\n")
        return b"".join(lines)

    def resumed(path: Path) -> object:
        folder = path.parent / "cells"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copytree(partial, folder / partial.name)
        shutil.copy(path, folder / partial.name / "journal.jsonl")
        with writer(folder) as again:
            for chunk in again.missing:
                again.write(chunk, values[again.rows_of(chunk)])
            while not again.commit():
                for chunk in again.missing:
                    again.write(chunk, values[again.rows_of(chunk)])

    yield Reader(
        "journal of a cell", "j", (partial / "journal.jsonl").read_bytes(), change, resumed
    )
