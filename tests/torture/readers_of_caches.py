"""What a copied folder or a remote brings: records, indexes, cells, a journal."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import unfinished
from changes import change_bytes, change_json, plain_json, sealed_again
from reader import Reader


def readers() -> Iterator[Reader]:
    """What stages made, below `data` and `results`."""
    import pyarrow.parquet as pq

    from cache.cell import Cell, CellAddress
    from cache.records import read_record
    from pipeline.datasets import index as indexes
    from pipeline.embeddings import provenance
    from pipeline.models import lockfile
    from pipeline.models.settings import Model
    from pipeline.models.weights import locked_digest
    from pipeline.pretraining import entries
    from pipeline.results.costs import recorded_costs
    from pipeline.study.params import load_study

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

    def kept(path: Path) -> object:
        return provenance._kept(path)

    yield Reader("unfinished cell, record", "p.json", sound, sealed_again, kept)

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
    yield from _unfinished()


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
    """What lies beside an unfinished cell, as of a stranger with the sums right."""
    from cache.cell import CellAddress

    begun = Path("begun by others")
    partial = unfinished.begin(begun).partial

    def resumed(path: Path) -> object:
        folder = path.parent / "cells"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(partial, folder / partial.name)
        shutil.copy(path, folder / partial.name / path.name)
        made = unfinished.finish(CellAddress(folder / "m.zarr", "train"), begun)
        # Rows are copied as their digests say, whatever a plan says.
        if path.name == "plan.npz" and not np.allclose(made.read(), unfinished.VALUES, atol=1e-2):
            raise AssertionError("a row is not that of its image")
        return made

    for name, file, change in (
        ("journal", "journal.jsonl", _lines_again), ("layout", "layout.json", sealed_again),
        ("rows ahead", "ahead.npz", _arrays_again), ("plan", "plan.npz", _arrays_again),
    ):  # fmt: skip
        sound = (partial / file).read_bytes()
        yield Reader(f"unfinished cell, {name}", file, sound, change, resumed)


def _lines_again(data: bytes, rng: random.Random) -> bytes:
    from cache.journal import _check

    lines = []
    for line in data.splitlines():
        entry = json.loads(line)
        entry.pop("check")
        entry = change_json(entry, rng)
        if not isinstance(entry, dict):
            entry = {"chunk": entry}
        lines.append(json.dumps({**entry, "check": _check(entry)}).encode() + b"\n")
    return b"".join(lines)


def _arrays_again(data: bytes, rng: random.Random) -> bytes:
    """Arrays by name: one is absent, of another type or shape, holds other values; or bytes."""
    from cache.seals import _LENGTH, with_seal

    if rng.random() < 0.3:
        return with_seal(change_bytes(data[:-_LENGTH], rng))
    with np.load(io.BytesIO(data)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = rng.choice(list(arrays))
    array = arrays[name]
    match rng.randrange(6):
        case 0:
            del arrays[name]
        case 1:
            arrays[name] = np.zeros(array.shape, rng.choice(("U9", "f4", "f2", "i1", "M8[s]", "?")))
        case 2:
            arrays[name] = array.reshape(-1)[: rng.randrange(max(1, array.size))]
        case 3:
            arrays[name] = np.array(rng.choice((0, -1, 1e300, np.nan, 2**62, "..", "\0", b"a")))
        case 4:
            arrays[name] = np.stack([array, array])
        case 5 if array.size and array.dtype.kind in "if":
            odd = (-1, 2**30, 7) if array.dtype.kind == "i" else (np.nan, np.inf, 7e4, 1e38, 0)
            changed = np.atleast_1d(array.copy())
            changed[rng.randrange(len(changed))] = rng.choice(odd)
            arrays[name] = changed.reshape(array.shape)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return with_seal(buffer.getvalue())
