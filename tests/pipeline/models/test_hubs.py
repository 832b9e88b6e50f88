"""Models of hubs, against local stand-ins: built right, recorded, and refused once they differ."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import py_compile
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import servers
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from timm.models import save_for_hf

from cache.errors import ProbelineError
from pipeline.models import hub, torch_hub
from pipeline.models.cards import find_card, make_card
from pipeline.models.constructors import constructor_of
from pipeline.models.features import compute_features
from pipeline.models.licence import weights_source
from pipeline.models.networks import load_model, timm_call
from pipeline.models.settings import Model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMAGES = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32))


def features(loaded) -> torch.Tensor:
    with torch.inference_mode():
        return compute_features(loaded.backbone, IMAGES, ["pooled"])["pooled"]


@pytest.fixture
def original(tmp_path):
    """A model as its author has it, and what they upload."""
    torch.manual_seed(7)
    model = timm.create_model("test_vit", num_classes=5, img_size=32).eval()
    folder = tmp_path / "cache" / "snapshots" / COMMIT
    save_for_hf(model, folder, model_args={"img_size": 32}, safe_serialization=True)
    return model, folder


@pytest.fixture
def hugging_face(original, monkeypatch, tmp_path):
    """The client's only function that is used, over a folder; it counts what it is asked."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def hf_hub_download(repository, filename, revision=None):
        asked.append((repository, filename, revision))
        assert repository == "somebody/tiny"
        path = original[1] / filename
        if not path.exists():
            raise EntryNotFoundError(f"no {filename}")
        return str(path)

    monkeypatch.setattr(hub, "hf_hub_download", hf_hub_download)
    return asked


def entry(**changes) -> Model:
    said = {"architecture": "hf-hub:somebody/tiny", "weights": "pretrained", "input_size": 32}
    return Model.model_validate(said | changes)


def lock() -> dict:
    return json.loads(Path("weights.lock.json").read_text())


def test_a_model_of_the_hub_is_its_authors(original, hugging_face):
    loaded = load_model("tiny", entry())
    with torch.inference_mode():
        expected = original[0].forward_head(original[0].forward_features(IMAGES), pre_logits=True)
    assert torch.equal(features(loaded), expected)
    known = lock()["hf-hub:somebody/tiny"]
    assert known["revision"] == COMMIT
    assert sorted(known["files"]) == ["config.json", "model.safetensors"]
    assert hugging_face[0] == ("somebody/tiny", "config.json", None)
    load_model("tiny", entry())
    assert {revision for _, _, revision in hugging_face[2:]} == {COMMIT}


def test_timm_alone_builds_the_network_of_a_hubs_model(original, hugging_face):
    """What a taken classifier does, which has its weights and asks nobody."""
    loaded = load_model("tiny", entry())
    architecture, arguments = timm_call(entry(), "")
    network = constructor_of(architecture, "")(num_classes=0, **arguments)
    network.load_state_dict(loaded.backbone.state_dict())
    with torch.inference_mode():
        again = compute_features(network.eval(), IMAGES, ["pooled"])["pooled"]
    assert torch.equal(again, features(loaded))
    source = weights_source("tiny", entry())
    assert source == f"the hub's somebody/tiny, https://huggingface.co/somebody/tiny, {COMMIT}"


def test_its_card_is_found_without_asking_the_hub(hugging_face):
    assert find_card("tiny", entry()) is None
    card = make_card("tiny", entry(), load_model("tiny", entry()))
    hugging_face.clear()
    assert find_card("tiny", entry()) == card
    assert hugging_face == []
    Path("weights.lock.json").unlink()
    assert find_card("tiny", entry()) is None  # nobody knows which revision is meant


def test_random_weights_take_the_hubs_architecture_only(original, hugging_face):
    loaded = load_model("tiny", entry(weights="random(3)"))
    assert [filename for _, filename, _ in hugging_face] == ["config.json"]
    assert loaded.columns == original[0].num_features


def test_old_weights_are_read_without_running_code(original, hugging_face):
    (original[1] / "model.safetensors").unlink()
    torch.save(original[0].state_dict(), original[1] / "pytorch_model.bin")
    found = features(load_model("tiny", entry()))
    shutil.rmtree(original[1])
    save_for_hf(original[0], original[1], model_args={"img_size": 32}, safe_serialization=True)
    Path("weights.lock.json").unlink()
    assert torch.equal(features(load_model("tiny", entry())), found)

    class Hostile:
        def __reduce__(self):
            return Path.touch, (Path("harm"),)

    (original[1] / "model.safetensors").unlink()
    torch.save({"weight": Hostile()}, original[1] / "pytorch_model.bin")
    Path("weights.lock.json").unlink()
    with pytest.raises(ProbelineError, match="could run code"):
        load_model("tiny", entry())
    assert not Path("harm").exists()


def test_another_file_of_the_recorded_revision_is_refused(original, hugging_face):
    load_model("tiny", entry())
    torch.manual_seed(8)
    other = timm.create_model("test_vit", num_classes=5, img_size=32)
    save_for_hf(other, original[1], model_args={"img_size": 32}, safe_serialization=True)
    with pytest.raises(ProbelineError, match=r"weights\.lock\.json records"):
        load_model("tiny", entry())


def test_what_the_hub_does_not_give_is_explained(original, hugging_face, monkeypatch):
    (original[1] / "model.safetensors").unlink()
    with pytest.raises(ProbelineError, match="no weights"):
        load_model("tiny", entry())
    (original[1] / "config.json").write_text('{"architectures": ["ViTModel"]}')
    with pytest.raises(ProbelineError, match="no timm model"):
        load_model("tiny", entry(weights="random(0)"))

    def offline(*_, **__):
        raise LocalEntryNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr(hub, "hf_hub_download", offline)
    with pytest.raises(ProbelineError, match="connect to the network"):
        load_model("tiny", entry())
    assert not Path("weights.lock.json").exists()


@pytest.mark.slow
def test_the_hubs_own_client_does_as_its_stand_in(original, project):
    """The real client, against a server that answers as the hub does."""

    def answer(request, _):
        found = re.fullmatch(r"/somebody/tiny/resolve/(main|\w{40})/(.+)", request.path)
        path = original[1] / found[2] if found else original[1] / "absent"
        body = path.read_bytes() if path.exists() else b""
        request.send_response(200 if path.exists() else 404)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{len(body)}"')
        request.send_header("Content-Length", str(len(body)))
        if not path.exists():
            request.send_header("X-Error-Code", "EntryNotFound")
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    project.params["models"] = {"tiny": entry().model_dump(exclude_unset=True)}
    project.write()
    with servers.serving() as server:
        server.script = answer
        where = {
            "HF_ENDPOINT": server.address.rpartition("/")[0],
            "HF_HOME": str(project.folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",
        }
        command = ("-W", "ignore", "-m", "stages.cli", "models", "check", "tiny")
        project.shell(*command, **where).succeeded("tiny: ", "features (pooled)")
        asked = len(server.asked)
    assert asked > 0
    assert lock()["hf-hub:somebody/tiny"]["revision"] == COMMIT
    project.shell(*command, **where, HF_HUB_OFFLINE="1").succeeded("tiny: ")


HUBCONF = """
dependencies = ["torch"]
import torch
from utils import width as _width

{harm}

def net(pretrained=True, seed=1, **kwargs):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, _width))
    model.add_module("fc", torch.nn.Linear(_width, 2))
    if not pretrained:
        torch.nn.init.zeros_(model[1].weight)
    return model

def bare(**kwargs):
    return torch.nn.Flatten()

def maps(pretrained=True):
    return torch.nn.Conv2d(3, 4, 3)
"""


def code(harm: str = "", width: int = 9) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("repo-main/hubconf.py", HUBCONF.format(harm=harm))
        archive.writestr("repo-main/utils.py", f"width = {width}")
    return buffer.getvalue()


@pytest.fixture
def git_hub(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with servers.serving() as server:
        server.body = code()
        server.paths = []

        def script(request, _):
            server.paths.append(request.path)
            servers.send(request, server.body)

        server.script = script
        monkeypatch.setattr(torch_hub, "GITHUB", server.address.rpartition("/")[0])
        yield server


def torch_entry(name: str = "net", **changes) -> Model:
    said = {
        "architecture": f"torchhub:some/repo:{name}@main",
        "weights": "pretrained",
        "trust": True,
        "input_size": 32,
    }
    return Model.model_validate(said | changes)


def test_an_entry_of_torch_hub_gives_its_features_without_the_classifier(git_hub):
    loaded = load_model("net", torch_entry())
    torch.manual_seed(1)
    layer = torch.nn.Linear(3072, 9)
    with torch.inference_mode():
        assert torch.equal(features(loaded), layer(IMAGES.flatten(1)))
    assert git_hub.paths == ["/some/repo/archive/main.zip"]
    assert "utils" not in sys.modules
    assert sorted(lock()) == ["torchhub:some/repo:net@main", "torchhub:some/repo@main"]
    load_model("net", torch_entry())
    assert len(git_hub.paths) == 1
    assert not list(Path().rglob("*.partial"))
    assert not list(Path().rglob("__pycache__"))


def test_a_compiled_file_beside_recorded_sources_is_not_run(git_hub, tmp_path):
    load_model("net", torch_entry())
    (source,) = Path().rglob("utils.py")
    facts = source.stat()
    evil = tmp_path / "evil.py"
    evil.write_text("width = 5")
    os.utime(evil, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    compiled = Path(importlib.util.cache_from_source(str(source)))
    py_compile.compile(str(evil), str(compiled), doraise=True)
    header = bytearray(compiled.read_bytes())
    header[12:16] = facts.st_size.to_bytes(4, "little")  # Python compares size and time alone
    compiled.write_bytes(header)
    loaded = load_model("net", torch_entry())
    assert loaded.columns == 9  # of the source, whose digest is recorded


def test_nothing_among_recorded_sources_can_change_unseen(git_hub):
    load_model("net", torch_entry())
    (source,) = Path().rglob("utils.py")
    hidden = source.parent / "__pycache__" / "__pycache__"
    hidden.mkdir(parents=True)
    (hidden / "late.py").write_text("width = 5")  # `from __pycache__.late import *` would run it
    (source.parent / "link").symlink_to(source.parent, target_is_directory=True)
    with pytest.raises(ProbelineError, match="the code is not the one"):
        load_model("net", torch_entry())
    assert not hidden.parent.exists()
    (source.parent / "link").unlink()
    assert load_model("net", torch_entry()).columns == 9


def test_its_arguments_and_seeds_reach_the_entry(git_hub):
    digests = [
        load_model("net", torch_entry("net", **change)).weights_digest
        for change in ({"arguments": {"seed": 2}}, {"weights": "random(0)"})
    ]
    assert len(set(digests)) == 2
    with pytest.raises(ProbelineError, match="no argument `pretrained`"):
        load_model("net", torch_entry("bare", weights="random(0)"))
    assert load_model("bare", torch_entry("bare")).columns == 3 * 32 * 32


def test_without_trust_nothing_is_fetched_and_nothing_runs(git_hub, project):
    project.params["models"]["net"] = torch_entry().model_dump(exclude_unset=True) | {
        "trust": False
    }
    project.write()
    project.run("cli", "models", "check", "net").refused(
        "models.net", "trust: true", "runs the code of github.com/some/repo"
    )
    assert git_hub.paths == []


def test_code_that_changed_is_not_run(git_hub):
    load_model("net", torch_entry())
    git_hub.body = code("from pathlib import Path; Path('harm').touch()")
    shutil.rmtree("data")
    with pytest.raises(ProbelineError, match="it was not run"):
        load_model("net", torch_entry())
    assert not Path("harm").exists()
    Path("weights.lock.json").unlink()  # as the error says, after a look
    load_model("net", torch_entry())
    assert Path("harm").exists()


def test_other_weights_than_recorded_are_refused(git_hub):
    architecture = torch_entry().architecture
    torch_hub.check_weights(architecture, "a" * 64, "models.net")
    torch_hub.check_weights(architecture, "a" * 64, "models.net")
    with pytest.raises(ProbelineError, match="other weights"):
        torch_hub.check_weights(architecture, "b" * 64, "models.net")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", r"no such entry\n.*net, bare, maps"),
        ("maps", "not a vector for each image"),
    ],
)
def test_entries_that_do_not_fit_are_explained(git_hub, name, words):
    with pytest.raises(ProbelineError, match=words):
        load_model("net", torch_entry(name))


def test_code_that_needs_something_else_is_explained(git_hub):
    git_hub.body = code("import no_such_package_at_all")
    with pytest.raises(ProbelineError, match="package that is not installed"):
        load_model("net", torch_entry())


def test_a_hostile_archive_of_code_leaves_nothing(git_hub):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../../evil.py", "")
    git_hub.body = buffer.getvalue()
    with pytest.raises(ProbelineError, match="leads out"):
        load_model("net", torch_entry())
    assert not list(Path().rglob("evil.py"))


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("torchhub:some/repo:net", "OWNER/REPOSITORY:ENTRY@REF"),
        ("torchhub:repo@main", "OWNER/REPOSITORY:ENTRY@REF"),
        ("hf-hub:tiny", "hf-hub:OWNER/NAME"),
    ],
)
def test_names_that_are_not_whole_are_refused(architecture, words):
    with pytest.raises(ValueError, match=words):
        Model.model_validate({"architecture": architecture, "weights": "pretrained"})


def test_timm_may_be_said():
    said = {"architecture": "timm:test_vit", "weights": "random(0)"}
    assert Model.model_validate(said).architecture == "test_vit"
