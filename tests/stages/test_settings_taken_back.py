"""A changed setting computes what is new; taken back, nothing: from the commands to the files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys

import pytest
from projects import fill_folder

from cache.former import former_paths
from cache.records import read_record, write_record
from pipeline.project.paths import FORMER, former_folder, record_path
from pipeline.study.protocol_list import protocol_named

KNN = ("knn", "pets", "tiny")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the first test leaves its study for the others."""
    return tmp_path_factory.mktemp("scored") / "study"


@pytest.fixture
def scored(project, kept):
    project.params["knn"] = {"k": [3], "tuned": True}
    project.params["linear"] |= {"heads": ["ridge", "logistic"]}
    project.params["fewshot"] = {"shots": [1, 2], "episodes": 2, "heads": ["ridge"]}
    project.params["transferability"] = {"names": ["rankme"]}
    if kept.exists():
        project.write()
        for folder in ("data", "results", "images"):
            shutil.copytree(kept / folder, project.folder / folder, dirs_exist_ok=True)
        return project
    project.prepare()
    project.run("neighbors").succeeded()
    for protocol in ("knn", "linear", "fewshot", "predictors"):
        project.run(protocol).succeeded("0 cached, 1 computed")
    shutil.copytree(project.folder, kept)
    return project


def numbers(place) -> list[dict]:
    """Scores without what the clock says."""
    rows = read_record(record_path(*place)).scores
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def whole(project, place) -> list[dict]:
    """What the record is when nothing is known."""
    record_path(*place).unlink()
    for path in former_paths(former_folder(*place)):
        path.unlink()
    project.run(place[0]).succeeded("0 cached, 1 computed")
    return numbers(place)


CHANGES = {
    "knn": ({"k": [3, 2]}, "1 variant of 3 to compute"),
    "linear": ({"normalization": ["none", "l2"]}, "2 variants of 4 to compute"),
    "fewshot": ({"shots": [1, 2, 3]}, "1 variant of 3 to compute"),
    "predictors": ({"names": ["nc1", "rankme"]}, "1 variant of 2 to compute"),
}


@pytest.mark.parametrize("protocol", CHANGES)
def test_new_variants_alone_are_computed_and_taken_back_they_are_looked_up(
    scored, protocol, monkeypatch
):
    change, said = CHANGES[protocol]
    section = protocol_named(protocol).sections[-1]
    place, settings = (protocol, "pets", "tiny"), scored.params[section]
    first = record_path(*place).read_bytes()
    scored.params[section] = {**settings, **change}
    scored.write()
    scored.run(protocol).succeeded(said, "0 cached, 1 computed")
    found = numbers(place)
    scored.run(protocol).succeeded("1 cached, 0 computed")

    scored.params[section] = settings
    scored.write()
    shared = []  # jobs for processes of their own
    with monkeypatch.context() as watched:
        watched.setattr(
            "pipeline.probes.protocol.process_count", lambda jobs: shared.append(jobs) or 1
        )
        scored.run(protocol).succeeded("0 variants of", "1 cached, 0 computed")
    assert shared == [0]
    assert record_path(*place).read_bytes() == first

    scored.params[section] = {**settings, **change}
    scored.write()
    scored.run(protocol).succeeded("1 cached, 0 computed")
    assert numbers(place) == found == whole(scored, place)
    assert scored.left_overs() == []


def test_a_new_k_votes_for_it_alone(scored, monkeypatch):
    from pipeline.probes import knn

    voted = []
    judge = knn.judge

    def watched(distances, labels, truth, classes, votings):
        voted.extend(voting.k for voting in votings)
        return judge(distances, labels, truth, classes, votings)

    monkeypatch.setattr(knn, "judge", watched)
    monkeypatch.setattr(knn, "tune", None)
    scored.params["knn"] = {"k": [1, 3, 2], "tuned": True}
    scored.write()
    scored.run("knn").succeeded("2 variants of 4")
    assert voted == [1, 2]
    names = [row["variant"] for row in numbers(KNN) if row["metric"] == "top1"]
    assert [name.split("_")[0] for name in names] == ["k1", "k3", "k2", "tuned"]


def test_transfer_refits_nothing_for_votes_that_it_does_not_transfer(scored, monkeypatch):
    fill_folder(scored.folder / "others", {"cat": 5, "dog": 5}, seed=9)
    scored.params["datasets"]["others"] = {
        "source": "folder", "path": "others", "role": "out_of_domain"
    }  # fmt: skip
    scored.params["transfer"] = {"sources": ["pets"]}
    scored.prepare("others")
    scored.run("transfer").succeeded("0 cached, 2 computed")
    for name in ("fit_all_heads", "neighbor_votes"):
        monkeypatch.setattr(f"pipeline.probes.transfer.{name}", None)
    scored.params["knn"]["k"] = [3, 2]
    scored.write()
    scored.run("transfer").succeeded("0 variants of", "2 cached, 0 computed")
    scored.run("transfer").succeeded("2 cached, 0 computed")


def test_a_record_of_former_code_is_read_as_it_is(scored):
    path = record_path(*KNN)
    record = read_record(path)
    write_record(path, key=record.key, scores=record.scores, outcomes=record.outcomes())
    before = path.read_bytes()
    scored.run("knn").succeeded("1 cached, 0 computed")
    assert path.read_bytes() == before
    scored.params["knn"]["k"] = [2, 3]
    scored.write()
    scored.run("knn").succeeded("1 variant of 3 to compute")


def test_other_images_are_other_variants(scored):
    scored.params["knn"]["k"] = [2, 3]
    scored.params["datasets"]["pets"]["seed"] = 1
    scored.write()
    scored.run("index", "pets").succeeded()
    scored.run("extract", "pets").succeeded()
    scored.run("neighbors").succeeded()
    assert "to compute" not in scored.run("knn").succeeded("0 cached, 1 computed")


def test_what_is_kept_is_listed_and_pruned_and_no_current_result_with_it(scored):
    assert "former" not in scored.run("cli", "status").succeeded()
    scored.params["knn"]["k"] = [2]
    scored.write()
    scored.run("knn").succeeded()
    results = scored.files("results")
    for command in (("status",), ("cache", "list")):
        scored.run("cli", *command).succeeded("1 file of results of former settings", "cache prune")
    scored.run("cli", "cache", "prune", "--yes").succeeded(
        "every cell is named", "0 cells and 1 former result deleted"
    )
    assert not list(FORMER.rglob("*.parquet"))
    assert scored.files("results") == results
    scored.run("knn").succeeded("1 cached, 0 computed")
    scored.run("cli", "cache", "prune").succeeded("every cell is named")


def test_killed_at_any_change_of_the_disk_the_next_run_ends_alike(scored):
    settings = scored.params["knn"]
    path, former = record_path(*KNN), former_folder(*KNN)
    before = path.read_bytes()
    scored.params["knn"] = {**settings, "k": [3, 2]}
    scored.write()
    scored.run("knn").succeeded()
    expected = numbers(KNN)
    step, lived = 0, False
    while not lived:
        step += 1
        for file in former_paths(former):
            file.unlink()
        path.unlink()
        path.write_bytes(before)
        lived = _run_in_a_fork(scored, step)
        assert read_record(path) is not None
        read_record(path).outcomes()
        scored.run("knn").succeeded("1 cached" if lived else "knn: ")
        assert numbers(KNN) == expected, step
        assert scored.left_overs() == [], step
        assert [json.loads(json.dumps(read_record(p).key["settings"]["knn"]["k"]))
                for p in former_paths(former)] == [[3]], step  # fmt: skip
    assert step > 4


CHANGED = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}


def _run_in_a_fork(project, step: int) -> bool:
    """Run the stage in a process that kills itself before its n-th change; whether it lived."""
    child = os.fork()
    if child == 0:
        left = step

        def hook(event: str, arguments: tuple) -> None:
            nonlocal left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
            if event in CHANGED or writes:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.addaudithook(hook)
            status = project.run("knn").status
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0
