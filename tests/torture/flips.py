"""Flip single bits of every kind of file that the product reads, and read it.

Each flip must be named by a `ProbelineError`, or harmless: what is read is equal to what was
written. Anything else read is a flip that was used; any other exception is a traceback.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import small_study

from cache.errors import ProbelineError

HEADER = ("kind of file", "flips", "named", "harmless", "used", "tracebacks")


@dataclass
class Row:
    """What became of the flips in one kind of file."""

    kind: str
    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        ends = [str(self.ends[end]) for end in ("named", "harmless", "used", "traceback")]
        return self.kind, str(self.ends.total()), *ends


@dataclass(frozen=True)
class Kind:
    """A kind of file: where one lies, and what the product makes of it."""

    name: str
    path: str
    read: Callable[[], object]


def campaign(base: Path, tries: int, only: tuple[str, ...] = (), seed: int = 0) -> Iterator[Row]:
    """One row for each kind of file."""
    small_study.make_whole_study(base / "study")
    yield from in_study(base / "study", tries, only, seed)


def in_study(study: Path, tries: int, only: tuple[str, ...] = (), seed: int = 0) -> Iterator[Row]:
    """The rows, of a study that is made already; files that it lacks are passed over."""
    os.chdir(study)
    _more_files()
    rng = random.Random(seed)
    for kind in kinds():
        there = any(Path().glob(kind.path))
        if there and (not only or any(word in kind.name for word in only)):
            yield flipped(kind, tries, rng)


def flipped(kind: Kind, tries: int, rng: random.Random) -> Row:
    """Read a file after each of some flips, and as it was."""
    row, path = Row(kind.name), next(iter(sorted(Path().glob(kind.path))))
    data = path.read_bytes()
    expected = plain(kind.read())
    # Half of the flips in the first and last kilobyte, where headers, footers and digests are.
    edge = [b for b in range(len(data)) if b < 1024 or b >= len(data) - 1024]
    for number in range(tries):
        byte = rng.choice(edge) if number % 2 else rng.randrange(len(data))
        bit = rng.randrange(8)
        changed = bytearray(data)
        changed[byte] ^= 1 << bit
        path.write_bytes(changed)
        try:
            end = "harmless" if plain(kind.read()) == expected else "used"
            words = ""
        except ProbelineError as error:
            end, words = "named", str(error)
            if not error.place or not error.remedy:
                end, words = "traceback", f"an error without place or remedy: {error}"
        except Exception as error:
            end, words = "traceback", f"{type(error).__name__}: {error}"
        row.ends[end] += 1
        if end in ("used", "traceback"):
            row.faults.append(f"{kind.name}, {path}, byte {byte} bit {bit}: {end} {words[:300]}")
    path.write_bytes(data)
    return row


def plain(value: object) -> object:
    """A value that can be compared with ==, NaN equal to NaN."""
    import pandas as pd
    import pyarrow as pa
    import torch
    import xarray as xr

    if isinstance(value, np.ndarray):
        return (
            value.shape,
            str(value.dtype),
            value.tobytes() if value.dtype != object else repr(value.tolist()),
        )
    if isinstance(value, torch.Tensor):
        return plain(value.numpy())
    if isinstance(value, pa.Table):
        return value.schema.names, repr(value.to_pylist())
    if isinstance(value, pd.DataFrame):
        return list(value.columns), repr(value.to_numpy().tolist())
    if isinstance(value, xr.Dataset):
        arrays = {str(n): (v.dims, plain(v.to_numpy())) for n, v in value.variables.items()}
        return arrays, plain(value.attrs)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return repr(value)


def _more_files() -> None:
    """What this study would not make by itself: fetched weights, an unfinished training."""
    import torch
    from safetensors.torch import save

    from cache.files import sha256_bytes
    from pipeline.machine.training_state import save_state
    from pipeline.models.lockfile import record

    weights = save({"a.weight": torch.arange(4000, dtype=torch.float32)})
    fetched = Path("data/weights") / _fetched().weights_file.rpartition("/")[2]
    fetched.parent.mkdir(parents=True, exist_ok=True)
    fetched.write_bytes(weights)
    record(fetched.name, {"source": "here", "sha256": sha256_bytes(weights), "size": len(weights)})
    save_state(Path("state.partial"), {"tensors": {"a": torch.arange(500.0)}, "key": "this"})
    former = Path("data/former/knn-pets/tiny/0.parquet")
    former.parent.mkdir(parents=True, exist_ok=True)
    former.write_bytes(Path("results/knn/pets/tiny.parquet").read_bytes())


def _fetched():
    from pipeline.models.settings import Model

    return Model.model_validate(
        {"architecture": "test_vit", "weights": "https://example.org/net.safetensors"}
    )


def kinds() -> Iterator[Kind]:
    """Every kind of file below data/, results/ and report/ that a stage or command reads."""
    from cache.cell import Cell
    from cache.former import former_records
    from cache.records import read_record
    from pipeline.datasets.imported import imported_card
    from pipeline.datasets.index import read_index
    from pipeline.embeddings.provenance import read_provenance
    from pipeline.machine.netcdf import read_netcdf, read_netcdf_groups
    from pipeline.machine.training_state import load_state
    from pipeline.models.cards import checkpoint_digest, find_card
    from pipeline.models.checkpoint_files import read_checkpoint
    from pipeline.models.weights import provide_weights
    from pipeline.pretraining.entries import pretrain_status
    from pipeline.project.paths import CORRELATION_NC, SCORES_CSV, SIMILARITY_NC, cell_address
    from pipeline.results.cube import read_cube, require_same_table
    from pipeline.results.score_table import read_scores
    from pipeline.study.params import load_study

    study = load_study()
    address = cell_address("pets", "tiny", "train")

    def cell():
        _forget()
        return Cell.open(address)

    def record(path):
        found = read_record(Path(path))
        if found is None:
            raise ProbelineError(path, "is absent", remedy="make it")
        return found.key, found.scores, found.outcomes()

    def former(folder):
        found = [(r.key, r.scores, r.asked, r.outcomes()) for r in former_records(Path(folder))]
        if not found:  # all is computed again
            raise ProbelineError(folder, "holds nothing", remedy="it is made again")
        return found

    def weights(entry):
        _forget()
        path = provide_weights(entry, "models.x")
        return read_checkpoint(path, "models.x")

    def scores():
        require_same_table(read_cube())
        return read_scores(SCORES_CSV)

    def trained():
        status = pretrain_status(study, "small", read_index("pets"))
        if status.state != "cached":  # the stage names it, and trains again
            raise ProbelineError("pretrain small", status.state, remedy="the stage does it")
        return status

    def card(name):
        found = find_card(name, study.models[name])
        if found is None:  # the model is loaded, and the card made again
            raise ProbelineError(f"card of {name}", "is not usable", remedy="it is made again")
        return found

    def kept():
        _forget()
        return imported_card("pets", "given")

    cells = "data/embeddings/pets/tiny.zarr"
    yield Kind("embeddings, a chunk", f"{cells}/train/embedding/c/0/0", lambda: cell().read())
    yield Kind("embeddings, description", f"{cells}/train/zarr.json", lambda: cell().manifest)
    yield Kind("embeddings, labels", f"{cells}/train/label/c/0", lambda: cell().labels())
    yield Kind("embeddings, ids", f"{cells}/train/id/c/0", lambda: cell().ids())
    yield Kind(
        "embeddings, digests of rows", f"{cells}/train/digest/c/0/0", lambda: cell().digests()
    )
    yield Kind("index", "data/index/pets.parquet", lambda: read_index("pets"))
    yield Kind(
        "provenance", "data/provenance/pets/tiny.json", lambda: read_provenance("pets", "tiny")
    )
    record_path = "results/knn/pets/tiny.parquet"
    yield Kind("record of a probe", record_path, lambda: record(record_path))
    folder = "data/former/knn-pets/tiny"
    yield Kind("record of former settings", f"{folder}/*.parquet", lambda: former(folder))
    neighbors = "data/neighbors/pets/tiny/euclidean_none.parquet"
    yield Kind("neighbours", neighbors, lambda: record(neighbors))
    yield Kind("scores.nc", "results/scores.nc", read_cube)
    yield Kind("scores.csv", "results/scores.csv", scores)
    yield Kind("correlation.nc", str(CORRELATION_NC), lambda: read_netcdf_groups(CORRELATION_NC))
    tables = "data/former/tables/*.nc"
    yield Kind("kept tables", tables, lambda: read_netcdf_groups(next(iter(Path().glob(tables)))))
    yield Kind("similarity.nc", str(SIMILARITY_NC), lambda: read_netcdf(SIMILARITY_NC))
    yield Kind("fetched weights", "data/weights/*.safetensors", lambda: weights(_fetched()))
    yield Kind("weights.lock.json", "weights.lock.json", lambda: weights(_fetched()))
    own = study.models["own"]
    yield Kind("pre-trained weights", "data/checkpoints/small.safetensors", lambda: weights(own))
    yield Kind("record of a pre-training", "data/checkpoints/small.json", trained)
    yield Kind("card of a model", _card_file("tiny", study), lambda: card("tiny"))
    yield Kind(
        "remembered digest of a file",
        "data/cards/files/*.json",
        lambda: checkpoint_digest("own", own),
    )
    yield Kind("state of a training", "state.partial", lambda: load_state(Path("state.partial")))
    yield Kind("imported embeddings", "data/imported/pets/given/train.npy", kept)
    yield Kind("imported table", "data/imported/pets/given/train.csv", kept)


def _card_file(name, study) -> str:
    from pipeline.models.cards import _path

    return str(_path(name, study.models[name]))


def _forget() -> None:
    """As in a new process, in which nothing has been compared yet."""
    from cache import cell, seals

    cell._intact.clear()
    seals._intact.clear()
