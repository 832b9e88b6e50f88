"""All downloads are tried before anything runs; models that can't be had are gaps with a reason."""

from __future__ import annotations

import json
import shutil

import pytest
import servers
import timm
import torch
from projects import RESNET, VIT
from safetensors.torch import save_file
from test_weights import checkpoint
from timm.models import PretrainedCfg

from cache.errors import ProbelineError
from pipeline.embeddings.unavailable import reason, unavailable
from pipeline.fetching.content import UnavailableError
from pipeline.models import hub, pretrained
from pipeline.models.fetching import fetch_models
from pipeline.models.networks import load_model
from pipeline.models.settings import Model

NET = {
    "architecture": RESNET["architecture"],
    "input_size": 32,
    "checkpoint": {"entry": "state_dict", "strip_prefix": "module."},
}


@pytest.fixture
def server():
    """Has /one.pth and /two.pth; `gone` are the names that it does not give."""
    with servers.serving() as running:
        running.gone = {"two.pth"}
        running.paths = []
        bodies = {"one.pth": checkpoint(0), "two.pth": checkpoint(1)}

        def answer(request, _):
            name = request.path.lstrip("/")
            running.paths.append(name)
            if name in running.gone or name not in bodies:
                request.send_error(404)
            else:
                servers.send(request, bodies[name])

        running.script = answer
        yield running


@pytest.fixture
def study(project, server):
    """Three models: random weights, weights that are served, weights that are gone."""
    address = server.address.rpartition("/")[0]
    project.params["models"] |= {
        name: {**NET, "weights": f"{address}/{name}.pth", "family": name} for name in ("two", "one")
    }
    project.write()
    project.run("index", "pets").succeeded()
    return project


def test_the_others_go_on_and_the_gap_says_why(study):
    ran = study.run("extract", "pets")
    ran.succeeded("0 cached, 2 computed", "1 without weights: two")
    assert "the weights of 1 model can't be fetched; the others go on" in ran.err
    assert "the server says 404" in ran.err
    assert "put it at data/weights/" in ran.err
    assert "the server says 404" in unavailable("pets", "two")
    said = study.run("cli", "status").succeeded(
        "2/3", "`probeline models fetch` tries again to get two; then `dvc repro`"
    )
    (line,) = [line for line in said.splitlines() if "pets/two: embeddings missing (" in line]
    assert "404" in line
    study.knn().succeeded("2 computed")
    for stage in ("linear", "fewshot", "transfer", "predictors"):
        study.run(stage).succeeded()
    study.run("finetune").succeeded()
    study.run("similarity").succeeded()
    study.run("collect").succeeded("not scored: knn of two on pets")
    study.run("correlate").succeeded()
    study.run("report").succeeded()
    page = (study.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Models without weights" in page
    assert "two on pets: " in page


def test_what_dvc_hashes_of_it_is_of_no_machine(study):
    study.run("extract", "pets").succeeded()
    (record,) = (study.folder / "data" / "provenance" / "pets").glob("*.missing.json")
    text = record.read_text()
    assert str(study.folder) not in text
    study.run("extract", "pets").succeeded()
    assert record.read_text() == text


def test_once_the_weights_are_here_the_cells_are_those_of_a_first_run(study, server):
    study.run("extract", "pets").succeeded()
    study.run("cli", "models", "fetch").refused("two", "404")
    assert unavailable("pets", "two")
    server.gone.clear()
    study.run("cli", "models", "fetch").succeeded("3 of 3 models", "computes what was left out")
    assert not unavailable("pets", "two")
    study.run("extract", "pets").succeeded("2 cached, 1 computed")
    study.knn().succeeded("0 cached, 3 computed")
    mended = study.files("data/embeddings")
    shutil.rmtree(study.folder / "data" / "embeddings")
    study.run("extract", "pets").succeeded("3 computed")
    assert study.files("data/embeddings") == mended


def test_weights_that_arrive_otherwise_are_used_too(study, server):
    """A file that a person put where the message said; no `models fetch` is needed."""
    err = study.run("extract", "pets").err
    place = err.split("put it at ")[1].split()[0]
    (study.folder / place).write_bytes(checkpoint(1))
    server.gone |= {"one.pth"}
    study.run("extract", "pets").succeeded("2 cached, 1 computed")
    assert not unavailable("pets", "two")


def test_all_are_tried_before_anything_runs(study, server):
    server.gone = {"one.pth", "two.pth"}
    ran = study.run("extract", "pets")
    ran.succeeded("1 computed", "2 without weights: two, one")
    assert server.paths == ["two.pth", "one.pth"]
    del study.params["models"]["tiny"]
    study.write()
    message = study.run("extract", "pets").refused("2 models can't be fetched")
    assert message.index("two: ") < message.index("one: ")
    assert message.count("put it at data/weights/") == 2


def test_a_path_where_nothing_is_stops_the_stage_and_names_all(study, server):
    for name in ("typo", "slip"):
        study.params["models"][name] = {**NET, "weights": f"none/{name}.pth"}
    study.write()
    study.run("extract", "pets").refused("2 models", "typo: there is no such checkpoint", "slip: ")
    assert not list((study.folder / "data" / "embeddings").rglob("zarr.json"))
    assert "one.pth" in server.paths  # all were tried


def test_a_file_of_other_content_is_wrong_not_unavailable(study, server):
    study.run("extract", "pets").succeeded()
    lock = study.folder / "weights.lock.json"
    known = json.loads(lock.read_text())
    for name in known:
        known[name]["sha256"] = "0" * 64
    lock.write_text(json.dumps(known))
    shutil.rmtree(study.folder / "data" / "weights")
    shutil.rmtree(study.folder / "data" / "embeddings")
    study.run("extract", "pets").refused("one", "not the file that was expected")


def test_a_host_that_does_not_answer_is_asked_for_one_file_only(project, monkeypatch):
    with servers.serving() as server:
        address = server.address.rpartition("/")[0]  # nobody listens there any more
    waited = []
    monkeypatch.setattr("pipeline.fetching.transfers.time.sleep", waited.append)
    found = fetch_models(
        {name: Model.model_validate({**NET, "weights": f"{address}/{name}.pth"}) for name in "abc"}
    )
    assert set(found) == {"a", "b", "c"}
    assert all(isinstance(error, UnavailableError) for error in found.values())
    assert len(waited) == 1
    assert "a moment ago" in found["c"].found


@pytest.fixture
def hub_out_of_reach(project, monkeypatch, tmp_path):
    """Nobody listens where the hub should be, and its cache is empty."""
    from huggingface_hub import constants

    with servers.serving() as server:
        address = server.address.rpartition("/")[0]
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    facts = PretrainedCfg(hf_hub_id="timm/test_resnet.r160_in1k", classifier="fc")
    monkeypatch.setattr(pretrained, "get_pretrained_cfg", lambda name: facts)
    return Model(architecture="test_resnet", weights="pretrained", input_size=32)


def test_timms_own_weights_by_hand(project, hub_out_of_reach, capfd):
    entry = hub_out_of_reach
    found = fetch_models({"net": entry})
    place = "data/weights/timm--test_resnet.r160_in1k/model.safetensors"
    assert f"resolve/main/model.safetensors at {place}" in found["net"].remedy
    assert "Retrying" not in "".join(capfd.readouterr())
    torch.manual_seed(5)
    network = timm.create_model("test_resnet", num_classes=1000)
    path = project.folder / place
    path.parent.mkdir(parents=True)
    save_file(network.state_dict(), path)
    assert fetch_models({"net": entry}) == {}
    lock = json.loads((project.folder / "weights.lock.json").read_text())
    assert list(lock["timm:test_resnet"]["files"]) == ["model.safetensors"]
    loaded = load_model("net", entry)
    assert torch.equal(loaded.backbone.conv1[0].weight, network.conv1[0].weight)
    save_file({k: v + 1 for k, v in network.state_dict().items()}, path)
    with pytest.raises(ProbelineError, match=r"weights\.lock\.json records"):
        fetch_models({"net": entry})


def test_the_hubs_client_is_told_that_there_is_no_network(hub_out_of_reach, monkeypatch):
    from huggingface_hub import constants

    seen = []

    def download(*_, **__):
        seen.append(constants.HF_HUB_OFFLINE)
        raise hub.LocalEntryNotFoundError("not here")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    before = constants.HF_HUB_OFFLINE
    assert set(fetch_models({"net": hub_out_of_reach})) == {"net"}
    assert seen == [True]
    assert before == constants.HF_HUB_OFFLINE


def test_a_reason_holds_nothing_that_differs_from_one_try_to_the_next():
    told = (
        "401 Unauthorized. (Request ID: Root=1-68a1;b2)\n Repository not found",
        "401 Unauthorized. (Request ID: Root=1-77ff;c3)\n Repository not found",
    )
    reasons = {reason(ProbelineError("p", "the hub does not give it", found=f)) for f in told}
    assert reasons == {"the hub does not give it: 401 Unauthorized. Repository not found"}


def test_entries_that_need_nothing_ask_nobody(project):
    assert fetch_models({"a": Model(**VIT), "b": Model(architecture="x", weights="imported")}) == {}
