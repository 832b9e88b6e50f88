"""Why a checkpoint file can't be read: what it is instead, or that it is damaged, or neither.

Readers say of a web page that its header is too large, and of a TorchScript program that a file
should be trusted. A person wants to know what the file is. A file whose own sums agree is never
called damaged.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from pipeline.project.foreign_files import words_of

_HEAD = 512
"""Bytes that tell most formats apart."""

_LARGEST_HEADER = 100_000_000
"""Of safetensors, by its own rule."""

_BEGIN = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file", "run `git lfs pull`"),
    (rb"\s*<(!doctype|html|\?xml|head|body)", "a web page", "download the file itself"),
    (rb"\x89HDF\r\n", "an HDF5 file, as Keras writes", ""),
    (rb"GGUF", "a GGUF file, whose weights are quantised", ""),
    (rb"\x93NUMPY", "a NumPy array", ""),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "a compressed file", "unpack it"),
    (rb"(?s).{257}ustar", "a tar archive", "unpack it, and name the file inside"),
    (rb"\s*\{\s*\"(metadata|weight_map)\"", "the list of a checkpoint's parts, not the parts", ""),
)
"""How other formats begin, what to call them, and what to do."""

_CONVERT = "export the weights from the program that made it: torch.save(model.state_dict(), FILE)"

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.[a-z]+$")
"""How Hugging Face's libraries number the files of a large model."""


def is_safetensors(path: Path) -> bool:
    """Whether the file is one of safetensors, whatever it is called."""
    with path.open("rb") as file:
        length, first = int.from_bytes(file.read(8), "little"), file.read(1)
    return first == b"{" and 0 < length <= _LARGEST_HEADER


def shard_of_several(path: Path) -> tuple[int, int] | None:
    """Which of how many parts of a checkpoint a file is, by its name; None of a whole one."""
    match = _SHARD.search(path.name)
    return (int(match[1]), int(match[2])) if match and int(match[2]) > 1 else None


def why_unreadable(path: Path, error: BaseException) -> tuple[str, str, str]:
    """What to say of a checkpoint file that its reader refuses.

    Parameters
    ----------
    path : Path
    error : exception
        What the reader raised.
    """
    size = path.stat().st_size
    words = words_of(error)
    at = f"{path} ({size} bytes): {words}"
    if isinstance(error, OSError) and error.strerror:
        return "the checkpoint can't be read", f"{path}: {error.strerror}", "make it readable"
    if isinstance(error, MemoryError) or re.search(r"alloc(ate|ator)|out of memory", words):
        return (
            "the checkpoint needs more memory than there is",
            at,
            "free memory, or use a machine with more",
        )
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for begin, what, how in _BEGIN:
        if re.match(begin, head, re.IGNORECASE):
            return f"is {what}", f"{path} ({size} bytes)", how or _CONVERT
    if zipfile.is_zipfile(path):
        return _of_zip(path, at)
    if is_safetensors(path) and _is_whole_safetensors(path):
        return "holds what can't be read here", at, "convert it to float32 where it was made"
    return "the checkpoint is damaged or no checkpoint", at, "copy or download the file again"


def _of_zip(path: Path, at: str) -> tuple[str, str, str]:
    """Of a zip archive that has its list of members: PyTorch's own form is one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            broken = archive.testzip()
    except Exception as error:  # noqa: BLE001 - whatever a damaged archive makes of its reader
        names, broken = [], words_of(error)
    if broken:
        problem = "the checkpoint is damaged or no checkpoint"
        return problem, f"{at}; {broken}", "copy or download the file again"
    inside = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in inside:
        return (
            "is a TorchScript program, which would have to be run",
            at,
            "where you trust its origin: torch.save(torch.jit.load(FILE).state_dict(), OTHER)",
        )
    if "data.pkl" not in inside:
        arrays = bool(names) and all(name.endswith(".npy") for name in names)
        what = "an archive of NumPy arrays" if arrays else "a zip archive"
        some = ", ".join(names[:3])
        return f"is {what}, no checkpoint of PyTorch", f"{path}, with {some}", _CONVERT
    return "holds what can't be read here", at, "convert it to .safetensors where it was made"


def _is_whole_safetensors(path: Path) -> bool:
    """Whether the header can be read and the tensors that it lists end where the file ends."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length))
            ends = [of["data_offsets"][1] for k, of in header.items() if k != "__metadata__"]
            return bool(8 + length + max(ends, default=0) == path.stat().st_size)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return False
