"""Checkpoints that can't be used: each is called what it is, and a sound file never damaged."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from projects import VIT
from safetensors.torch import save, save_file

from cache.errors import ProbelineError
from pipeline.models.check import check_model
from pipeline.models.networks import load_model
from pipeline.models.settings import Model

SIZES = {**VIT, "arguments": {"img_size": 32}}


def network(**arguments):
    import timm

    torch.manual_seed(77)
    return timm.create_model("test_vit", num_classes=0, **{"img_size": 32} | arguments)


@pytest.fixture(scope="module")
def source() -> dict[str, torch.Tensor]:
    return network().state_dict()


def load(path, **entry):
    rules = entry.pop("rules", {})
    return load_model(
        "tiny", Model(**{**SIZES, **entry, "weights": str(path), "checkpoint": rules})
    )


def refused(path, *words: str, **entry) -> str:
    with pytest.raises(ProbelineError) as caught:
        load(path, **entry)
    message = str(caught.value)
    assert caught.value.place.startswith("params.yaml: models.tiny")
    assert not [word for word in words if word not in message], message
    return message


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return file.getvalue()


OTHERS = {
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "GGUF": b"GGUF\x03" + bytes(100),
    "a NumPy array": b"\x93NUMPY\x01\x00" + bytes(100),
    "a compressed file": gzip.compress(b"weights"),
    "a tar archive": tarred(),
    "archive of NumPy arrays": zipped({"a.npy": b"1", "b.npy": b"2"}),
    "a zip archive": zipped({"readme.txt": b"hello"}),
    "list of a checkpoint's parts": b'{"metadata": {"total_size": 5}, "weight_map": {}}',
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize("what", OTHERS)
def test_other_formats_are_called_what_they_are(tmp_path, what, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(OTHERS[what])
    assert "damaged" not in refused(path, what)


def test_a_torchscript_program_is_not_run(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its age
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    assert "damaged" not in refused(tmp_path / "w.pt", "TorchScript", "state_dict")


def test_content_decides_not_the_ending(source, tmp_path):
    torch.save(source, tmp_path / "w.safetensors")
    save_file(source, tmp_path / "w.pth")
    digests = {load(tmp_path / name).weights_digest for name in ("w.safetensors", "w.pth")}
    assert len(digests) == 1


def test_bytes_that_are_changed_or_cut_are_damage(source, tmp_path):
    torch.save(source, tmp_path / "w.pth")
    data = bytearray((tmp_path / "w.pth").read_bytes())
    at = data.index(b"data.pkl") + 200
    data[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "w.pth").write_bytes(data)
    refused(tmp_path / "w.pth", "damaged", "again")
    (tmp_path / "w.safetensors").write_bytes(save(source)[:-1])
    refused(tmp_path / "w.safetensors", "damaged", "again")


def test_a_sound_file_of_a_type_that_nobody_knows_is_not_called_damaged(tmp_path):
    header = {"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    message = refused(tmp_path / "w.safetensors", "can't be read here", "F99")
    assert "damaged" not in message


def test_a_file_that_may_not_be_read(source, tmp_path, monkeypatch):
    torch.save(source, tmp_path / "w.pth")

    def load_nothing(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", load_nothing)
    assert "damaged" not in refused(tmp_path / "w.pth", "can't be read", "Permission denied")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (MemoryError(), "more memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "more memory"),
        (AssertionError("odd"), "can't be read here"),
        (AttributeError("odd"), "can't be read here"),
        (ZeroDivisionError(), "can't be read here"),
        (RecursionError("too deep"), "can't be read here"),
    ],
)
def test_whatever_a_reader_raises(source, tmp_path, monkeypatch, error, word):
    torch.save(source, tmp_path / "w.pth")

    def raising(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", raising)
    assert "damaged" not in refused(tmp_path / "w.pth", word)


def test_one_part_of_several(source, tmp_path):
    for number in (1, 2):
        save_file(source, tmp_path / f"model-0000{number}-of-00002.safetensors")
    refused(tmp_path / "model-00001-of-00002.safetensors", "part 1 of 2", "missing", "join")
    save_file(source, tmp_path / "model-00001-of-00001.safetensors")
    load(tmp_path / "model-00001-of-00001.safetensors")
    save_file(source, tmp_path / "fold-1-of-5.safetensors")
    load(tmp_path / "fold-1-of-5.safetensors")


def first_block(state):
    return next(k for k in state if "blocks" in k and state[k].ndim == 2)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_no_weights(source, tmp_path, dtype):
    key = first_block(source)
    torch.save({**source, key: source[key].to(dtype)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "quantised", key, str(dtype).removeprefix("torch."))


def test_float8_is_quantised(source, tmp_path):
    key = first_block(source)
    torch.save({**source, key: source[key].to(torch.float8_e4m3fn)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "quantised", "float8_e4m3fn")


@pytest.mark.parametrize("kind", ["quantised", "sparse", "meta", "complex"])
def test_tensors_that_hold_no_plain_numbers(source, tmp_path, kind):
    key = first_block(source)
    make = {
        "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
        "sparse": lambda t: t.to_sparse(),
        "meta": lambda t: t.to("meta"),
        "complex": lambda t: t.to(torch.complex64),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({**source, key: make(source[key])}, tmp_path / "w.pth")
        refused(tmp_path / "w.pth", key, kind)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite(source, tmp_path, value):
    key = first_block(source)
    wrong = source[key].to(torch.float64).clone()
    wrong[0, 0] = value
    torch.save({**source, key: wrong}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "not finite", key)
    with pytest.raises(ProbelineError, match="not finite"):
        check_model("tiny", Model(**{**SIZES, "weights": str(tmp_path / "w.pth")}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read(source, tmp_path, dtype):
    torch.save({k: v.to(dtype) for k, v in source.items()}, tmp_path / "w.pth")
    found = load(tmp_path / "w.pth").backbone.state_dict()
    for key, value in source.items():
        torch.testing.assert_close(found[key], value.to(dtype).to(torch.float32))


@pytest.mark.parametrize("channels", [1, 4])
def test_a_first_layer_for_other_channels(tmp_path, channels):
    torch.save(network(in_chans=channels).state_dict(), tmp_path / "w.pth")
    message = refused(tmp_path / "w.pth", "another shape", "patch_embed.proj.weight", "RGB")
    assert f"images of {channels} channel" in message
    arguments = {"img_size": 32, "in_chans": channels}
    message = refused(tmp_path / "w.pth", f"takes {channels} channel", arguments=arguments)
    assert "does not accept images of" not in message


@pytest.mark.parametrize("size", [48, 96])
def test_a_position_embedding_of_another_size(tmp_path, size):
    torch.save(network(img_size=size).state_dict(), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "pos_embed", f"img_size: {size}")
    load(tmp_path / "w.pth", arguments={"img_size": size}, input_size=size)


def test_the_size_is_not_guessed_where_it_is_not_certain(source, tmp_path):
    longer = torch.cat([source["pos_embed"]] * 3, dim=1)
    torch.save({**source, "pos_embed": longer}, tmp_path / "w.pth")
    assert "img_size" not in refused(tmp_path / "w.pth", "pos_embed")


def test_arrays_of_numpy_are_weights_and_what_lies_beside_is_not(source, tmp_path):
    arrays = {k: v.numpy() for k, v in source.items()}
    swapped = {k: v.astype(v.dtype.newbyteorder(">")) for k, v in arrays.items()}
    beside = {
        "best": np.float64(71.2), "flag": np.bool_(True), "names": np.array(["a", "b"]),
        "rng": np.arange(4, dtype="u8"), "small": np.arange(4, dtype="i2"),
        "complex": np.ones(2, "c8"), "when": np.datetime64("2026-01-01"), "bytes": np.bytes_(b"x"),
        "objects": np.array([1, "a", None], dtype=object), "half": np.float16(1),
    }  # fmt: skip
    digests = set()
    for name, state in (("torch", source), ("arrays", arrays), ("swapped", swapped)):
        torch.save({"state": state, **beside}, tmp_path / f"{name}.pth")
        digests.add(load(tmp_path / f"{name}.pth", rules={"entry": "state"}).weights_digest)
    assert len(digests) == 1
