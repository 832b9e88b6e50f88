"""Weights from a stranger: every file through our own reader, whatever timm's defaults are."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import servers
import timm
import timm.models._builder as builder
import timm.models._helpers as helpers
import timm.models._hub as timm_hub
import torch
from huggingface_hub.errors import EntryNotFoundError
from pydantic import ValidationError
from timm.models import PretrainedCfg, save_for_hf

from cache.errors import ProbelineError
from pipeline.models import hub, pretrained
from pipeline.models.lockfile import read_lock
from pipeline.models.networks import load_model
from pipeline.models.settings import Model
from pipeline.models.weights import locked_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Harm:
    """What executes when it is unpickled without care."""

    def __reduce__(self):
        return Path.touch, (Path("harm"),)


@pytest.fixture
def evil(tmp_path, monkeypatch) -> Path:
    """A checkpoint that leaves a mark when it is unpickled without care, in the working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": Harm()}, path)
    pickle.loads(pickle.dumps(Harm()))
    Path("harm").unlink()  # it does work
    return path


@pytest.fixture
def unsafe_timm(monkeypatch):
    """A timm that unpickles whatever it reads, as 1.0.16 to 1.0.25 did by default.

    PyTorch's `load` is the one that is called in the end; here it forgets its safe default.
    """
    safe = torch.load

    def load(*arguments, weights_only=False, **options):
        return safe(*arguments, weights_only=weights_only, **options)

    monkeypatch.setattr(torch, "load", load)
    read = []

    def recording(function):
        def called(*arguments, **options):
            read.append((function.__name__, arguments, options))
            options = {k: v for k, v in options.items() if k != "weights_only"}
            return function(*arguments, weights_only=False, **options)

        return called

    for module in (helpers, builder, timm_hub):
        for name in ("load_state_dict", "load_state_dict_from_hf", "load_state_dict_from_path"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, recording(getattr(module, name)))
    return read


def entry(**said) -> Model:
    return Model.model_validate(
        {"architecture": "test_resnet", "weights": "random(0)", "input_size": 32} | said
    )


WAYS = [
    {"checkpoint_path": "evil.pth"},
    {"checkpoint_path": "file://evil.pth"},
    {"checkpoint_path": "https://example.org/evil.pth"},
    {"checkpoint_path": "hf-hub:somebody/evil"},
    {"pretrained_cfg": {"file": "evil.pth"}},
    {"pretrained_cfg": {"url": "http://example.org/evil.pth"}},
    {"pretrained_cfg": {"url": "file:///evil.pth"}},
    {"pretrained_cfg": {"hf_hub_id": "somebody/evil"}},
    {"pretrained_cfg": {"file": "evil.npz", "custom_load": True}},
    {"pretrained_cfg": {"source": "local-dir", "file": "."}},
    {"pretrained_cfg": "a1_in1k"},
    {"pretrained_cfg": {}},
    {"pretrained_cfg_overlay": {"file": "evil.pth"}},
    {"pretrained_cfg_overlay": {"url": "http://example.org/evil.pth"}},
    {"pretrained_cfg_overlay": {"url": "file:///evil.pth"}},
    {"pretrained_cfg_overlay": {"hf_hub_id": "somebody/evil"}},
    {"pretrained_cfg_overlay": {"hf_hub_id": "somebody/evil", "hf_hub_filename": "x.bin"}},
    {"pretrained_cfg_overlay": {"state_dict": {}}},
    {"pretrained": True},
    {"pretrained_strict": False},
    {"pretrained_model_args": {}},
    {"pretrained_filter_fn": "x"},
    {"cache_dir": "/tmp"},
    {"state_dict": {}},
    {"backbone": {"checkpoint_path": "evil.pth"}},
    {"blocks": [{"pretrained_cfg": {"file": "evil.pth"}}]},
]


@pytest.mark.parametrize("weights", ["random(0)", "pretrained", "imported", "evil.pth"])
@pytest.mark.parametrize("arguments", WAYS, ids=json.dumps)
def test_arguments_are_no_way_to_weights(evil, arguments, weights):
    with pytest.raises(ValidationError, match="weights come from `weights` alone"):
        entry(arguments=arguments, weights=weights)


@pytest.mark.parametrize(
    "architecture",
    ["timm.data:create_dataset", "timm.data.dataset_factory:create_dataset",
     "timm.models._factory:create_model", "timm.models:create_model",
     "timm.models._helpers:load_checkpoint", "timm.models._hub:load_state_dict_from_hf",
     "timm.models.resnet:build_model_with_cfg", "timm.models.resnet:ResNet",
     "timm.models.resnet:checkpoint_filter_fn", "timm.models.resnet:torch.load",
     "timm.models.resnet:__builtins__", "timm.models.resnet.os:system", "timm.models..resnet:x",
     "timm.utils:setup_default_logging", "os:system", "torch.hub:load",
     "local-dir:.", "file:evil.pth", "pickle:loads", "builtins:eval"],
)  # fmt: skip
def test_only_what_timms_architectures_define_is_called(evil, unsafe_timm, architecture):
    with pytest.raises(ProbelineError, match="no such constructor"):
        load_model("net", entry(architecture=architecture))
    assert not Path("harm").exists()
    assert unsafe_timm == []


def test_an_unregistered_architecture_has_no_weights_of_timms():
    with pytest.raises(ProbelineError, match="names no weights"):
        load_model("net", entry(architecture="timm.models.resnet:resnet18", weights="pretrained"))


# --- weights: pretrained -------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path, monkeypatch, evil):
    """A repository of the hub, asked for by timm's own name; what is asked is kept."""
    torch.manual_seed(3)
    network = timm.create_model("test_resnet", num_classes=1000).eval()
    folder = tmp_path / "hub" / COMMIT
    save_for_hf(network, folder, safe_serialization=True)
    facts = PretrainedCfg(hf_hub_id="timm/test_resnet.r160_in1k", classifier="fc")
    monkeypatch.setattr(pretrained, "get_pretrained_cfg", lambda name: facts)
    asked = []

    def hf_hub_download(source, filename, revision=None):
        asked.append((source, filename, revision))
        if not (folder / filename).exists():
            raise EntryNotFoundError(f"no {filename}")
        return str(folder / filename)

    monkeypatch.setattr(hub, "hf_hub_download", hf_hub_download)
    return folder, network, asked, facts


@pytest.mark.parametrize("weights", ["random(0)", "pretrained"])
@pytest.mark.parametrize("arguments", WAYS, ids=json.dumps)
def test_the_property_does_not_rest_on_that_list(repository, unsafe_timm, arguments, weights):
    """Were a key overlooked, PyTorch would still unpickle tensors only."""
    overlooked = entry(weights=weights).model_copy(update={"arguments": arguments})
    with contextlib.suppress(ProbelineError):
        load_model("net", overlooked)
    assert not Path("harm").exists()


def same(loaded, network) -> bool:
    expected = {k: v for k, v in network.state_dict().items() if not k.startswith("fc.")}
    found = loaded.backbone.state_dict()
    return found.keys() == expected.keys() and all(
        torch.equal(found[k], expected[k]) for k in found
    )


def test_timms_own_weights_are_recorded_and_compared(repository, unsafe_timm):
    folder, network, asked, _ = repository
    asking = entry(weights="pretrained")
    assert locked_digest(asking) is None
    assert same(load_model("net", asking), network)
    assert unsafe_timm == []  # timm itself read no file
    known = read_lock()["timm:test_resnet"]
    assert known["revision"] == COMMIT
    assert list(known["files"]) == ["model.safetensors"]
    assert locked_digest(asking) is not None
    load_model("net", asking)
    assert asked[-1] == ("timm/test_resnet.r160_in1k", "model.safetensors", COMMIT)
    other = timm.create_model("test_resnet", num_classes=1000)
    save_for_hf(other, folder, safe_serialization=True)
    with pytest.raises(ProbelineError, match=r"weights\.lock\.json records"):
        load_model("net", asking)


def test_a_pickle_of_the_hub_is_not_executed(repository, unsafe_timm):
    folder, network, _, _ = repository
    (folder / "model.safetensors").unlink()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    assert same(load_model("net", entry(weights="pretrained")), network)
    Path("weights.lock.json").unlink()
    torch.save({"conv1.weight": Harm()}, folder / "pytorch_model.bin")
    for architecture in ("test_resnet", "hf-hub:timm/test_resnet.r160_in1k"):
        with pytest.raises(ProbelineError, match="could run code"):
            load_model("net", entry(architecture=architecture, weights="pretrained"))
    assert not Path("harm").exists()
    assert unsafe_timm == []


def test_weights_with_an_address_of_their_own(repository, monkeypatch, unsafe_timm):
    _, network, _, _ = repository
    torch.save(network.state_dict(), "made.pth")
    body = [Path("made.pth").read_bytes()]
    with servers.serving() as server:
        server.script = lambda request, _: servers.send(request, body[0])
        facts = PretrainedCfg(url=server.address, classifier="fc")
        monkeypatch.setattr(pretrained, "get_pretrained_cfg", lambda name: facts)
        assert same(load_model("net", entry(weights="pretrained")), network)
        assert read_lock()["timm:test_resnet"]["sha256"]
        torch.save({"state_dict": Harm()}, "made.pth")
        body[0] = Path("made.pth").read_bytes()
        for path in Path("data/weights").iterdir():
            path.unlink()
        with pytest.raises(ProbelineError, match="could not be downloaded"):
            load_model("net", entry(weights="pretrained"))  # other bytes than recorded
        Path("weights.lock.json").unlink()
        with pytest.raises(ProbelineError, match="could run code"):
            load_model("net", entry(weights="pretrained"))
    assert not Path("harm").exists()
    assert unsafe_timm == []


@pytest.mark.parametrize("address", ["http://example.org/w.pth", "file:///w.pth", "ftp://a/w.pth"])
def test_addresses_that_are_not_encrypted(repository, monkeypatch, address):
    facts = PretrainedCfg(url=address)
    monkeypatch.setattr(pretrained, "get_pretrained_cfg", lambda name: facts)
    with pytest.raises(ProbelineError, match="no address that can be trusted"):
        load_model("net", entry(weights="pretrained"))


def test_arrays_of_the_original_authors(repository, monkeypatch, unsafe_timm):
    """Files of JAX: read whole before timm's own converter sees them."""
    folder, _, _, _ = repository
    facts = PretrainedCfg(hf_hub_id="timm/x", hf_hub_filename="x.npz", custom_load=True)
    monkeypatch.setattr(pretrained, "get_pretrained_cfg", lambda name: facts)
    np.savez(folder / "x.npz", a=np.array([Harm()], dtype=object))
    with pytest.raises(ProbelineError, match="more than arrays of numbers"):
        load_model("net", entry(weights="pretrained"))
    (folder / "x.npz").write_bytes(pickle.dumps(Harm()))
    Path("weights.lock.json").unlink()
    with pytest.raises(ProbelineError, match="more than arrays of numbers"):
        load_model("net", entry(weights="pretrained"))
    assert not Path("harm").exists()


def test_an_architecture_without_weights(monkeypatch):
    monkeypatch.setattr(pretrained, "get_pretrained_cfg", lambda name: PretrainedCfg())
    with pytest.raises(ProbelineError, match="timm has no weights"):
        load_model("net", entry(weights="pretrained"))


# --- what a repository's config.json says --------------------------------------------------------

CONFIGS = [
    {"model_args": {"checkpoint_path": "evil.pth"}},
    {"model_args": {"pretrained_cfg": {"file": "evil.pth"}}},
    {"model_args": {"pretrained_cfg_overlay": {"file": "evil.pth"}}},
    {"model_args": {"pretrained": True}},
    {"model_args": {"cache_dir": "/tmp"}},
    {"model_args": {"a": [{"checkpoint_path": "evil.pth"}]}},
    {"model_args": "evil"},
    {"architecture": "no_such_network"},
    {"architecture": "hf-hub:somebody/evil"},
    {"architecture": "local-dir:."},
    {"architecture": ["test_resnet"]},
    {"architecture": "../test_resnet"},
    {"pretrained_cfg": "evil"},
    {"pretrained_cfg": None},
]


@pytest.mark.parametrize("changes", CONFIGS, ids=json.dumps)
@pytest.mark.parametrize("weights", ["pretrained", "random(0)"])
def test_a_config_that_asks_for_more_is_refused(repository, unsafe_timm, changes, weights):
    folder = repository[0]
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | changes))
    with pytest.raises(ProbelineError):
        load_model("net", entry(architecture="hf-hub:timm/x", weights=weights))
    assert not Path("harm").exists()
    assert unsafe_timm == []


@pytest.mark.parametrize(
    "location",
    [{"file": "evil.pth"}, {"url": "http://example.org/evil.pth"}, {"hf_hub_id": "somebody/evil"},
     {"source": "local-dir", "file": "."}, {"custom_load": True, "file": "evil.pth"},
     {"hf_hub_id": "a/b", "hf_hub_filename": "evil.bin", "source": "hf-hub"},
     {"state_dict": {"conv1.weight": 1}}],
    ids=json.dumps,
)  # fmt: skip
def test_a_config_does_not_say_where_weights_are(repository, unsafe_timm, location):
    folder, network, asked, _ = repository
    said = json.loads((folder / "config.json").read_text())
    said["pretrained_cfg"] |= location
    (folder / "config.json").write_text(json.dumps(said))
    loaded = load_model("net", entry(architecture="hf-hub:timm/x", weights="pretrained"))
    assert same(loaded, network)
    assert {source for source, *_ in asked} == {"timm/x"}
    assert unsafe_timm == []
    assert not Path("harm").exists()
