"""Cells whose features do not fit are read in parts, those that can't be are refused; none stops
another.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_cells import clouds, make_cell, make_study
from projects import RESNET, VIT

from pipeline.datasets.index import read_index
from pipeline.embeddings.cells import open_cells
from pipeline.heads import slabs
from pipeline.machine.backends import Choice
from pipeline.probes import admitting
from pipeline.probes.fewshot import run_fewshot
from pipeline.probes.linear import run_linear
from pipeline.probes.needs import Need, Shape, fewshot_need, linear_need
from pipeline.probes.reading import CachedRows, RowsBank
from pipeline.probes.task import Source, Task
from pipeline.probes.transfer import Transfer
from pipeline.study.params import load_study


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slabs, "SLAB", 1200)


def study_of(*heads: str):
    asked = make_study({"metric": ["euclidean"], "normalization": ["zscore"]}, {"k": [5]})
    linear = {"heads": list(heads), "normalization": ["zscore", "l2"], "c": [0.01, 0.1]}
    linear = asked.linear.model_copy(update=linear)
    sources = asked.transfer.model_copy(update={"sources": ["photos"]})
    return asked.model_copy(update={"linear": linear, "transfer": sources})


def numbers(scored) -> dict[tuple[str, str], float]:
    return {(row["variant"], row["metric"]): row["value"] for row in scored.rows}


def test_rows_of_a_cell_are_those_that_it_holds(here):
    x, y = clouds(0, n=700)
    cell = make_cell("train", x, y)
    rows = CachedRows(cell)
    assert cell.manifest.chunks > 1
    for piece in (slice(0, 3), slice(250, 262), slice(100, 700), slice(650, 900), slice(5, 5)):
        np.testing.assert_array_equal(rows[piece], x[piece])
    bank = RowsBank(rows)
    np.testing.assert_array_equal(np.concatenate([v for _, v in bank.chunks()]), x)
    np.testing.assert_array_equal(bank.take(np.array([699, 2, 300])), x[[699, 2, 300]])


def test_linear_probes_find_the_same_in_parts(here):
    study = study_of("logistic", "ridge")
    x, y = clouds(1, n=400)
    train = make_cell("train", x, y)
    task = Task("clouds", "made", train, make_cell("val", *clouds(2, n=90)), tuple("abcd"))
    held = run_linear(study, task)
    read = run_linear(study, replace(task, streamed=True))
    assert numbers(read) == pytest.approx(numbers(held), rel=1e-6, abs=1e-9)
    columns = ["predicted", "rank"]
    assert read.outcomes.select(columns) == held.outcomes.select(columns)


def test_transferred_probes_find_the_same_in_parts(here):
    study = study_of("ridge")
    x, y = clouds(1, n=200)
    groups = np.array([f"g{i % 4}" for i in range(200)])
    cells = make_cell("train", x, y), make_cell("val", *clouds(2, n=90, shift=1.0))
    source = Source(make_cell("source", *clouds(3, n=160)), ("c", "b", "a", "x"))
    task = Task("photos", "made", *cells, tuple("abcd"), None, groups, sources={"photos": source})
    held, read = Transfer(study)(task), Transfer(study)(replace(task, streamed=True))
    assert len(held.rows) > 20
    assert numbers(read) == pytest.approx(numbers(held), rel=1e-5, abs=1e-9)


def task_named(model: str):
    return SimpleNamespace(model=model, dataset="d", streamed=False, variants=None)


@pytest.mark.parametrize(
    ("need", "outcome"),
    [
        (Need(10, 4, 1.0), "held"),
        (Need(11, 4, 1.0), "streamed"),
        (Need(11, None, 1.0), "refused"),
        (Need(30, 11, 1.0), "refused"),
    ],
)
def test_a_cell_is_held_or_streamed_or_refused(monkeypatch, need, outcome):
    monkeypatch.setattr(admitting, "job_memory", lambda: 10)
    monkeypatch.setattr(
        admitting, "replace", lambda task, **new: SimpleNamespace(**{**vars(task), **new})
    )
    failed: list = []
    pending = [(None, task_named("m")), (None, task_named("small"))]
    allowed, costs = admitting.allowed_tasks(
        "linear",
        pending,
        lambda t: need if t.model == "m" else Need(1, 1, 9.0),
        Choice("linear", "numpy"),
        failed,
    )
    tasks = [(task.model, task.streamed) for _, task in allowed]
    assert tasks[-1] == ("small", False)
    if outcome == "refused":
        assert len(allowed) == 1
        assert failed[0].place == "linear of m on d"
        assert "PROBELINE_MEMORY" in failed[0].remedy
    else:
        assert tasks[0] == ("m", outcome == "streamed")
        assert costs[0].size == (4 if outcome == "streamed" else 10)


def test_what_needs_all_features_says_so():
    shape = Shape(1_281_167, 50_000, 768, 1_000)
    of = {head: linear_need(study_of(head), "numpy", shape) for head in ("ridge", "sgd")}
    assert of["sgd"].streamed is None
    assert of["ridge"].streamed < 2e9 < 4e9 < of["ridge"].held < of["sgd"].held
    assert linear_need(study_of("ridge"), "sklearn", shape).streamed is None
    twice = replace(shape, val=100_000, classes=2_000)
    # Not what grows with images x classes (800 MB more, an array): d x K and outcomes.
    more = linear_need(study_of("logistic"), "numpy", twice).streamed
    assert more - linear_need(study_of("logistic"), "numpy", shape).streamed < 8e8
    asked = study_of("ridge")
    shots = asked.fewshot.model_copy(update={"shots": [5], "fractions": [0.1]})
    few = fewshot_need(asked.model_copy(update={"fewshot": shots}), shape)
    assert few.work > 0
    assert few.streamed < few.held + 1e8


def test_a_budget_that_is_too_small_is_refused_and_others_are_scored(project, monkeypatch):
    project.params["models"] = {"tiny": VIT, "net": RESNET}
    project.params["linear"] = {"heads": ["ridge"]}
    project.params["fewshot"] = {"shots": [1, 2], "episodes": 2}
    project.prepare()
    for wrong in ("abc", "0", "-1"):
        monkeypatch.setenv("PROBELINE_MEMORY", wrong)
        project.run("linear").refused("PROBELINE_MEMORY", "is not an amount", repr(wrong))
    monkeypatch.setenv("PROBELINE_MEMORY", "100MB")
    said = project.run("linear").refused("2 of 2 cells failed", "needs more memory", "about 25")
    assert "linear of tiny on pets" in said
    assert project.left_overs() == []
    monkeypatch.setenv("PROBELINE_MEMORY", "2GB")
    # One damaged cell stops no other.
    store = project.folder / "data/embeddings/pets/net.zarr/train"
    (chunk,) = store.glob("embedding/c/0/0")
    chunk.chmod(0o644)
    chunk.write_bytes(b"\0" * chunk.stat().st_size)
    project.run("linear").refused("other bytes than were written")
    assert (project.folder / "results/linear/pets/tiny.parquet").exists()
    assert not (project.folder / "results/linear/pets/net.parquet").exists()
    study, index = load_study(), read_index("pets")
    task = Task("pets", "tiny", *open_cells(study, index, "tiny"), index.classes)
    held, read = (run_fewshot(study, replace(task, streamed=s)) for s in (False, True))
    assert numbers(read) == pytest.approx(numbers(held), rel=1e-6)
