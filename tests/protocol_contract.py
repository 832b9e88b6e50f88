"""What every protocol does, whatever it computes: tests that each inherits."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import pytest
from projects import RESNET, VIT, Project, fill_folder

from cache.records import read_record
from pipeline.project.paths import record_path
from pipeline.study import metrics, protocol_list
from pipeline.study.metric import TRANSFERABILITY
from pipeline.study.params import load_study
from pipeline.study.protocol import Protocol


def extract(project: Project) -> None:
    """Two small models on two data sets with the same classes."""
    for folder, seed in (("images", 1), ("others", 2)):
        fill_folder(project.folder / folder, {"cat": 9, "dog": 9}, seed=seed)
    project.params["models"] = {"m0": RESNET, "m1": {**VIT, "weights": "random(1)"}}
    project.prepare_others()


def scores_of(protocol: str) -> pd.DataFrame:
    """All that its records hold but time, which is measured."""
    study = load_study()
    found = [
        pd.DataFrame(record.scores).assign(dataset=dataset, model=model)
        for dataset in study.datasets
        for model in study.models
        if (record := read_record(record_path(protocol, dataset, model))) is not None
    ]
    return pd.concat(found, ignore_index=True).drop(columns="seconds")


class ProtocolContract:
    """Subclass it, say which protocol and with which settings, and all of these tests are run."""

    protocol: ClassVar[Protocol]
    settings: ClassVar[dict[str, Any]] = {}
    cells: ClassVar[int] = 4

    @pytest.fixture
    def scored(self, project, kept_project) -> Project:
        project.once(kept_project, lambda: extract(project))
        project.params |= self.settings
        project.write()
        said = f"0 cached, {self.cells} computed"
        project.run(self.protocol.name).succeeded(said)
        return project

    def test_it_scores_once_what_the_study_asks_for(self, scored):
        name = self.protocol.name
        before = scored.files(f"results/{name}")
        scored.run(name).succeeded(f"{self.cells} cached, 0 computed")
        assert scored.files(f"results/{name}") == before
        said = scored.run("cli", "status", "--all").succeeded()
        assert f"{name} not scored" not in said
        study = load_study()
        table = scores_of(name)
        asked = {variant.name for variant in protocol_list.protocol_named(name).variants(study)}
        assert set(table["variant"]) <= asked
        assert len(table) == len(table.drop_duplicates(["dataset", "model", "variant", "metric"]))
        for metric, rows in table.groupby("metric"):
            if metric in TRANSFERABILITY:
                assert not self.protocol.classifies
                continue
            low, high = metrics.metric_named(str(metric)).range
            assert rows["value"].between(low, high).all()
            assert not (rows["ci_low"] > rows["value"]).any()
            assert not (rows["ci_high"] < rows["value"]).any()

    def test_what_is_damaged_is_named_and_made_again_alike(self, scored):
        name = self.protocol.name
        before = scores_of(name)
        path = max((scored.folder / "results" / name).rglob("*.parquet"))
        path.write_bytes(path.read_bytes()[:100])
        scored.run("collect").refused(path.name, "delete the file")
        scored.run(name).succeeded()
        pd.testing.assert_frame_equal(scores_of(name), before)

    def test_a_cell_without_a_record_is_a_gap_until_it_is_scored(self, scored):
        name = self.protocol.name
        path = max((scored.folder / "results" / name).rglob("*.parquet"))
        path.unlink()
        said = scored.run("cli", "status", "--all").succeeded()
        assert f"{path.parent.name}/{path.stem}: {name} not scored" in said
        scored.run(name).succeeded()
        assert path.is_file()
