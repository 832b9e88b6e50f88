"""One scale of grey per data set: decided once, sealed, said, and part of keys where it counts."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from projects import Project, fill_folder

from cache.errors import ProbelineError
from pipeline.datasets.grey import BITS, Deep, GreyScale
from pipeline.datasets.index import Index, former_index, read_index, write_index
from pipeline.datasets.indexing import build_index
from pipeline.datasets.settings import Dataset
from pipeline.embeddings.cells import cell_key
from pipeline.models.card import Card
from pipeline.study.params import load_study


def decide(peaks, declared=None, sealed=None, *, floating=False) -> GreyScale:
    scale = GreyScale.decide("x", [Deep(floating, p) for p in peaks], declared, sealed)
    assert scale is not None
    return scale


@given(st.lists(st.integers(0, 65535), min_size=1))
def test_whole_numbers_snap_to_the_bits_that_hold_them(peaks):
    white = decide(map(float, peaks)).white
    assert max(peaks) <= white
    assert white + 1 in [2**bits for bits in BITS]
    narrower = [2**bits - 1 for bits in BITS if 2**bits - 1 < white]
    assert not narrower or max(peaks) > narrower[-1]


@given(st.lists(st.floats(0, 1e30), min_size=1))
def test_floating_point_numbers_end_at_a_power_of_two(peaks):
    white = decide(peaks, floating=True).white
    assert white >= max(peaks)
    assert white >= 1
    assert np.frexp(white)[0] == 0.5
    assert white == 1 or white / 2 < max(peaks)


def test_what_is_declared_goes_before_all():
    assert decide([700], declared=5000.0).white == 5000
    assert decide([700], declared=5000.0, sealed=1023.0).white == 5000
    assert decide([0.5], declared=100.0, floating=True).white == 100


def test_what_was_sealed_stays_though_the_brightest_image_has_gone():
    assert decide([200], sealed=4095.0).white == 4095


@pytest.mark.parametrize(
    ("peaks", "declared", "sealed", "word"),
    [
        ([100, 5000], None, 4095.0, "white: 16383"),
        ([100, 5000], 4095.0, None, "`white` says"),
        ([70_000], None, None, "more than 16 bits"),
    ],
)
def test_brighter_images_are_an_error_that_names_the_setting(peaks, declared, sealed, word):
    with pytest.raises(ProbelineError) as caught:
        decide(map(float, peaks), declared, sealed)
    assert word in str(caught.value)
    assert "white" in caught.value.remedy
    assert "datasets.x" in caught.value.remedy


def test_two_kinds_of_numbers_are_asked_about():
    mixed = [Deep(False, 900.0), Deep(True, 0.7)]
    with pytest.raises(ProbelineError, match=r"datasets\.x\.white"):
        GreyScale.decide("x", mixed, None, None)
    scale = GreyScale.decide("x", mixed, 1000.0, None)
    assert scale is not None
    assert scale.white == 1000


def test_no_deep_image_no_scale():
    assert GreyScale.decide("x", [], None, None) is None
    assert GreyScale.decide("x", [], 4095.0, None) is None


@pytest.mark.parametrize(
    ("peaks", "floating", "changes"),
    [
        ([65_535], False, False), ([40_000], False, False), ([4000], False, True),
        ([200], False, True), ([0.9], True, False), ([200.0], True, True),
    ],
)  # fmt: skip
def test_the_scale_is_keyed_where_it_changes_pixels(peaks, floating, changes):
    from pipeline.datasets.images import decode

    scale = decide(map(float, peaks), floating=floating)
    assert scale.changes_pixels == changes
    ramp = np.linspace(0, peaks[0], 64).reshape(8, 8)
    data = tiff(ramp.astype(np.float32 if floating else np.uint16))
    before, after = (np.asarray(decode(data, "x", w)) for w in (None, scale.white))
    assert bool((before != after).any()) == changes or (floating and changes)


def tiff(values: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


def scans(project: Project, peak: int, dtype: type = np.uint16) -> None:
    """Ten scans of two classes; one pixel of one of them is as bright as `peak`."""
    shutil.rmtree(project.folder / "images")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        (project.folder / "images" / name).mkdir(parents=True)
        for number in range(5):
            values = rng.uniform(0.2 * peak, (0.4 + 0.4 * label) * peak, (20, 16)).astype(dtype)
            values[0, 0] = peak if (label, number) == (1, 4) else 0
            (project.folder / "images" / name / f"{number}.tif").write_bytes(tiff(values))


def index_of(**entry) -> Index:
    return build_index(
        "pets",
        Dataset(**{"source": "folder", "path": "images", "role": "in_domain", **entry}),
        former_index("pets"),
    )


def key_of(index: Index) -> dict:
    study = load_study()
    return cell_key(study, index, "train", study.models["tiny"], Card("w", {"mean": [0]}, 4, 0))


def test_the_scale_is_sealed_at_the_first_index(project):
    scans(project, 3000)
    first = index_of()
    write_index(first)
    assert read_index("pets").grey == first.grey
    assert first.white == 4095
    assert "4,095 (12 bits)" in first.notes[0]
    (project.folder / "images" / "dog" / "4.tif").unlink()  # the brightest goes
    assert index_of().white == 4095
    (project.folder / "images" / "dog" / "5.tif").write_bytes(
        tiff(np.full((9, 9), 5000, np.uint16))
    )
    with pytest.raises(ProbelineError, match=r"datasets\.pets") as caught:
        index_of()
    assert "white: 16383" in caught.value.remedy
    assert index_of(white=16383.0).white == 16383


def test_another_data_set_of_that_name_has_its_own_scale(project):
    scans(project, 3000)
    write_index(index_of())
    scans(project, 60_000)
    assert index_of().white == 65_535


def test_a_declared_scale_that_is_taken_back_is_decided_anew(project):
    scans(project, 3000)
    write_index(index_of(white=5000.0))
    assert index_of().white == 4095


def test_keys_of_eight_bit_images_are_as_before_and_others_hold_the_scale(project):
    plain = key_of(index_of())
    assert list(plain["transform"]) == ["decoder", "mean"]
    assert key_of(index_of(white=100.0))["transform"] == plain["transform"]
    scans(project, 65_000)
    assert key_of(index_of())["transform"] == plain["transform"]
    scans(project, 3000)
    assert key_of(index_of())["transform"] == {**plain["transform"], "grey": 4095.0}


@pytest.mark.slow
def test_a_study_of_deep_scans_runs_and_its_cells_are_current(project):
    scans(project, 3000)
    project.params["knn"] = {"k": [3]}
    project.prepare()
    project.run("cli", "status").succeeded("white is 4,095", "1/1")
    again = project.run("extract", "pets").succeeded()
    assert "0 computed" in again
    # With another white the pixels are others, and so are the cells.
    project.params["datasets"]["pets"]["white"] = 16383
    project.write()
    project.run("index", "pets").succeeded("white is 16,383")
    project.run("cli", "status").succeeded("stale")


def test_eight_bit_folders_say_nothing_of_it(project):
    fill_folder(project.folder / "images", {"cat": 5, "dog": 5})
    assert index_of().grey is None
    assert index_of().notes == ()
