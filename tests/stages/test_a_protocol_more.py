"""A protocol that somebody adds: one object in one list, and it is everywhere."""

from __future__ import annotations

import ast
import html
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from projects import REPOSITORY, RESNET, VIT, fill_folder
from ruamel.yaml import YAML

from pipeline.machine.netcdf import read_netcdf, read_netcdf_groups
from pipeline.probes.protocol import run_protocol
from pipeline.probes.scoring import make_outcome
from pipeline.probes.task import Scored, Task, judged, read_features
from pipeline.project.names import distinct
from pipeline.project.paths import SECTIONS, section_path
from pipeline.report.words import set_word
from pipeline.study import protocol_list
from pipeline.study.protocol import Protocol, Say
from pipeline.study.records import RECORD_FORMAT, record_key
from pipeline.study.schema import Study
from pipeline.study.variant import Variant

MODELS = [f"m{n}" for n in range(5)]


def score_all(study: Study, say: Say) -> tuple[int, int]:
    say(f"{len(study.models)} models")
    return run_protocol(study, TOY.name, partial(nearest_mean, study))


def nearest_mean(study: Study, task: Task) -> Scored:
    """Each test image gets the class whose mean train embedding is nearest."""
    train, labels = read_features(task.train), task.train.labels()
    means = np.stack([train[labels == c].mean(0) for c in range(len(task.classes))])
    scores = -np.linalg.norm(read_features(task.val)[:, None] - means, axis=2)
    outcome = make_outcome(
        TOY.variants(study)[0].name, scores, task.val.labels(), seconds=0.1, backend="numpy",
        seed=None, details={}, are_probabilities=False,
    )  # fmt: skip
    return judged(task, [outcome])


TOY = Protocol(
    name="class_means",
    label="nearest class mean",
    sections=("extraction",),
    sentence=lambda study: f"The class of the nearest mean, of {study.extraction.storage} numbers.",
    variants=lambda _: [Variant(protocol="class_means", head="prototypes", normalization="none")],
    run=score_all,
)


@pytest.fixture
def with_toy(monkeypatch) -> None:
    monkeypatch.setattr(protocol_list, "PROTOCOLS", distinct(*protocol_list.PROTOCOLS, TOY))


@pytest.mark.slow
def test_it_reaches_status_tables_statistics_and_the_page(project, with_toy):
    for folder, seed in (("images", 1), ("others", 2)):
        fill_folder(project.folder / folder, {"cat": 30, "dog": 24}, seed=seed)
    project.params["models"] = {
        name: {**(VIT if n % 2 else RESNET), "weights": f"random({n})", "family": f"f{n}"}
        for n, name in enumerate(MODELS)
    }
    project.prepare_others()
    for stage in ("knn", "linear"):
        project.run(stage).succeeded("10 computed")

    assert f"others/m0: {TOY.name} not scored" in project.run("cli", "status").succeeded(TOY.name)
    said = project.run(TOY.name).succeeded("class_means: 5 models", "0 cached, 10 computed")
    assert said.startswith("class_means: ")
    project.run(TOY.name).succeeded("10 cached, 0 computed")
    assert "not up to date" not in project.run("cli", "status").succeeded()
    for stage in ("collect", "correlate", "report"):
        project.run(stage).succeeded()

    table = pd.read_csv("results/scores.csv").query("protocol == 'class_means'")
    assert set(table["variant"]) == {"prototypes_none"}
    assert set(table["label"]) == {"nearest class mean: class means, plain"}
    assert len(table.query("metric == 'top1'")) == 10
    cube = read_netcdf(Path("results/scores.nc"))
    here = cube["value"].sel(variant="class_means/prototypes_none", metric="top1")
    assert np.isfinite(here).all()
    trust = read_netcdf_groups(Path("results/correlation.nc"))["trust"]
    assert "class_means" in str(trust.coords)

    page = Path("report/index.html").read_text(encoding="utf-8")
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "Nearest class mean The class of the nearest mean, of float16 numbers." in words
    assert "Nothing is fine-tuned." in words
    assert "nearest class mean" in Path("report/summary.md").read_text(encoding="utf-8")

    # With the embeddings that it was made from goes its record.
    del project.params["models"]["m4"]
    project.write()
    project.run("cli", "cache", "prune", "--yes").succeeded()
    assert not Path("results/class_means/pets/m4.parquet").exists()


def test_its_key_has_its_sections(project, with_toy):
    study = Study.model_validate(project.params)
    of = {"train": "a", "val": "b", "names": "c"}
    assert record_key(study, TOY.name, "pets", lambda _: of) == {
        "format": RECORD_FORMAT,
        "protocol": "class_means",
        "settings": {"extraction": study.extraction.model_dump()},
        "rules": {},
        **of,
    }


def test_a_set_of_its_targets_has_its_words(with_toy):
    assert set_word(TOY.name) == "nearest class mean"
    assert Variant(protocol=TOY.name, called="x").label == "nearest class mean: x"


def test_two_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Protocol objects are called class_means: rename one"):
        distinct(TOY, *protocol_list.PROTOCOLS, TOY)


def test_the_stage_knows_its_protocols(project):
    project.write()
    project.run("protocol", "fewshots").refused("no protocol", "did you mean fewshot?")


@pytest.mark.parametrize("protocol", protocol_list.PROTOCOLS, ids=lambda p: p.name)
def test_dvc_has_its_stage_with_its_sections_and_passes_its_records_on(project, protocol):
    stages = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
    stage = stages[protocol.name]
    assert stage["cmd"] == f"python -m stages.protocol {protocol.name}"
    folder = f"results/{protocol.name}"
    assert [folder] == [name for out in stage["outs"] for name in out]
    files = {section: str(section_path(section)) for section in Study.model_fields}
    assert {files[name] for name in protocol.sections} <= set(stage["deps"])
    assert str(SECTIONS) in stages["study"]["outs"]
    project.params |= {
        "linear": {"heads": ["sgd"]},
        "transferability": {"names": ["alignment"]},
        "extraction": {"views": 2},
    }
    if protocol.views(Study.model_validate(project.params)):
        assert files["extraction"] in stage["deps"]
    # A digest of all records is in what `collect` writes.
    assert folder in stages["collect"]["deps"]
    assert "results/scores.nc" in stages["collect"]["outs"]
    for name in ("correlate", "report"):
        assert "results/scores.nc" in stages[name]["deps"]
    for name in ("collect", "report"):
        deps = set(stages[name]["deps"])
        assert str(SECTIONS) in deps or {files[name] for name in protocol.sections} <= deps


@pytest.mark.parametrize("protocol", protocol_list.PROTOCOLS, ids=lambda p: p.name)
def test_what_runs_it_is_there_to_be_imported(protocol):
    """Modules are named, not imported, where `status` must not pay for them."""
    for function in vars(protocol).values():
        if hasattr(function, "resolve"):
            assert callable(function.resolve())


def test_no_protocol_is_named_outside_its_object():
    names = {protocol.name for protocol in protocol_list.PROTOCOLS}
    known = {f"pipeline/study/{name}.py" for name in names}
    keys_of_params = {
        f"pipeline/study/{name}.py" for name in ("schema", "renamed", "protocol_list")
    }
    heads = {"pipeline/study/variant.py", "pipeline/statistics/robustness.py"}  # a head is knn
    spelled = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("pipeline", "stages")
        for path in (REPOSITORY / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    }
    by_name = {f"stages/{name}.py" for name in names}  # commands that scripts call
    assert spelled == known | keys_of_params | heads | by_name
