"""What a fine-tuning run is given, and that it sees the very images that the extraction sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finetune_cases import SMALL, ask, finetuned, prepare
from hypothesis import given as examples
from hypothesis import strategies as st
from PIL import Image
from projects import draw, fill_folder

from cache.errors import ProbelineError
from pipeline.datasets.index import Index, index_rows, read_index
from pipeline.datasets.roots import Entry
from pipeline.datasets.samples import sample_table
from pipeline.datasets.sources import dataset_root
from pipeline.embeddings.loading import BatchLoader
from pipeline.finetuning import images as decoding
from pipeline.finetuning.given import given_to
from pipeline.finetuning.images import batches_of, decode_once, view_of
from pipeline.heads.inner_splits import held_out_parts
from pipeline.models.transforms import Geometry, Resized, View, padded
from pipeline.probes.fewshot import draws_of
from pipeline.study.fewshot import Fewshot
from pipeline.study.finetune import Run
from pipeline.study.params import load_study


def index_of(counts: list[int], groups: list[str] | None = None) -> Index:
    """An index of so many train images of each class, and one val image of each."""
    classes = [f"class{c}" for c in range(len(counts))]
    names = [name for name, count in zip(classes, counts, strict=True) for _ in range(count)]
    names += classes
    splits = ["train"] * sum(counts) + ["val"] * len(counts)
    entries = [Entry(f"{i:04d}.png", 0, 1) for i in range(len(names))]
    table = sample_table(entries, names, splits, groups and [*groups, *[""] * len(classes)])
    table["sha256"] = "0"
    table["label"] = table["class"].map({name: c for c, name in enumerate(classes)})
    table["label_set"] = None
    return Index("made", tuple(classes), (), index_rows(table))


def given(index: Index, seed: int = 0, **run):
    return given_to(index, Run(recipe="sgd", **run), draw_seed=3, seed=seed, place="here")


@pytest.mark.parametrize(
    ("budget", "draw"), [({"shots": 3}, 0), ({"shots": 3}, 2), ({"fraction": 0.2}, 1)]
)
@pytest.mark.parametrize("seeds", ["digest", "row"])
def test_a_few_shot_run_gets_the_probes_own_draw(budget, draw, seeds):
    index = replace(index_of([40, 25, 11]), seeds=seeds)
    settings = Fewshot(
        shots=[1, 3], fractions=[0.2, 0.5], seed=3, episodes=4, episodes_above_five=3
    )
    (stored,) = [
        d
        for d in draws_of(settings, index.labels("train"), 3, index.draw_names("train"))
        if d.number == draw
        and (d.budget.shots, d.budget.share) == (budget.get("shots"), budget.get("fraction"))
    ]
    found = given(index, **budget, draw=draw)
    assert np.array_equal(np.sort(np.concatenate([found.learned, found.held_out])), stored.rows)
    assert found.share == pytest.approx(len(stored.rows) / 76)
    assert found.images == len(stored.rows)


@examples(st.lists(st.integers(1, 60), min_size=2, max_size=5), st.floats(0.01, 0.99))
def test_what_is_given_is_parted_and_no_class_is_empty(counts, fraction):
    index = index_of(counts)
    labels = index.labels("train")
    for run in ({}, {"fraction": fraction}, {"shots": 2}, {"selection": "last"}):
        found = given(index, **run)
        assert not set(found.learned) & set(found.held_out)
        assert set(labels[found.learned]) == set(range(len(counts)))
        assert set(found.learned) | set(found.held_out) <= set(range(sum(counts)))
        if not len(found.held_out):
            assert any("last epoch" in note for note in found.notes)


def test_a_hold_out_is_that_of_the_probes_and_heeds_groups():
    groups = [f"site{i // 4}" for i in range(80)]
    index = index_of([40, 40], groups)
    found = given(index, seed=5)
    expected = held_out_parts(index.labels("train"), "holdout", 5, np.array(groups)).masks[0]
    assert np.array_equal(np.flatnonzero(expected), found.held_out)
    assert len(found.held_out) == pytest.approx(16, abs=8)
    sites = np.array(groups)
    assert not set(sites[found.learned]) & set(sites[found.held_out])


def test_too_few_images_for_a_hold_out_say_so():
    found = given(index_of([30, 30]), shots=4)
    assert (len(found.learned), len(found.held_out)) == (8, 0)
    assert found.notes == (
        "too few images for a hold-out: all are learned from, the last epoch is taken",
    )


def test_a_fraction_that_leaves_classes_empty_says_so():
    found = given(index_of([300, 10, 4]), fraction=0.02)
    assert "the fraction leaves 2 classes without an image; each was given 1" in found.notes
    assert np.bincount(index_of([300, 10, 4]).labels("train")[found.learned]).tolist()[1:] == [1, 1]


def test_more_shots_than_images_say_so():
    assert (
        "1 class has fewer images than asked; all were taken"
        in given(index_of([30, 3]), shots=9).notes
    )


@pytest.mark.parametrize("run", [{}, {"shots": 2}, {"fraction": 0.5}])
def test_a_class_without_train_images_is_refused(run):
    with pytest.raises(ProbelineError, match="no train image to learn from") as caught:
        given(index_of([10, 0, 10]), **run)
    assert "class1" in caught.value.found


GEOMETRIES = [Geometry(16, 0.875, "bilinear"), Geometry(16, 1.0, "bicubic", "squash")]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("size", [(20, 16), (9, 33), (16, 16), (300, 20)])
def test_views_are_cut_from_the_image_at_the_evaluations_scale(geometry, size):
    """The middle of what is kept is the evaluation's crop."""
    image = draw(1, size)
    whole = Resized(geometry).apply(image)
    short = int(16 / geometry.crop)
    assert min(whole.shape[:2]) == short
    top, left = (round((side - 16) / 2) for side in whole.shape[:2])
    assert np.array_equal(whole[top : top + 16, left : left + 16], geometry.apply(image))
    view = View(16, "bilinear", 7)
    expected = view.apply(Image.fromarray(whole), 3)
    assert np.array_equal(view_of(whole, view, 3), expected)
    assert expected.shape == (16, 16, 3)


def test_a_long_strip_is_kept_as_the_evaluation_sees_it():
    geometry = Geometry(64, 1.0, "bilinear")
    strip = Image.new("RGB", (40_000, 2), "red")
    assert np.array_equal(Resized(geometry).apply(strip), geometry.apply(strip))


@pytest.fixture
def pets(project):
    fill_folder(project.folder / "images", {"cat": 9, "dog": 9})
    project.write()
    project.run("index", "pets").succeeded()
    index = read_index("pets")
    return index.split("train"), dataset_root("pets", load_study().datasets["pets"])


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("workers", [0, 3])
def test_the_same_pixels_from_memory_from_a_file_and_in_the_extraction(
    pad, workers, pets, monkeypatch
):
    samples, root = pets
    geometry = GEOMETRIES[0]
    (_, batch), *_ = BatchLoader(root, samples, [geometry], 0, pad=pad).batches(
        [slice(0, len(samples))]
    )
    for shared in (False, True):
        held = decode_once(
            root, samples, geometry, pad=pad, workers=workers, path=Path("pixels"), shared=shared
        )
        assert len(held) == len(samples)
        assert Path("pixels").exists() == shared
        for row, expected in enumerate(batch[geometry]):
            assert np.array_equal(held[row], expected)
    whole = decode_once(
        root, samples, Resized(geometry), pad=pad, workers=workers, path=Path("pixels")
    )
    for row, entry in enumerate(samples["path"]):
        image = Image.open(Path("images") / entry)
        expected = geometry.resized(padded(image) if pad else image)
        assert np.array_equal(whole[row], np.asarray(expected))


def test_images_that_memory_does_not_hold_go_to_a_file(pets, monkeypatch):
    import pickle

    samples, root = pets
    monkeypatch.setattr(decoding, "_bytes_of", lambda *_: 1 << 62)
    held = decode_once(root, samples, GEOMETRIES[0], pad=False, workers=0, path=Path("pixels"))
    assert Path("pixels").stat().st_size == len(samples) * 16 * 16 * 3
    first = held[0].copy()
    sent = pickle.dumps(held)
    assert len(sent) < 2_000  # where they lie, not the pixels
    assert np.array_equal(pickle.loads(sent)[0], first)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_are_the_same_with_any_number_of_threads(workers):
    parts = [np.array([3, 1]), np.array([2]), np.array([0, 4, 1])]
    made = batches_of(parts, lambda i: np.full((2, 2, 3), i, np.uint8), workers)
    assert [batch[:, 0, 0, 0].tolist() for batch in made] == [[3, 1], [2], [0, 4, 1]]


@examples(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0.05, 1))
def test_views_without_flip_and_of_a_least_area(number, row, least):
    """Of a picture whose red rises to the right: never mirrored; and never a smaller part."""
    ramp = np.zeros((64, 64, 3), np.uint8)
    ramp[..., 0] = np.arange(64) * 4
    image = Image.fromarray(ramp)
    view = View(64, "nearest", number, flip=False, least=least).apply(image, row)[..., 0]
    across = view[0].astype(int)
    assert (np.diff(across) >= 0).all()
    assert len(np.unique(across)) >= 64 * np.sqrt(least * 3 / 4) - 2
    assert np.array_equal(
        View(64, "nearest", number).apply(image, row),
        View(64, "nearest", number, flip=True, least=0.08).apply(image, row),
    )


def test_val_is_not_touched_before_the_end(project, monkeypatch):
    """The training decodes train rows only; other val images do not change the weights."""
    prepare(project)
    seen: list[str] = []
    real = BatchLoader._load

    def load(self, row):
        seen.append(self._entries[row].path)
        return real(self, row)

    monkeypatch.setattr(BatchLoader, "_load", load)
    index = read_index("pets")
    train, val = (index.split(split)["path"].tolist() for split in ("train", "val"))
    at: list[int] = []
    found = finetuned(advance=lambda *_: at.append(len(seen)))
    assert sorted(seen[: at[-1]]) == sorted(train)
    assert seen[at[-1] :] == val
    assert len(found.outcome.rank) == len(val)


def test_a_run_on_a_few_images_takes_the_last_epoch(project):
    prepare(project)
    ask(project, small={**SMALL, "shots": 4, "batch_size": 4})
    found = finetuned()
    assert found.chosen_epoch == 3
    assert found.n_train == 8
    assert found.history[-1].holdout_top1 is None
    assert "last epoch" in found.details["notes"][0]
