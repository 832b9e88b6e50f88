"""What every data source does, however its images are stored: tests that each source inherits."""

from __future__ import annotations

import io
import pickle
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from projects import draw

from cache.errors import ProbelineError
from pipeline.datasets.index import write_index
from pipeline.datasets.indexing import build_index
from pipeline.datasets.samples import entries_of
from pipeline.datasets.settings import Dataset
from pipeline.datasets.source_list import source_of
from pipeline.datasets.sources import dataset_root
from pipeline.datasets.watching import look, remember, see
from pipeline.planning.counting import count_images


@dataclass(frozen=True)
class Picture:
    """An image as it is written: a PNG file, its class, its split (None: the source has none)."""

    number: int
    label: str
    split: str | None

    @property
    def data(self) -> bytes:
        """The file's content; no two are alike."""
        file = io.BytesIO()
        draw(self.number).save(file, "PNG")
        return file.getvalue()


def pictures(*splits: str | None, each: int = 3) -> list[Picture]:
    """So many of two classes in each split."""
    places = [(split, label) for split in splits for label in ("cat", "dog") for _ in range(each)]
    return [Picture(n, label, split) for n, (split, label) in enumerate(places)]


def pixels(data: bytes) -> bytes:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).tobytes()


class SourceContract:
    """Subclass it, say how images are written, and all of these tests are run."""

    def write(self, folder: Path, images: list[Picture]) -> dict[str, Any]:
        """Store them below a folder that is there; the entry of params.yaml, without `role`."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.chdir(tmp_path)
        made = tmp_path / "my images"  # a space, as users have them
        made.mkdir()
        return made

    def dataset(self, folder: Path, images: list[Picture], **more: Any) -> Dataset:
        return Dataset(**{"role": "in_domain", **self.write(folder, images), **more})

    def test_every_image_has_its_class_and_split_and_is_read_as_it_was_written(self, folder):
        written = pictures("train", "val")
        dataset = self.dataset(folder, written)
        index, root = build_index("pets", dataset), dataset_root("pets", dataset)
        rows = index.table
        found = Counter(
            (pixels(root.read(entry)), label, split)
            for entry, label, split in zip(
                entries_of(rows), rows["class"], rows["split"], strict=True
            )
        )
        assert found == Counter((pixels(p.data), p.label, p.split) for p in written)
        assert index.passed_over == ()
        # Other processes read it, too.
        travelled = pickle.loads(pickle.dumps(root))
        entry = entries_of(rows)[0]
        assert travelled.read(entry) == root.read(entry)

    def test_the_index_is_the_same_again(self, folder):
        dataset = self.dataset(folder, pictures("train", "val"))
        one, other = (build_index("pets", dataset) for _ in range(2))
        assert one.rows.equals(other.rows)
        for split in ("train", "val"):
            assert one.samples_digest(split) == other.samples_digest(split)
            assert one.split(split)["path"].is_monotonic_increasing

    def test_what_it_does_not_split_is_split_by_the_seed(self, folder):
        dataset = self.dataset(folder, pictures(None, each=8), val_fraction=0.25)
        rows = build_index("pets", dataset).table
        sizes = rows.groupby(["class", "split"]).size().unstack()
        assert (sizes["train"] > sizes["val"]).all()
        assert (sizes.sum(axis=1) == 8).all()
        other = dataset.model_copy(update={"seed": 1})
        assert build_index("pets", other).table["split"].tolist() != rows["split"].tolist()

    def test_a_limit_holds_in_each_class_and_split(self, folder):
        dataset = self.dataset(folder, pictures("train", "val"), limit_per_class=2)
        sizes = build_index("pets", dataset).table.groupby(["split", "class"]).size()
        assert sizes.tolist() == [2] * 4

    def test_plan_counts_what_the_index_will_hold(self, folder):
        dataset = self.dataset(folder, pictures("train", "val"))
        if not source_of(dataset).is_planned:
            pytest.skip("it is listed when it is indexed")
        early = count_images("pets", dataset, None)
        later = count_images("pets", dataset, build_index("pets", dataset))
        assert (early.train, early.val, early.classes) == (later.train, later.val, later.classes)
        assert early.problem is None

    def test_a_place_without_images_is_named(self, folder):
        dataset = self.dataset(folder, pictures("train", "val"))
        astray = dataset.model_copy(update={"path": str(folder / "nowhere")})
        with pytest.raises(ProbelineError) as caught:
            build_index("pets", astray)
        assert "pets" in caught.value.place
        assert caught.value.remedy

    def test_a_change_after_the_index_is_seen(self, folder):
        written = pictures("train", "val")
        dataset = self.dataset(folder, written)
        seen = see("pets", dataset)
        index = build_index("pets", dataset)
        write_index(index)
        remember(index, dataset, seen)
        if not source_of(dataset).is_watched(dataset):
            assert look("pets", dataset) is None
            return
        assert str(look("pets", dataset)) == "pets: as indexed"
        self.write(folder, [*written, Picture(99, "dog", "train")])
        assert look("pets", dataset).differs
