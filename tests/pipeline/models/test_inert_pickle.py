"""Pickles as data: what lies beside the weights does not matter, and nothing is executed."""

from __future__ import annotations

import argparse
import collections
import functools
import io
import operator
import os
import pickle
import subprocess
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import VIT

from cache.errors import ProbelineError
from pipeline.models.checkpoint_files import CheckpointError, read_checkpoint
from pipeline.models.checkpoints import state_dict_of
from pipeline.models.inert_pickle import Inert, Unpickler, inert_within
from pipeline.models.networks import load_model
from pipeline.models.settings import Checkpoint, Model

WEIGHTS = {"norm.weight": torch.arange(6.0).reshape(2, 3).T, "norm.bias": torch.ones(3).half()}


def of_module(name: str, **names: object) -> types.ModuleType:
    """A module of a library that is not installed here, so that its objects can be saved."""
    module = types.ModuleType(name)
    for key, value in names.items():
        value.__module__, value.__qualname__ = name, key
        setattr(module, key, value)
    return module


@pytest.fixture
def mmengine(monkeypatch):
    """The class that mmengine's saver leaves in a checkpoint.

    mmengine/logging/history_buffer.py: two arrays, and the methods that summarise them.
    """

    class HistoryBuffer:
        def __init__(self):
            self.max_length = 1_000_000
            self._log_history = np.array([0.5, np.float64(0.25)])
            self._count_history = np.array([1, 1])

        def __setstate__(self, state):
            raise AssertionError("called")

    class ConfigDict(dict):
        def __reduce_ex__(self, protocol):
            return ConfigDict, (), {"extra": 1}, None, iter(self.items())

    buffer, config = "mmengine.logging.history_buffer", "mmengine.config.config"
    for name in ("mmengine", "mmengine.logging", "mmengine.config"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, buffer, of_module(buffer, HistoryBuffer=HistoryBuffer))
    monkeypatch.setitem(sys.modules, config, of_module(config, ConfigDict=ConfigDict))
    return types.SimpleNamespace(HistoryBuffer=HistoryBuffer, ConfigDict=ConfigDict)


class Listing(list):
    """A list of another class."""


BESIDE = {
    "a namespace": lambda _: argparse.Namespace(lr=1e-3, path=Path("x"), nested=[1]),
    "a logger": lambda mm: {"log_scalars": collections.OrderedDict(loss=mm.HistoryBuffer())},
    "a configuration": lambda mm: mm.ConfigDict(a=mm.ConfigDict(b=1)),
    "numpy scalars": lambda _: {"best": np.float64(71.2), "flag": np.bool_(True)},
    "odd arrays": lambda _: [np.array(["a", "b"]), np.arange(3, dtype="uint64"), np.array([None])],
    "a generator": lambda _: np.random.default_rng(0),
    "containers": lambda _: [
        collections.defaultdict(list, a=[1]),
        collections.deque([1]),
        collections.Counter("aab"),
        {1, 2},
        frozenset({3}),
        Listing([1, 2]),
        1j,
        slice(1),
    ],
    "a function": lambda _: functools.partial(operator.methodcaller("x"), 1),
    "a type": lambda _: [torch.float16, torch.device("cpu"), torch.Size([1]), torch.strided, int],
}


@pytest.mark.parametrize("way", ["zip", "legacy", "protocol 4"])
@pytest.mark.parametrize("beside", BESIDE)
def test_what_lies_beside_the_weights_does_not_matter(beside, way, mmengine, tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    options = {
        "zip": {},
        "legacy": {"_use_new_zipfile_serialization": False},
        "protocol 4": {"pickle_protocol": 4},
    }[way]
    torch.save({"beside": BESIDE[beside](mmengine), "state": {"model": WEIGHTS}}, path, **options)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mmengine"]:
        monkeypatch.delitem(sys.modules, name)
    found = state_dict_of(read_checkpoint(path, "here"), Checkpoint(entry="state.model"), "here")
    assert list(found) == list(WEIGHTS)
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in WEIGHTS.items())
    assert not [name for name in sys.modules if name.partition(".")[0] == "mmengine"]


def test_arrays_are_read_to_the_bit(tmp_path):
    arrays = {f"a.{kind}": np.array([[1, 0], [3, 2]]).astype(kind).T for kind in
              ("f2", "f4", "f8", "i1", "i4", "i8", "u1", "?")}  # fmt: skip
    for way in (True, False):
        torch.save({"m": arrays}, tmp_path / "w.pth", _use_new_zipfile_serialization=way)
        found = state_dict_of(read_checkpoint(tmp_path / "w.pth", ""), Checkpoint(entry="m"), "")
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key].numpy(), array)
            assert found[key].numpy().dtype == array.dtype


def test_parameters_and_shared_storages(tmp_path):
    base = torch.arange(10.0)
    state = {"a.x": torch.nn.Parameter(base[2:6]), "a.y": base[::2], "args": argparse.Namespace()}
    torch.save(state, tmp_path / "w.pth")
    found = state_dict_of(read_checkpoint(tmp_path / "w.pth", ""), Checkpoint(), "")
    assert [v.tolist() for v in found.values()] == [[2, 3, 4, 5], [0, 2, 4, 6, 8]]


def test_an_entry_that_is_no_longer_there_is_named(tmp_path):
    torch.save({"args": argparse.Namespace(model=WEIGHTS), "model": WEIGHTS}, tmp_path / "w.pth")
    checkpoint = read_checkpoint(tmp_path / "w.pth", "here")
    for entry in ("args", "args.model"):
        with pytest.raises(CheckpointError) as caught:
            state_dict_of(checkpoint, Checkpoint(entry=entry), "here")
        assert "argparse.Namespace" in str(caught.value)
        assert "checkpoint.entry" in str(caught.value)


def test_a_tensor_that_is_an_object_is_named(tmp_path):
    state = {**WEIGHTS, "norm.odd": argparse.Namespace()}
    torch.save(state, tmp_path / "w.pth")
    checkpoint = read_checkpoint(tmp_path / "w.pth", "")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace, at norm\.odd"):
        state_dict_of(checkpoint, Checkpoint(), "")
    assert list(state_dict_of(checkpoint, Checkpoint(drop=["norm.odd"]), "")) == list(WEIGHTS)


def test_a_whole_network_is_no_dictionary(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        read_checkpoint(tmp_path / "w.pth", "here")


@pytest.mark.parametrize("forced", [None, "1"])
def test_pytorchs_switch_is_as_it_was(forced, tmp_path, monkeypatch):
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    if forced:
        monkeypatch.setenv(name, forced)
    else:
        monkeypatch.delenv(name, raising=False)
    torch.save({"m": WEIGHTS, "args": argparse.Namespace()}, tmp_path / "w.pth")
    assert isinstance(read_checkpoint(tmp_path / "w.pth", "")["args"], Inert)
    assert os.environ.get(name) == forced


# --- hostile files -------------------------------------------------------------------------------


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def touch(name: str) -> str:
    return f"open({name!r}, 'w')"


HOSTILE = {
    "system": lambda: Calls(os.system, "touch harm"),
    "popen": lambda: Calls(subprocess.Popen, ["touch", "harm"]),
    "eval": lambda: Calls(eval, touch("harm")),
    "exec": lambda: Calls(exec, touch("harm")),
    "open": lambda: Calls(open, "harm", "w"),
    "a method": lambda: Calls(Path.touch, Path("harm")),
    "partial": lambda: Calls(functools.partial(eval), touch("harm")),
    "map": lambda: Calls(list, map(eval, [touch("harm")])),
    "mkdir": lambda: Calls(os.mkdir, "harm"),
    "tar": lambda: Calls(tarfile.open, "harm", "w"),
    "numpy": lambda: Calls(np.save, "harm", 1),
    "torch": lambda: Calls(torch.save, 1, "harm"),
    "torch's loader": lambda: Calls(
        torch.storage._load_from_bytes, pickle.dumps(Calls(os.mkdir, "harm"))
    ),
    "an array of objects": lambda: np.array([Calls(Path.touch, Path("harm"))], dtype=object),
    "a state": lambda: {"x": Calls(Path.touch, Path("harm"))},
}


@pytest.mark.parametrize("place", ["beside", "weights", "key", "whole"])
@pytest.mark.parametrize("way", ["zip", "legacy", "plain", "protocol 4"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_is_executed(hostile, way, place, tmp_path, monkeypatch):
    """Read where it can be, refused where not; either way no mark is left."""
    monkeypatch.chdir(tmp_path)
    bomb = HOSTILE[hostile]()
    content = {
        "beside": lambda: {"beside": bomb, "model": {"a.b": torch.ones(2)}},
        "weights": lambda: {"model": {"a.b": bomb}},
        "key": lambda: {"model": bomb},
        "whole": lambda: bomb,
    }[place]()
    if way == "plain":
        Path("w.pth").write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(
            content, "w.pth",
            **{"zip": {}, "legacy": {"_use_new_zipfile_serialization": False},
               "protocol 4": {"pickle_protocol": 4}}[way],
        )  # fmt: skip
    for file in Path().iterdir():
        if file.name != "w.pth":
            file.unlink()  # made while the bomb was
    entry = Checkpoint(entry="model")
    try:
        found = state_dict_of(read_checkpoint(Path("w.pth"), "here"), entry, "here")
    except ProbelineError as error:
        assert "weights_only" not in str(error)  # noqa: PT017
    else:
        assert place == "beside"
        assert found["a.b"].tolist() == [1, 1]
    assert [file.name for file in Path().iterdir()] == ["w.pth"]


def op(code: bytes, *names: str) -> bytes:
    return code + b"".join(f"{name}\n".encode() for name in names)


def name(module: str, attribute: str) -> bytes:
    return op(pickle.GLOBAL, module, attribute)


@pytest.mark.parametrize(
    ("opcodes", "word"),
    [
        # attributes of what is called later
        (name("torch._utils", "_rebuild_tensor_v2") + b"}U\x01ah" + b"\x00s", ""),
        (name("numpy", "ndarray") + b"(K\x01tR", "is called"),
        (name("torch.storage", "UntypedStorage") + b"(K\x08tR", "is called"),
        (name("collections", "OrderedDict") + b"U\x01aK\x01s", "no dict"),
        (name("builtins", "set") + b"(K\x01a", ""),
        (b"K\x01(tR", "is called"),
        (b"]K\x01(tR", "is called"),
        (b"}(K\x01K\x02K\x03u", ""),
        (b"\x82\x01", "extension"),
        (name("posix", "system") + b"(U\x04trueto", "posix.system"),
        (b"(cposix\nsystem\nU\x04trueo", "posix.system"),
        (b"(U\x04trueiposix\nsystem\n", "posix.system"),
        (b"(U\x04truei__builtin__\neval\n", "eval"),
        (b"\x8c\x05posix\x8c\x06system\x93", "posix.system"),
        (b"\x97", ""),
    ],
)
def test_opcodes_that_a_saver_never_writes(opcodes, word):
    with pytest.raises(Exception, match=word or None) as caught:
        Unpickler(io.BytesIO(b"\x80\x02" + opcodes + b".")).load()
    assert not isinstance(caught.value, SystemExit)


def test_attributes_of_functions_and_classes_are_left_alone():
    """BUILD sets attributes, also of what every later file is rebuilt with."""
    before = dict(vars(torch._utils._rebuild_tensor_v2))
    opcodes = b"}U\x0c__defaults__)sb"
    for known in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        Unpickler(io.BytesIO(b"\x80\x02" + name("torch._utils", known) + opcodes + b".")).load()
    assert vars(torch._utils._rebuild_tensor_v2) == before
    assert torch._utils._rebuild_tensor_v2.__defaults__ == (None,)


def test_inert_objects_take_anything():
    unknown = name("some.where", "Thing")
    for opcodes in (b")R}U\x01aK\x01sb", b")\x81]a", b")\x81(K\x01K\x02e", b")\x81U\x01aK\x01s",
                    b")R)R)R", b")}\x92", b")\x81(K\x01\x90"):  # fmt: skip
        found = Unpickler(io.BytesIO(b"\x80\x04" + unknown + opcodes + b".")).load()
        assert found.origin == "some.where.Thing"
        assert vars(found) == {}


def test_what_is_inert_is_found_at_any_depth():
    thing = Inert()
    thing.origin = "a.B"
    assert inert_within({"x": [1, (2, {3: thing})]}) == ("x.1.1.3", "a.B")
    assert inert_within(np.array([1, thing], dtype=object)) == ("1", "a.B")
    assert inert_within({"x": torch.ones(1), "y": [None]}) is None


@pytest.mark.parametrize("kind", ["torchscript", "tar"])
def test_files_that_pytorch_would_run_or_unpack_are_refused(kind, tmp_path):
    path = tmp_path / "w.pth"
    if kind == "torchscript":
        with zipfile.ZipFile(path, "w") as archive:  # what tells it is the constants' table
            for member in ("constants.pkl", "data.pkl", "version", "code/__torch__.py"):
                archive.writestr(f"w/{member}", pickle.dumps({}, protocol=2))
    else:
        with tarfile.open(path, "w") as tar:
            for member in ("storages", "tensors", "pickle"):
                info = tarfile.TarInfo(member)
                info.size = len(b := pickle.dumps(0))
                tar.addfile(info, io.BytesIO(b))
    with pytest.raises(CheckpointError, match=r"TorchScript|tar archive|damaged or no checkpoint"):
        read_checkpoint(path, "here")


def test_a_model_of_a_study_with_arguments_beside_it(tmp_path):
    import timm

    torch.manual_seed(3)
    state = timm.create_model("test_vit", num_classes=0, img_size=32).state_dict()
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1), "epoch": 3}, tmp_path / "w.pth")
    entry = Model(**{**VIT, "weights": str(tmp_path / "w.pth"), "checkpoint": {"entry": "model"}})
    found = load_model("tiny", entry).backbone.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
