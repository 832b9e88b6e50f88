"""A data source that somebody adds: a function and an entry of one list, and it is everywhere."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from projects import REPOSITORY
from pydantic import ValidationError
from source_contract import SourceContract, pictures

from pipeline.datasets import source_list
from pipeline.datasets.index import read_index
from pipeline.datasets.roots import Kept
from pipeline.datasets.samples import Found, sample_table
from pipeline.datasets.settings import Dataset
from pipeline.datasets.source import Source
from pipeline.project.names import distinct

LIST = "labels.json"


def samples_listed(name: str, dataset: Dataset, root: Kept) -> Found:
    """A JSON file beside the images has the class and the split of each."""
    files = {entry.path: entry for entry in root.entries()}
    said = json.loads(root.read(files[LIST]))
    labels, splits = zip(*said.values(), strict=True)
    return Found(sample_table([files[path] for path in said], labels, splits), lists={LIST})


TOY = Source(name="listed", samples=samples_listed)


@pytest.fixture
def with_toy(monkeypatch) -> None:
    monkeypatch.setattr(source_list, "SOURCES", distinct(*source_list.SOURCES, TOY))


def write(folder: Path, images) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    said = {f"{image.number}.png": (image.label, image.split) for image in images}
    (folder / LIST).write_text(json.dumps(said), encoding="utf-8")
    for image in images:
        (folder / f"{image.number}.png").write_bytes(image.data)
    return {"source": "listed", "path": str(folder)}


@pytest.mark.usefixtures("with_toy")
class TestToy(SourceContract):
    def write(self, folder, images):
        return write(folder, images)


@pytest.mark.slow
def test_it_runs_from_params_to_the_page(project, with_toy):
    images = pictures("train", "val", each=5)
    write(project.folder / "listed", images)
    (project.folder / "listed" / "more.png").write_bytes(images[0].data)
    project.params["datasets"]["pets"] |= {"source": "listed", "path": "listed"}
    project.write()
    project.run("cli", "plan").succeeded("10")
    project.run("index", "pets").succeeded("10 train and 10 val images of 2 classes")
    assert [str(p) for p in read_index("pets").passed_over] == [
        "1 image that the data set's list leaves out, e.g. more.png"
    ]
    project.run("cli", "datasets", "check").succeeded("pets: as indexed")
    project.run("extract", "pets").succeeded("1 computed")
    project.run("neighbors").succeeded()
    for stage in ("knn", "collect", "correlate", "report"):
        project.run(stage).succeeded()
    page = Path("report/index.html").read_text(encoding="utf-8")
    assert "pets" in html.unescape(re.sub(r"<[^>]+>", " ", page))
    (project.folder / "listed" / "again.png").write_bytes(images[1].data)
    project.run("cli", "datasets", "check").succeeded("1 new")


def test_unknown_ones_are_refused_with_all_that_there_are(project, with_toy):
    project.params["datasets"]["pets"]["source"] = "lister"
    project.write()
    project.run("index", "pets").refused(
        "datasets.pets.source", "folder, manifest", "hf:OWNER/NAME, listed", "did you mean listed?"
    )


def test_two_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Source objects are called listed: rename one"):
        distinct(TOY, *source_list.SOURCES, TOY)


@pytest.mark.parametrize("source", source_list.SOURCES, ids=lambda source: source.name)
def test_what_it_names_is_there_to_be_imported_and_what_it_needs_is_asked_for(source):
    for function in vars(source).values():
        if hasattr(function, "resolve"):
            assert callable(function.resolve())
    said = source.name + (":digits" if source.called else "")
    assert source.fits(said)
    assert not source.fits(source.name if source.called else f"{said}:more")
    for key in source.needs:
        entry = {"source": said, "role": "in_domain", **dict.fromkeys(source.needs, "x"), key: None}
        with pytest.raises(ValidationError, match=f"needs `{key}`|probeline datasets known"):
            Dataset(**entry)


def test_no_code_asks_which_source_it_is():
    whose = r"(dataset|entry|self)\.source"
    asked = re.compile(rf"{whose} (==|!=|in|not in) |{whose}\.(startswith|removeprefix|partition)")
    found = {
        f"{path.relative_to(REPOSITORY)}: {line.strip()}"
        for folder in ("pipeline", "stages", "probeline")
        for path in (REPOSITORY / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if asked.search(line)
    }
    assert found == {
        'pipeline/datasets/settings.py: return self.source_name if self.source.startswith("known:") else None',  # noqa: E501
        'pipeline/datasets/settings.py: return self.source.partition(":")[2]',
    }
