"""A CPU that pretends to have CUDA devices, and counts what a program does with them.

Tensors of a simulated device say ``cuda:N``, refuse to meet tensors of another device, and can't be
read by NumPy. What would go over the bus, what the program would wait for, and what host memory
would be copied before, is counted in `GPUS.counts`:

    kernels, uploads, uploaded_bytes, unpinned_uploads, downloads, downloaded_bytes, waits,
    pinning_copies

It says nothing of speed. The idea is of the project's own notes; `simulate` undoes itself.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map


class Properties(NamedTuple):
    """Of a device, as torch tells them."""

    name: str
    total_memory: int
    multi_processor_count: int = 132
    major: int = 9
    minor: int = 0


NAME = "simulated H100"
MEMORY = 80 << 30

WAITING = ("aten::nonzero", "aten::masked_select", "aten::bincount")
BY_INDEX = ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_")
LIMITED = ("aten::convolution", "aten::addmm", "aten::mm")


class Gpus:
    """What is simulated now.

    Attributes
    ----------
    counts : Counter
    number : int
        Of devices.
    most_rows : int or None
        Of a product's or convolution's first factor: more is out of memory.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.number, self.most_rows = 1, None
        self.pinned: dict[int, torch.Tensor] = {}  # kept, so that no other takes their place

    def upload(self, tensor: torch.Tensor) -> None:
        if not tensor.numel():
            return
        self.counts["uploads"] += 1
        self.counts["uploaded_bytes"] += tensor.numel() * tensor.element_size()
        if not is_pinned(tensor):
            self.counts["unpinned_uploads"] += 1

    def download(self, tensor: torch.Tensor) -> None:
        self.counts["downloads"] += 1
        self.counts["downloaded_bytes"] += tensor.numel() * tensor.element_size()
        self.counts["waits"] += 1


GPUS = Gpus()


def device_of(given: Any) -> torch.device:
    device = torch.device(given)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        if device.index >= GPUS.number:
            raise RuntimeError("CUDA error: invalid device ordinal")
    return device


def is_pinned(tensor: torch.Tensor) -> bool:
    return not isinstance(tensor, There) and tensor.untyped_storage().data_ptr() in GPUS.pinned


class There(torch.Tensor):
    """A tensor on a simulated device; `_here` holds its numbers."""

    @staticmethod
    def __new__(cls, here: torch.Tensor, device: torch.device) -> There:  # noqa: PYI034
        made = torch.Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), storage_offset=here.storage_offset(),
            dtype=here.dtype, layout=here.layout, device=torch.device("cpu"),
            requires_grad=False, dispatch_device=True,
        )  # fmt: skip
        made._here, made._where = here, device
        return made

    def __repr__(self, **_: Any) -> str:
        return f"There({self._here}, {self._where})"

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {self._where} device type tensor to numpy")

    __array__ = numpy

    def tolist(self) -> Any:
        GPUS.download(self._here)
        return self._here.tolist()

    def copy_(self, source: torch.Tensor, non_blocking: bool = False) -> There:
        if isinstance(source, There):
            _same(self._where, source._where)
        else:
            GPUS.upload(source)
        self._here.copy_(_plain(source))
        return self

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        GPUS.counts["waits"] += 1
        found = self._here.nonzero(as_tuple=as_tuple)
        return tree_map(lambda x: There(x, self._where), found)

    def record_stream(self, stream: Any) -> None:
        pass

    def contiguous(self, *args: Any, **kwargs: Any) -> There:
        return There(self._here.contiguous(*args, **kwargs), self._where)

    def new_tensor(self, data: Any, dtype: Any = None, **_: Any) -> There:
        return There(torch.tensor(data, dtype=dtype or self.dtype), self._where)

    def __len__(self) -> int:
        return len(self._here)

    def __iter__(self) -> Any:
        return (There(row, self._where) for row in self._here)

    def __getitem__(self, index: Any) -> There:
        GPUS.counts["kernels"] += 1
        return There(self._here[_indices(self, index)], self._where)

    def __setitem__(self, index: Any, value: Any) -> None:
        GPUS.counts["kernels"] += 1
        if isinstance(value, There):
            _same(self._where, value._where)
            value = value._here
        elif isinstance(value, torch.Tensor):
            GPUS.upload(value)
        self._here[_indices(self, index)] = value

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _scalar(kind: Any) -> Any:
    def read(self: There) -> Any:
        GPUS.download(self._here)
        return kind(self._here)

    return read


for _name, _kind in (("float", float), ("int", int), ("bool", bool), ("index", int)):
    setattr(There, f"__{_name}__", _scalar(_kind))
There.item = _scalar(lambda here: here.item())
There.__module__ = "torch.simulated"  # whoever asks a tensor for its library


def _same(one: torch.device, other: torch.device) -> None:
    if one != other:
        raise RuntimeError(f"Expected all tensors to be on the same device: {one}, {other}")


def _indices(tensor: There, index: Any) -> Any:
    found = []
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, There):
            _same(tensor._where, part._where)
            if part.dtype == torch.bool:
                GPUS.counts["waits"] += 1
            found.append(part._here)
            continue
        if isinstance(part, torch.Tensor | np.ndarray):
            GPUS.upload(torch.as_tensor(part))
        found.append(part)
    return tuple(found) if isinstance(index, tuple) else found[0]


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: C901 — one operation
    if func is torch.ops.prim.device.default:
        return args[0]._where
    name = func._schema.name
    flat, _ = tree_flatten((args, kwargs))
    there = [x for x in flat if isinstance(x, There)]
    here = [x for x in flat if isinstance(x, torch.Tensor) and not isinstance(x, There)]
    asked = kwargs.get("device")
    if name == "aten::copy_":
        into, source = args[0], args[1]
        if isinstance(into, There) and not isinstance(source, There):
            GPUS.upload(source)
        elif isinstance(source, There) and not isinstance(into, There):
            GPUS.download(source._here)
    elif name == "aten::_to_copy":
        if there and asked is not None and torch.device(asked).type == "cpu":
            GPUS.download(there[0]._here)
    else:
        for other in there[1:]:
            _same(there[0]._where, other._where)
        for tensor in here if there else ():
            if tensor.dim() and not (name in BY_INDEX and not tensor.is_floating_point()):
                raise RuntimeError(f"Expected all tensors to be on the same device, in {name}")
    if GPUS.most_rows and name in LIMITED and there and len(there[0]._here) > GPUS.most_rows:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (simulated)")
    GPUS.counts["kernels"] += bool(there)
    GPUS.counts["waits"] += bool(there) and (name in WAITING or name.endswith("_scalar_dense"))
    plain_args, plain = tree_map(_plain, args), tree_map(_plain, kwargs)
    where = there[0]._where if there else None
    if asked is not None:
        device = device_of(asked)
        where = device if device.type == "cuda" else None
        plain["device"] = torch.device("cpu")
    found = func(*plain_args, **plain)
    if where is None or name.endswith("_scalar_dense"):
        return found
    known = {id(x._here): x for x in there}

    def wrapped(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or isinstance(x, There):
            return x
        return known.get(id(x)) if id(x) in known else There(x, where)

    return tree_map(wrapped, found)


def _plain(x: Any) -> Any:
    return x._here if isinstance(x, There) else x


_to = torch.Tensor.to


def _moved(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    device, dtype, layout = kwargs.get("device"), kwargs.get("dtype"), kwargs.get("memory_format")
    for arg in args:
        if isinstance(arg, str | torch.device):
            device = arg
        elif isinstance(arg, torch.dtype):
            dtype = arg
        elif isinstance(arg, torch.Tensor):
            device, dtype = arg.device, arg.dtype
    is_there = isinstance(self, There)
    if device is None and not is_there:
        return _to(self, *args, **kwargs)
    where = self._where if device is None else device_of(device)
    numbers = self._here if is_there else self.detach()
    if where.type == "cuda":
        if is_there:
            if self._where == where and dtype in (None, self.dtype) and layout is None:
                return self
            GPUS.counts["kernels"] += 1
        else:
            GPUS.upload(self)
        options = {} if layout is None else {"memory_format": layout}
        return There(_to(numbers, dtype=dtype or self.dtype, copy=True, **options), where)
    if is_there:
        GPUS.download(numbers)
        return _to(numbers.detach(), dtype=dtype or self.dtype, copy=True)
    return _to(self, *args, **kwargs)


There.to = _moved
There.cpu = lambda self, *_: _moved(self, "cpu")
_module_to = torch.nn.Module.to


def _module_moved(self: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
    device = kwargs.get("device")
    for arg in args:
        if isinstance(arg, str | torch.device):
            device = arg
    held = [p for p in self.parameters() if isinstance(p, There)]
    if not held and (device is None or torch.device(device).type != "cuda"):
        return _module_to(self, *args, **kwargs)
    where = device_of(device) if device is not None else held[0]._where
    layout = kwargs.get("memory_format")
    for module in self.modules():
        for store in (module._parameters, module._buffers):
            for key, value in store.items():
                if value is not None:
                    moved = _moved(value.data if not isinstance(value, There) else value, where)
                    if layout is not None and moved.dim() == 4:
                        moved = moved.contiguous(memory_format=layout)
                    store[key] = moved
    return self


class Stream:
    """Of a device; what runs on it is done at once."""

    def __init__(self, device: Any = None) -> None:
        self.device = device

    def wait_stream(self, other: Stream) -> None:
        GPUS.counts["streams_joined"] += 1


class Event:
    """A moment."""

    def __init__(self, **_: Any) -> None:
        self.at = 0.0

    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, other: Event) -> float:
        return 1000 * (other.at - self.at)


def simulate(monkeypatch: Any, number: int = 1) -> Gpus:
    """Let torch have so many devices until the test ends; returns what is counted."""
    GPUS.__init__()
    GPUS.number = number
    cuda = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: number,
        "get_device_properties": lambda device=None: Properties(NAME, MEMORY),
        "get_device_capability": lambda device=None: (9, 0),
        "mem_get_info": lambda device=None: (MEMORY, MEMORY),
        "empty_cache": lambda: GPUS.counts.update(emptied=1),
        "current_device": lambda: 0,
        "current_stream": Stream,
        "stream": contextlib.nullcontext,
        "Stream": Stream,
        "Event": Event,
    }
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)  # whose kernels are not here
    monkeypatch.setattr(torch.Tensor, "to", _moved)
    monkeypatch.setattr(torch.nn.Module, "to", _module_moved)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda self, *_: is_pinned(self))
    monkeypatch.setattr(torch.Tensor, "pin_memory", _pinned_copy)
    monkeypatch.setattr(torch, "inference_mode", lambda *_, **__: torch.no_grad())
    for name in ("tensor", "as_tensor", "asarray"):
        monkeypatch.setattr(torch, name, _made_from(getattr(torch, name)))
    monkeypatch.setattr(torch, "where", _where)
    monkeypatch.setattr(torch, "batch_norm", _batch_norm)
    for name in ("full", "zeros", "ones", "arange", "empty", "eye"):
        monkeypatch.setattr(torch, name, _made(getattr(torch, name)))
    return GPUS


def _pinned_copy(self: torch.Tensor, *_: Any) -> torch.Tensor:
    GPUS.counts["pinning_copies"] += 1
    copy = self.clone()
    GPUS.pinned[copy.untyped_storage().data_ptr()] = copy
    return copy


_choose = torch.where


def _where(condition: Any, *of: Any) -> Any:
    """A number instead of a tensor would be made on the device itself."""
    if not isinstance(condition, There) or not of:
        return _choose(condition, *of)
    for tensor in of:
        if isinstance(tensor, There):
            _same(condition._where, tensor._where)
        elif isinstance(tensor, torch.Tensor) and tensor.dim():
            raise RuntimeError("Expected all tensors to be on the same device, in where")
    GPUS.counts["kernels"] += 1
    return There(_choose(condition._here, *map(_plain, of)), condition._where)


_normalise = torch.batch_norm


def _batch_norm(images: Any, *args: Any) -> Any:
    """A composite, which would ask for CUDA's own kernel."""
    if not isinstance(images, There):
        return _normalise(images, *args)
    GPUS.counts["kernels"] += 1
    return There(_normalise(images._here, *map(_plain, args)), images._where)


def _made(make: Any) -> Any:
    def made(*args: Any, device: Any = None, pin_memory: bool = False, **kwargs: Any) -> Any:
        found = make(*args, **kwargs)
        if pin_memory:
            GPUS.pinned[found.untyped_storage().data_ptr()] = found
        on_gpu = device is not None and torch.device(device).type == "cuda"
        return There(found, device_of(device)) if on_gpu else found

    return made


def _made_from(make: Any) -> Any:
    def made(data: Any, *args: Any, device: Any = None, copy: Any = None, **kwargs: Any) -> Any:
        dtype = kwargs.get("dtype")
        if isinstance(data, There):
            if device is not None and device_of(device) != data._where:
                return _moved(data, device, dtype or data.dtype)
            if dtype in (None, data.dtype) and not copy:
                return data
            return There(_to(data._here, dtype=dtype or data.dtype, copy=True), data._where)
        if device is not None and torch.device(device).type == "cuda":
            return _moved(make(data, *args, **kwargs), device)
        more = {} if copy is None else {"copy": copy}
        return make(data, *args, device=device, **kwargs, **more)

    return made
