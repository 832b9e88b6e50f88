"""A folder that is not what was taken is refused, whoever changed it, and runs nothing."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cache.errors import ProbelineError
from pipeline.taken.classifier import load
from pipeline.taken.folder import FOLDER_FILES, manifest_of


def reseal(folder):
    """What who means harm would do: the manifest fits again."""
    (folder / "manifest.json").write_bytes(manifest_of(folder))


@pytest.mark.parametrize("name", FOLDER_FILES)
def test_a_changed_file_is_found(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ProbelineError, match="is not the file that") as caught:
        load(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", FOLDER_FILES)
def test_a_missing_file_and_a_link_are_found(folder, name):
    (folder / name).rename(folder / "kept")
    with pytest.raises(ProbelineError, match="is not the file that"):
        load(folder)
    (folder / name).symlink_to(folder / "kept")
    with pytest.raises(ProbelineError, match="a link"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ('{"format": 1}', "no list of files"),
        ('{"format": 99, "sha256": {}}', "another version"),
        ('{"format": 1, "sha256": {"../../etc/passwd": ""}}', "does not belong"),
        ('{"format": 1, "sha256": {}}', "not named in manifest"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_an_odd_manifest_is_refused(folder, text, words):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ProbelineError, match=words):
        load(folder)


def change(folder, **facts):
    said = json.loads((folder / "head.json").read_bytes())
    (folder / "head.json").write_text(json.dumps({**said, **facts}))
    reseal(folder)
    return said


def test_another_transform_is_refused(folder):
    said = change(folder)
    change(folder, transform={**said["transform"], "crop": 0.5})
    with pytest.raises(ProbelineError, match="another backbone, transform"):
        load(folder)


@pytest.mark.parametrize(
    "facts",
    [
        {"precision": "bfloat16"},
        {"stored_as": "float32"},
        {"feature": "cls"},
        {"classes": ["a", "b", "c"]},
        {"architecture": "test_vit2"},
        {"arguments": {"img_size": 32, "patch_size": 8}},
        {"weights": {"digest": "0" * 64}},
    ],
)
def test_a_head_of_another_recipe_is_refused(folder, facts):
    change(folder, **facts)
    with pytest.raises(ProbelineError, match="another backbone, transform"):
        load(folder)


def test_the_head_of_another_folder_is_refused(study, folder, tmp_path):
    other = tmp_path / "other"
    study.run("cli", "take", "other", str(other)).succeeded()
    shutil.copy(other / "head.safetensors", folder)
    reseal(folder)
    with pytest.raises(ProbelineError, match="two folders do not go together"):
        load(folder)


def test_other_weights_are_refused(study, folder, tmp_path):
    from safetensors.numpy import load_file

    weights = load_file(folder / "weights.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(ProbelineError, match="not the weights that the head was fitted on"):
        load(folder)
    save_file({"a": np.zeros(1)}, folder / "weights.safetensors")
    reseal(folder)
    with pytest.raises(ProbelineError, match="does not hold this backbone"):
        load(folder)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["weights.safetensors", "head.safetensors"])
def test_a_pickle_in_their_place_is_not_run(folder, tmp_path, name):
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    reseal(folder)
    with pytest.raises(ProbelineError):
        load(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "facts",
    [
        {"arguments": {"checkpoint_path": "/etc/passwd"}},
        {"arguments": {"pretrained_cfg_overlay": {"file": "evil.bin"}}},
        {"architecture": "hf-hub:somebody/something"},
        {"architecture": "os:system"},
        {"architecture": "timm.models.vision_transformer:checkpoint_filter_fn.__globals__"},
        {"architecture": ["test_vit"]},
        {"transform": {}},
        {"transform": {"size": float("inf")}},
        {"weights": {"digest": 7}},
        {"abstention": [[1]]},
        {"abstention": 3},
        {"classes": []},
        {"classes": [1, 2, 3]},
        {"head": {"kind": "linear"}},
        {"head": {"kind": "other"}},
        {"head": None},
        {"weights": None},
    ],
)
def test_a_hostile_description_is_refused(folder, facts):
    from pipeline.taken.folder import made_for

    change(folder, **facts)
    said = json.loads((folder / "head.json").read_bytes())
    from safetensors.numpy import load_file

    save_file(
        load_file(folder / "head.safetensors"),
        folder / "head.safetensors",
        {"made_for": made_for(said)},
    )
    reseal(folder)
    with pytest.raises(ProbelineError):
        load(folder)
