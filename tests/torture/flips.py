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

import forks
import numpy as np
import small_study
import unfinished

from cache.errors import ProbelineError

BEGUN, TAKEN = Path("begun"), Path("taken home")
"""A folder with an unfinished cell, and a taken classifier."""

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
    """What this study would not make by itself: fetched weights, what is unfinished, and so on."""
    import torch
    from safetensors.torch import save

    from cache.files import sha256_bytes
    from pipeline.machine.training_state import save_state
    from pipeline.models.lockfile import record
    from pipeline.models.sizes import remembered_gmacs
    from pipeline.planning.stage_times import record_plan
    from pipeline.study.params import load_study

    weights = save({"a.weight": torch.arange(4000, dtype=torch.float32)})
    fetched = Path("data/weights") / _fetched().weights_file.rpartition("/")[2]
    fetched.parent.mkdir(parents=True, exist_ok=True)
    fetched.write_bytes(weights)
    record(fetched.name, {"source": "here", "sha256": sha256_bytes(weights), "size": len(weights)})
    save_state(Path("state.partial"), {"tensors": {"a": torch.arange(500.0)}, "key": "this"})
    former = Path("data/former/knn-pets/tiny/0.parquet")
    former.parent.mkdir(parents=True, exist_ok=True)
    former.write_bytes(Path("results/knn/pets/tiny.parquet").read_bytes())
    unfinished.begin(BEGUN)
    kept = BEGUN / "m.train.partial/provenance.json"
    kept.write_bytes(Path("data/provenance/pets/tiny.json").read_bytes())
    record_plan({"extract@pets": 3.0, "knn": 12.5})
    remembered_gmacs("tiny", load_study().models["tiny"])
    done = forks.run(Path.cwd(), ("cli", "take", "tiny", str(TAKEN), "--dataset", "pets"))
    assert done.status == 0, done


def _fetched():
    from pipeline.models.settings import Model

    return Model.model_validate(
        {"architecture": "test_vit", "weights": "https://example.org/net.safetensors"}
    )


def kinds() -> Iterator[Kind]:
    """Every kind of file below data/, results/ and report/ that a stage or command reads."""
    from cache.ahead import read_ahead
    from cache.cell import Cell, CellAddress
    from cache.fingerprint import fingerprint
    from cache.former import former_records
    from cache.journal import read_entries
    from cache.layout import read_layout
    from cache.records import read_record
    from cache.verify import verify
    from pipeline.datasets.imported import imported_card
    from pipeline.datasets.index import read_index
    from pipeline.datasets.watching import look
    from pipeline.embeddings.provenance import _kept, read_provenance
    from pipeline.machine.netcdf import read_netcdf, read_netcdf_groups
    from pipeline.machine.training_state import load_state
    from pipeline.models.cards import checkpoint_digest, find_card
    from pipeline.models.checkpoint_files import read_checkpoint
    from pipeline.models.sizes import remembered_gmacs
    from pipeline.models.weights import provide_weights
    from pipeline.planning.stage_times import stage_times
    from pipeline.pretraining.entries import pretrain_status
    from pipeline.project.paths import CORRELATION_NC, SCORES_CSV, SIMILARITY_NC, cell_address
    from pipeline.results.cube import read_cube, require_same_table
    from pipeline.results.score_table import read_scores
    from pipeline.study.params import load_study
    from pipeline.taken.folder import read_verified

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

    def whole(found, what):
        if not found:  # what is damaged counts as absent, and is made again
            raise ProbelineError(what, "is of no use", remedy="it is made again")
        return found

    def root():
        if faults := verify(address):
            raise ProbelineError(str(faults[0].path), faults[0].problem, remedy="`--repair`")

    def ahead():
        found = read_ahead(partial, fingerprint(unfinished.KEY), unfinished.ROWS,
                           unfinished.COLUMNS)  # fmt: skip
        return found if len(found.rows) else whole(None, "rows ahead")

    def journal():
        entries = read_entries(partial / "journal.jsonl")[0]
        return whole(len(entries) == 1 and entries, "journal")

    cells = "data/embeddings/pets/tiny.zarr"
    partial = BEGUN / "m.train.partial"
    yield Kind("embeddings, a chunk", f"{cells}/train/embedding/c/0/0", lambda: cell().read())
    yield Kind("embeddings, description", f"{cells}/train/zarr.json", lambda: cell().manifest)
    yield Kind("embeddings, labels", f"{cells}/train/label/c/0", lambda: cell().labels())
    yield Kind("embeddings, ids", f"{cells}/train/id/c/0", lambda: cell().ids())
    yield Kind(
        "embeddings, digests of rows", f"{cells}/train/digest/c/0/0", lambda: cell().digests()
    )
    yield Kind("embeddings, root description", f"{cells}/zarr.json", root)
    yield Kind("unfinished cell, rows ahead", f"{partial}/ahead.npz", ahead)
    yield Kind(
        "unfinished cell, layout", f"{partial}/layout.json",
        lambda: whole(read_layout(partial), "layout"),
    )  # fmt: skip
    yield Kind("unfinished cell, journal", f"{partial}/journal.jsonl", journal)
    yield Kind(
        "unfinished cell, record", f"{partial}/provenance.json",
        lambda: whole(_kept(partial / "provenance.json"), "record"),
    )  # fmt: skip
    begun = CellAddress(BEGUN / "m.zarr", "train")
    yield Kind(
        "unfinished cell, plan", f"{partial}/plan.npz",
        lambda: whole((made := unfinished.plan(begun)).cells and made, "plan"),
    )  # fmt: skip
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
    yield Kind("imported, digests", "data/imported/pets/given/digests.json", kept)
    yield Kind(
        "files that were seen", ".probeline/seen/pets.parquet",
        lambda: str(look("pets", study.datasets["pets"])),
    )  # fmt: skip
    yield Kind(
        "times of stages", ".probeline/times/planned.json",
        lambda: whole(stage_times(), "times"),
    )  # fmt: skip
    yield Kind(
        "remembered work of a network", "data/cards/sizes/*.json",
        lambda: remembered_gmacs("tiny", study.models["tiny"]),
    )  # fmt: skip
    for part, file in (
        ("head", "head.json"), ("numbers", "head.safetensors"), ("program", "predict.py"),
        ("words", "README.md"), ("manifest", "manifest.json"), ("weights", "weights.safetensors"),
    ):  # fmt: skip
        yield Kind(f"taken classifier, {part}", str(TAKEN / file), lambda: read_verified(TAKEN))


def _card_file(name, study) -> str:
    from pipeline.models.cards import _path

    return str(_path(name, study.models[name]))


def _forget() -> None:
    """As in a new process, in which nothing has been compared yet."""
    from cache import cell, seals

    cell._intact.clear()
    seals._intact.clear()
