"""Pickles read as data: tensors, arrays and plain containers; all else becomes an inert `Inert`.

What an author's saver keeps beside the weights (arguments, a logger's history, an optimizer) must
not decide whether they can be read, and must not run either. So no name of the file is ever
imported: a few are looked up in a list of what rebuilds numbers, every other one becomes a class
that holds nothing and does nothing, whatever is called, appended or set on it.

`torch.load` takes this module as its `pickle_module`; see `pipeline.models.checkpoint_files`.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch

__all__ = ["Inert", "Unpickler", "inert_within", "load"]


class Inert:
    """Stands where a file has an object of a class that is not loaded, or what a call gave.

    Attributes
    ----------
    origin : str
        Full name of the class or function that the file asked for.
    """

    origin = ""


_RECONSTRUCT, _SCALAR = np.zeros(1).__reduce__()[0], np.float64(1).__reduce__()[0]

_CALLED: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "collections.Counter": collections.Counter,
    "_codecs.encode": lambda text, encoding: text.encode(encoding),
    "torch.Size": torch.Size,
    "torch.device": torch.device,
    "torch._utils._rebuild_tensor": torch._utils._rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    "numpy.dtype": np.dtype,
    **{
        f"{module}.multiarray.{name}": function
        for module in ("numpy.core", "numpy._core")  # as NumPy 1 and 2 call it
        for name, function in (("_reconstruct", _RECONSTRUCT), ("scalar", _SCALAR))
    },
    **{
        f"{module}.{kind.__name__}": kind
        for module in ("builtins", "__builtin__")  # as Python 3 and 2 call it
        for kind in (set, frozenset, complex, slice, bytearray)
    },
}
"""All that is called while a pickle is read: it rebuilds numbers, and runs nothing of the file."""

_NAMED: dict[str, Any] = {
    "numpy.ndarray": np.ndarray,
    "torch.storage.UntypedStorage": torch.UntypedStorage,
    **{str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)},
}
"""What is an argument of these calls, and is never called itself."""

_HOSTILE = {
    *("os", "posix", "nt", "sys", "subprocess", "runpy", "pty", "ctypes", "socket", "shutil"),
    *("importlib", "builtins.eval", "builtins.exec", "builtins.compile", "builtins.open"),
    *("builtins.__import__", "__builtin__.eval", "__builtin__.exec", "__builtin__.__import__"),
}
"""Nobody's saver writes these. A file that does is refused whole: its weights deserve no trust."""


_Written: Any = pickle._Unpickler
"""Python's own unpickler as it is written in Python, a method for each opcode."""


class Unpickler(_Written):  # type: ignore[misc]
    """Python's own unpickler without imports, and with calls of `_CALLED` alone."""

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Written.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """What rebuilds numbers, or a class of inert objects."""
        full = f"{module}.{name}"
        if full in _HOSTILE or module.split(".")[0] in _HOSTILE:
            raise pickle.UnpicklingError(f"GLOBAL {full}")
        known = _CALLED.get(full, _NAMED.get(full))
        return type("Inert", (Inert,), {"origin": full}) if known is None else known

    def get_extension(self, code: int) -> None:
        """Names by number lie in a table of the process, where real classes are."""
        raise pickle.UnpicklingError(f"extension {code} is no name")

    def _called(self, function: Any, arguments: Sequence[Any]) -> Any:
        if (inert := _inert(function)) is not None:
            return inert
        if not any(function is known for known in _CALLED.values()):
            raise pickle.UnpicklingError(f"{str(function)[:80]} is called")
        if any(_inert(one) is not None for one in arguments):  # e.g. the storage of a tensor
            return next(_inert(one) for one in arguments if _inert(one) is not None)
        return function(*arguments)

    def _instantiate(self, function: Any, arguments: Sequence[Any]) -> None:
        self.append(self._called(function, arguments))

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self._instantiate(self.stack.pop(), arguments)

    def _new_with_names(self) -> None:
        named = self.stack.pop()
        self._reduce()
        if named and _inert(self.stack[-1]) is None:
            raise pickle.UnpicklingError("a call has named arguments")

    def _build(self) -> None:
        """Numbers of an array; attributes of anything else are not kept."""
        state, built = self.stack.pop(), self.stack[-1]
        if isinstance(built, np.ndarray | np.dtype):
            numbers: Any = built
            numbers.__setstate__(state)

    def _extend(self, items: Sequence[Any]) -> None:
        if self._takes(list):
            self.stack[-1].extend(items)

    def _update(self, items: Sequence[Any]) -> None:
        if self._takes(dict):
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _add(self, items: Sequence[Any]) -> None:
        if self._takes(set):
            self.stack[-1].update(items)

    def _takes(self, kind: type) -> bool:
        """Whether the container on top keeps what is put in: an inert one does not."""
        target = self.stack[-1]
        if not isinstance(target, kind) and _inert(target) is None:
            raise pickle.UnpicklingError(f"a {type(target).__name__} is no {kind.__name__}")
        return isinstance(target, kind)

    def _setitem(self) -> None:
        value = self.stack.pop()
        self._update([self.stack.pop(), value])

    dispatch |= {
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _reduce,  # all that is known is made by a call
        pickle.NEWOBJ_EX[0]: _new_with_names,
        pickle.BUILD[0]: _build,
        pickle.APPEND[0]: lambda self: self._extend([self.stack.pop()]),
        pickle.APPENDS[0]: lambda self: self._extend(self.pop_mark()),
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: lambda self: self._update(self.pop_mark()),
        pickle.ADDITEMS[0]: lambda self: self._add(self.pop_mark()),
    }


def load(file: BinaryIO, **options: Any) -> Any:
    """One pickle of a file, as `pickle.load`."""
    return Unpickler(file, **options).load()


def inert_within(value: Any, path: str = "") -> tuple[str, str] | None:
    """Where the first inert object lies, keys with dots between them, and its origin."""
    if isinstance(value, Inert):
        return path or "the whole", value.origin
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        items = enumerate(value)
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        items = enumerate(value.ravel())
    else:
        return None
    found = (inert_within(inner, f"{path}.{key}".strip(".")) for key, inner in items)
    return next(filter(None, found), None)


def _inert(value: Any) -> Inert | None:
    """The value, or an object of it, where it is inert."""
    if isinstance(value, type) and issubclass(value, Inert):
        return value()
    return value if isinstance(value, Inert) else None
