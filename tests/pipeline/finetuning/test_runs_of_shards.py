"""Fine-tuning runs are shared out among shards: one that another is at is left to it."""

from __future__ import annotations

from types import SimpleNamespace

from cache.lock import Lock
from pipeline.finetuning import storing
from pipeline.finetuning.cells import run_path


def test_a_run_that_another_shard_trains_is_left_to_it(tmp_path, monkeypatch, quiet_machine):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROBELINE_SHARD", "1/2")
    trained = []
    monkeypatch.setattr(storing, "_finetune", lambda job, report: trained.append(job.model))
    job = SimpleNamespace(index=SimpleNamespace(name="pets"), model="tiny", key={"seed": 0})
    path = run_path("pets", "tiny", job.key)
    with Lock(path.with_name(f".{path.name}.lock.partial"), "another shard"):
        storing.finetune_one(job, print)
        assert not trained
    storing.finetune_one(job, print)
    assert trained == ["tiny"]
    assert not list(path.parent.iterdir())
