"""Checkpoints: read without executing anything, every key accounted for."""

from __future__ import annotations

import os
import pickle

import pytest
import torch
from projects import RESNET, VIT
from ruamel.yaml import YAML
from safetensors.torch import save_file

from cache.errors import ProbelineError
from pipeline.models.networks import load_model
from pipeline.models.settings import Model


@pytest.fixture(scope="module")
def source() -> dict[str, torch.Tensor]:
    """Weights of the tiny transformer, with a seed that no test names."""
    import timm

    torch.manual_seed(77)
    return timm.create_model("test_vit", num_classes=0, img_size=32).state_dict()


@pytest.fixture(scope="module")
def digest(source, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("weights") / "plain.safetensors"
    save_file(source, path)
    return load(path).weights_digest


def load(path, architecture=VIT, **rules):
    return load_model("tiny", Model(**{**architecture, "weights": str(path), "checkpoint": rules}))


def refused(path, *words: str, **options) -> str:
    with pytest.raises(ProbelineError) as caught:
        load(path, **options)
    assert caught.value.place.startswith("params.yaml: models.tiny")
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


LAYOUTS = {
    "plain": (lambda s: s, {}),
    "nested": (lambda s: {"epoch": 3, "state": {"model": s}}, {"entry": "state.model"}),
    "prefix": (lambda s: {f"module.{k}": v for k, v in s.items()}, {"strip_prefix": "module."}),
    "renamed": (
        lambda s: {k.replace("blocks.", "layers."): v for k, v in s.items()},
        {"rename": {"layers.": "blocks."}},
    ),
    "head kept": (
        lambda s: {**s, "head.weight": torch.ones(3, 64), "head.bias": torch.ones(3)},
        {},
    ),
    "decoder": (lambda s: {**s, "decoder.w": torch.ones(2)}, {"drop": ["decoder."]}),
    "moco": (
        lambda s: {
            "state_dict": {f"base.{k}": v for k, v in s.items()}
            | {f"momentum.{k}": v + 1 for k, v in s.items()}
        },
        {"entry": "state_dict", "strip_prefix": "base.", "drop": ["momentum."]},
    ),
    "numbers beside": (lambda s: {**s, "step": 7, "note": "hello"}, {}),
    "half": (lambda s: {"m": dict(s)}, {"entry": "m"}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_weights(name, source, digest, tmp_path):
    lay_out, rules = LAYOUTS[name]
    for suffix in (".pth", ".pt", ".bin", ".tar"):
        torch.save(lay_out(source), tmp_path / f"w{suffix}")
        assert load(tmp_path / f"w{suffix}", **rules).weights_digest == digest


def test_safetensors_with_a_prefix(source, digest, tmp_path):
    save_file({f"x.{k}": v for k, v in source.items()}, tmp_path / "w.safetensors")
    assert load(tmp_path / "w.safetensors", strip_prefix="x.").weights_digest == digest


def test_an_absent_file_is_named(tmp_path):
    refused(tmp_path / "nowhere.pth", "no such checkpoint", "nowhere.pth")
    (tmp_path / "folder.pth").mkdir()
    refused(tmp_path / "folder.pth", "no such checkpoint")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin", ".tar"])
@pytest.mark.parametrize("keep", [0, 1, 7, 100, 0.5, 0.99])
def test_cut_files_are_refused(source, tmp_path, suffix, keep):
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(source, path)
    else:
        torch.save(source, path)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    refused(path, "damaged", "bytes", "again")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"hello", bytes(300), b"\x80\x02."])
def test_other_files_are_refused(tmp_path, suffix, content):
    (tmp_path / f"w{suffix}").write_bytes(content)
    refused(tmp_path / f"w{suffix}", "damaged")


class Evil:
    """What a pickle bomb does: calls the system when it is loaded."""

    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("plain_pickle", [True, False])
def test_code_in_a_pickle_is_refused_and_not_executed(tmp_path, monkeypatch, plain_pickle, source):
    monkeypatch.chdir(tmp_path)
    bomb = {"state_dict": source, "args": Evil()}
    path = tmp_path / "w.pth"
    if plain_pickle:
        path.write_bytes(pickle.dumps(bomb, protocol=2))
    else:
        torch.save(bomb, path)
    message = refused(path, entry="state_dict")
    assert not (tmp_path / "executed").exists()
    assert "could run code" in message
    assert f"{os.name}.system" in message or "_load_from_bytes" in message
    assert ".safetensors" in message
    assert "weights_only" not in message  # PyTorch's advice to load it unsafely


def test_a_list_is_no_checkpoint(tmp_path):
    torch.save([1, 2], tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "is not a checkpoint", "list")


@pytest.mark.parametrize(
    ("entry", "word"),
    [("model", "no such entry"), ("epoch", "no dictionary"), ("epoch.x", "no such entry"),
     ("state.cls_token", "no dictionary"), ("empty", "no tensor is left")],
)  # fmt: skip
def test_entries_that_hold_no_weights_are_refused(source, tmp_path, entry, word):
    torch.save({"epoch": 3, "state": dict(source), "empty": {}}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", word, entry=entry)


def test_forgetting_the_entry_says_so(source, tmp_path):
    torch.save({"state_dict": dict(source), "epoch": 1}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "no tensor is left", "`checkpoint: {entry: state_dict}`")


def test_two_keys_that_get_one_name_are_refused(source, tmp_path):
    both = {f"base.{k}": v for k, v in source.items()} | {f"ema.{k}": v for k, v in source.items()}
    torch.save(both, tmp_path / "w.pth")
    refused(
        tmp_path / "w.pth", "the same name", "checkpoint.drop", rename={"base.": "", "ema.": ""}
    )
    torch.save({**source, **{f"m.{k}": v for k, v in source.items()}}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "the same name", strip_prefix="m.")


def test_missing_surplus_and_reshaped_keys_are_listed_with_hints(source, tmp_path):
    torch.save({k: v for k, v in source.items() if k != "cls_token"}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "1 missing: cls_token", "checkpoint.strip_prefix")
    torch.save({**source, "momentum": torch.ones(1)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "1 surplus: momentum", ".drop")
    torch.save({**source, "cls_token": torch.ones(1, 1, 65)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "cls_token (1, 1, 65) instead of (1, 1, 64)")
    torch.save({f"module.{k}": v for k, v in source.items()}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "missing", "surplus", "`checkpoint: {strip_prefix: module.}`")
    torch.save({f"x{k}": v for k, v in source.items() if k != "norm.bias"}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "is xcls_token the checkpoint's name of cls_token?")


def test_declared_differences_are_accepted(source, digest, tmp_path):
    torch.save({k: v for k, v in source.items() if k != "cls_token"}, tmp_path / "w.pth")
    loaded = load(tmp_path / "w.pth", missing=["cls_token"])
    assert loaded.weights_digest != digest
    refused(tmp_path / "w.pth", "1 missing: cls_token", missing=["norm."])


def test_weights_of_another_architecture_list_keys_of_both(source, tmp_path):
    save_file(source, tmp_path / "w.safetensors")
    message = refused(
        tmp_path / "w.safetensors", "does not fit", "missing: ", "surplus: ", architecture=RESNET
    )
    assert "blocks.0." in message
    assert "stem." in message or "conv1." in message


@pytest.mark.parametrize("entry", ["ema", "averaged.model"])
def test_a_file_that_fits_two_layouts_is_refused_until_one_is_named(
    source, digest, tmp_path, entry
):
    """Plain weights at the top, and an average of them, as some savers write it, beside them."""
    first, *rest = entry.split(".")
    other = {key: value + 1 for key, value in source.items()}
    torch.save(
        {**source, first: {rest[0]: other} if rest else other, "epoch": 3}, tmp_path / "w.pth"
    )
    refused(tmp_path / "w.pth", "fits two layouts", f"at the top, and under {entry}", "entry: .")
    assert load(tmp_path / "w.pth", entry=".").weights_digest == digest
    assert load(tmp_path / "w.pth", entry=entry).weights_digest != digest


def test_what_has_other_names_is_no_second_layout(source, digest, tmp_path):
    moments = {"exp_avg": torch.ones(3), **dict(list(source.items())[1:])}
    torch.save({**source, "optimizer": {"state": moments}}, tmp_path / "w.pth")
    assert load(tmp_path / "w.pth").weights_digest == digest


def test_where_no_weights_are_left_dictionaries_that_have_some_are_named(source, tmp_path):
    torch.save({"student": source, "teacher": source, "epoch": 3}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", f"student ({len(source)}), teacher ({len(source)})")


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "model.encoder.", "_orig_mod."])
def test_a_prefix_is_named_so_that_it_can_be_pasted(source, digest, tmp_path, prefix):
    state = {prefix + key: value for key, value in source.items()} | {"loss.w": torch.ones(2)}
    torch.save(state, tmp_path / "net.pth")
    message = refused(tmp_path / "net.pth", "behind a prefix")
    advised = YAML(typ="safe").load(message.split("`")[1])["checkpoint"]
    assert advised == {"strip_prefix": prefix, "drop": ["loss."]}
    assert load(tmp_path / "net.pth", **advised).weights_digest == digest
