"""Every place in the code that writes a file, and what is done to files of that kind.

`places` finds them in the code itself, so that a new kind of file can't be forgotten: a place that
`WRITES` does not name, or that writes more often than it says, fails a test. Each kind is flipped
(`flips.py`) and read as a stranger's (`mutants.py`), or it is said here why it need not be.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

FLOORS = ("cache", "pipeline", "stages", "probeline")

WRITERS = frozenset({
    "write_durably", "write_if_allowed", "write_sealed", "write_arrays", "whole_file", "remember",
    "write_record", "write_netcdf", "save_state", "keep_folder", "Journal", "not_through_links",
    "write_text", "write_bytes", "tofile", "save_file", "copyfile", "copy2", "copytree", "link",
})  # fmt: skip
"""Functions and methods that write a file, ours and others'; beside these, `open` for writing."""

FOR_OTHERS = frozenset({
    "cache.bundles.write_arrays", "cache.files._alone", "cache.files._created",
    "cache.files.write_durably", "cache.files.write_if_allowed", "cache.journal.Journal.__init__",
    "cache.records.write_record", "cache.seals.write_sealed",
    "pipeline.machine.netcdf.write_netcdf",
    "pipeline.machine.training_state.save_state", "pipeline.project.machine_files.remember",
    "stages._run.keep_folder",
})  # fmt: skip
"""Such functions of ours: which kind of file it is, their callers say."""

_PART = "embeddings, a part"
_ROOT = "embeddings, root description"
_DESCRIPTION = "embeddings, description"
_JOURNAL = "unfinished cell, journal"
_RECORD = "record of a probe"
_PLOT = "what DVC shows"
_PAGE = "what is read by people"
_FOLDER = "mark in a folder"

WRITES: dict[str, tuple[str, ...]] = {
    "cache.ahead.Ahead.write": ("unfinished cell, rows ahead",),
    "cache.commits.take_over": (_JOURNAL,),
    "cache.former.put_aside": ("record of former settings", "record of former settings"),
    "cache.former.put_back": (_RECORD,),
    "cache.layout.Layout.write": ("unfinished cell, layout",),
    "cache.lock._open": ("lock",),
    "cache.placing.seal": (_PART, _DESCRIPTION),
    "cache.placing.put_in_place": (_ROOT,),
    "cache.removal.remove_cell": (_ROOT,),
    "cache.repair.reopen": (_JOURNAL, "unfinished cell, record", _ROOT),
    "cache.repair.mend_root": (_ROOT,),
    "cache.repair.restore_description": (_DESCRIPTION,),
    "cache.rows._write_plan": ("unfinished cell, plan",),
    "cache.sealing._write": (_PART, _DESCRIPTION, _ROOT),
    "cache.writer.CellWriter._write": ("embeddings, a chunk",),
    "cache.writer.CellWriter._resume": (_JOURNAL,),
    "cache.writer.CellWriter._start": (_JOURNAL,),
    "pipeline.datasets.imported.import_embeddings": ("imported table", "imported, digests"),
    "pipeline.datasets.imported._write_array": ("imported embeddings",),
    "pipeline.datasets.index.write_index": ("index",),
    "pipeline.datasets.picture_tar.write_files": ("tar of images",),
    "pipeline.datasets.preparing._put": ("images",),
    "pipeline.datasets.watching._write": ("files that were seen",),
    "pipeline.embeddings.digests.record_cells": ("digests for DVC",),
    "pipeline.embeddings.exporting._write": (_PAGE,),
    "pipeline.embeddings.provenance.record_provenance": ("unfinished cell, record",),
    "pipeline.embeddings.provenance._write": ("provenance",),
    "pipeline.embeddings.unavailable.record_unavailable": ("why weights are absent",),
    "pipeline.fetching.archives._unpack_zip": ("images",),
    "pipeline.fetching.transfers._remember": ("state of a download",),
    "pipeline.fetching.transfers._copy": ("download",),
    "pipeline.finetuning.assembling.put_together": (_RECORD,),
    "pipeline.finetuning.curves.write_plot": (_PLOT,),
    "pipeline.finetuning.images.decode_once": ("decoded images",),
    "pipeline.finetuning.storing._finetune": (_RECORD,),
    "pipeline.finetuning.training.Training._write": ("state of a training",),
    "pipeline.machine.handshake.hello": ("token",),
    "pipeline.machine.handshake.greet": ("token",),
    "pipeline.models.cards.keep_card": ("card of a model",),
    "pipeline.models.cards.checkpoint_digest": ("remembered digest of a file",),
    "pipeline.models.lockfile.record": ("weights.lock.json",),
    "pipeline.models.sizes.remembered_gmacs": ("remembered work of a network",),
    "pipeline.neighbors.data_checks.check_data": (_RECORD,),
    "pipeline.neighbors.neighbors.search_cell": ("neighbours",),
    "pipeline.planning.stage_times._write": ("times of stages",),
    "pipeline.pretraining.run._pretrain": ("pre-trained weights", "record of a pre-training"),
    "pipeline.pretraining.training.Training.run": ("state of a training",),
    "pipeline.probes.cell_record.CellRecord.make": (_RECORD,),
    "pipeline.probes.fewshot.store_draws": (_RECORD,),
    "pipeline.probes.similarity_maps.update_maps": ("similarity.nc",),
    "pipeline.project.machine_files.machine_file": (_FOLDER,),
    "pipeline.report.figure_files.write_figures": (_PAGE, _PAGE, _PAGE),
    "pipeline.report.latex_tables.write_tables": (_PAGE,),
    "pipeline.results.baseline.keep_baseline": ("baseline of others",),
    "pipeline.results.exporting.export_scores": (_PAGE,),
    "pipeline.results.foreign_scores.import_scores": ("scores of others",),
    "pipeline.statistics.kept.kept_statistics": ("kept tables",),
    "pipeline.taken.taking._write": (
        "taken classifier, head", "taken classifier, numbers", "taken classifier, program",
        "taken classifier, words", "taken classifier, manifest",
    ),
    "pipeline.taken.taking._save_weights": ("taken classifier, weights",),
    "stages.cli.upgrade": ("study",),
    "stages.cli.use": ("study",),
    "stages.cli._describe_current": ("study",),
    "stages.collect.main": ("scores.csv", "scores.nc"),
    "stages.correlate._correlate": ("correlation.nc", _PLOT, _PLOT),
    "stages.correlate.write_tables": (_PAGE,),
    "stages.index.main": ("files that were seen", "digests for DVC"),
    "stages.neighbors._search": (_FOLDER,),
    "stages.pretrain.main": (_FOLDER,),
    "stages.protocol._score": (_FOLDER,),
    "stages.report.main": (_PAGE, _PAGE),
    "stages.study.main": (_FOLDER,),
    "stages.study.write_sections": ("digests for DVC",),
}  # fmt: skip
"""By place (module and function), the kind of each file that it writes."""

_NOBODY = "nothing of ours reads it"
_USERS = "a person's own text, which he may change: no digest could be right"

NOT_FLIPPED = {
    "lock": "its text only names who has the lock, in messages",
    "images": "the index has their digests; what is read of them is decoded",
    "tar of images": "the index has the digests of what is in it",
    "digests for DVC": "DVC alone reads it, and hashes it",
    "why weights are absent": "words for people; DVC hashes it",
    "state of a download": "a wrong one begins the download anew; the whole file has a digest",
    "download": "the whole file is compared with its digest",
    "decoded images": "read by the process that wrote it, and written anew by the next",
    "token": "compared with what it must be; lives for seconds",
    "study": _USERS,
    "scores of others": _USERS,
    "baseline of others": _USERS,
    _PLOT: _NOBODY,
    _PAGE: _NOBODY,
    _FOLDER: _NOBODY,
}
"""Kinds without a row in `flips.py`, and why."""

ROWS_OF_FLIPS = {
    _PART: ("embeddings, labels", "embeddings, ids", "embeddings, digests of rows"),
}
"""Kinds whose rows have names of their own; all others are called as the kind."""

READERS = {
    "index": ("index, bytes", "index, sealed anew"),
    "provenance": ("provenance, bytes", "provenance, sealed anew"),
    "imported table": ("manifest, CSV",),
    "imported embeddings": ("embeddings, .npy",),
    _DESCRIPTION: ("description of a cell",),
    "images": ("image, PNG", "image, JPEG", "zip of images"),
    "pre-trained weights": ("weights, safetensors",),
    "download": ("archive, tar", "archive, zip"),
    **{f"taken classifier, {part}": ("taken classifier",) for part in ("head", "manifest")},
}
"""Kinds whose readers in `mutants.py` have names of their own; others are called as the kind."""

_COMPARED = "compared with a digest in a file that is among the readers, before anything is read"

NOT_CHANGED = {
    "lock": "its text only names who has the lock, in messages",
    "why weights are absent": "words for people; whatever it is, it is read as some",
    "embeddings, a chunk": _COMPARED,
    _PART: _COMPARED,
    _ROOT: "compared byte by byte with what it must be; a copy is used where its digest is right",
    "record of former settings": "read as a record of a probe is",
    "neighbours": "read as a record of a probe is",
    "imported, digests": "digests that files are compared with",
    "remembered digest of a file": "of this machine, by its paths and inodes",
    "state of a training": "PyTorch's weights-only reader; whatever it raises is explained",
    "similarity.nc": "netCDF, whose library may end the process: sealed, and made anew",
    "scores.nc": "netCDF, as similarity.nc",
    "correlation.nc": "netCDF, as similarity.nc",
    "kept tables": "netCDF, as similarity.nc",
    "scores.csv": "compared with scores.nc",
    "taken classifier, numbers": _COMPARED,
    "taken classifier, weights": _COMPARED,
    "taken classifier, program": "nothing of ours runs it",
    "taken classifier, words": _NOBODY,
    "digests for DVC": "DVC alone reads it",
    "decoded images": NOT_FLIPPED["decoded images"],
    "token": NOT_FLIPPED["token"],
    "state of a download": "one line of JSON, sent back to the server that gave it",
    _PLOT: _NOBODY,
    _PAGE: _NOBODY,
    _FOLDER: _NOBODY,
}
"""Kinds without a reader in `mutants.py`, and why."""


def places(root: Path) -> dict[str, int]:
    """How many files each function of the code writes, as far as its text says it."""
    found: dict[str, int] = {}
    for floor in FLOORS:
        for path in sorted((root / floor).rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            for place in _writing(ast.parse(path.read_text()), module):
                found[place] = found.get(place, 0) + 1
    return {place: count for place, count in found.items() if place not in FOR_OTHERS}


def _writing(node: ast.AST, place: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _writing(child, f"{place}.{child.name}")
            continue
        if isinstance(child, ast.Call) and _writes(child):
            yield place
        yield from _writing(child, place)


def _writes(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name != "open" and name != "fdopen":
        return name in WRITERS
    said = [*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode")]
    modes = [part.value for part in said if isinstance(part, ast.Constant)]
    of_tar = any(word.arg == "fileobj" for word in call.keywords)  # into a file that is open
    return not of_tar and any(
        isinstance(mode, str) and set(mode) <= set("rwaxbt+") and set(mode) & set("wax+")
        for mode in modes
    )


def forgotten(flips: Collection[str], readers: Collection[str]) -> list[str]:
    """Kinds of files that neither are tried nor have a reason, and reasons of what is no kind.

    Parameters
    ----------
    flips, readers : collection of str
        Names of the rows of `flips.py`, and of the readers of `mutants.py`.
    """
    kinds = {kind for of_place in WRITES.values() for kind in of_place}
    wrong = []
    for what, said, rows, excused in (
        ("is not flipped", flips, ROWS_OF_FLIPS, NOT_FLIPPED),
        ("is not read as a stranger's", readers, READERS, NOT_CHANGED),
    ):
        wrong += [
            f"{row} {what}"
            for kind in sorted(kinds - excused.keys())
            for row in rows.get(kind, (kind,))
            if row not in said
        ]
        wrong += [f"{kind}: no file is called so" for kind in sorted(excused.keys() - kinds)]
        wrong += [f"{kind} is tried, and excused" for kind in sorted({*said} & excused.keys())]
    return wrong
