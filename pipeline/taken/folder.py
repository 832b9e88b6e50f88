"""A taken classifier's folder: which files it has, and that they are the ones that were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache.errors import ProbelineError

FOLDER_FORMAT = 1
"""Of head.json and head.safetensors: raised when what they mean changes."""

HEAD_FILE, TENSORS_FILE, WEIGHTS_FILE = "head.json", "head.safetensors", "weights.safetensors"
PROGRAM_FILE, README_FILE = "predict.py", "README.md"
MANIFEST_FILE = "manifest.json"

FOLDER_FILES = (HEAD_FILE, TENSORS_FILE, WEIGHTS_FILE, PROGRAM_FILE, README_FILE)
"""All that a manifest may name; `WEIGHTS_FILE` alone may be missing."""

MADE_FOR = "made_for"
"""In the metadata of head.safetensors: the digest of what the head was fitted on."""

_PARTS = ("architecture", "arguments", "weights", "feature", "transform", "precision", "stored_as",
          "classes", "head")  # fmt: skip
"""Of head.json, what a head's numbers mean something for."""


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_for(facts: Mapping[str, Any]) -> str:
    """The digest of the backbone, transform, classes and kind of head that a head.json tells of."""
    parts = {name: facts.get(name) for name in _PARTS}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def refuse_existing(out: Path) -> None:
    """Refuse to write over anything.

    Raises
    ------
    ProbelineError
    """
    if out.exists() or out.is_symlink():
        raise ProbelineError(
            str(out),
            "is there already, and nothing is written over it",
            expected="a folder that is not there yet",
            remedy="name another folder, or remove this one",
        )


def manifest_of(folder: Path) -> bytes:
    """What belongs into a folder's manifest.json: the digest of every file."""
    names = [name for name in FOLDER_FILES if (folder / name).exists()]
    files = {name: digest_of_file(folder / name) for name in names}
    return json.dumps({"format": FOLDER_FORMAT, "sha256": files}, indent=1).encode() + b"\n"


def read_verified(folder: Path) -> dict[str, Any]:
    """What head.json says, after every file was found to be the one that the manifest names.

    Nothing in the folder is executed, whoever made it: its texts are JSON, its numbers safetensors.
    The manifest finds what was damaged or changed in part; who writes all of a folder anew, writes
    its manifest, too.

    Raises
    ------
    ProbelineError
        When it is no such folder, a file is missing or altered, or another version wrote it.
    """
    place = str(folder)
    if not (folder / MANIFEST_FILE).is_file():
        raise ProbelineError(
            place,
            "is no taken classifier",
            expected=f"a folder with {MANIFEST_FILE}, as `probeline take` writes it",
            found="a folder without it" if folder.is_dir() else "no such folder",
            remedy="name the folder that `probeline take` wrote",
        )
    manifest = _json(folder, MANIFEST_FILE)
    digests = manifest.get("sha256")
    if not isinstance(digests, dict):
        raise _damaged(folder, MANIFEST_FILE, "no list of files")
    if manifest.get("format") != FOLDER_FORMAT:
        raise ProbelineError(
            place,
            "was written by another version",
            expected=f"format {FOLDER_FORMAT}",
            found=f"format {str(manifest.get('format'))[:20]}",
            remedy="take the classifier again, or use the predict.py that lies in its folder",
        )
    if unknown := [name for name in digests if name not in FOLDER_FILES]:
        raise _damaged(folder, MANIFEST_FILE, f"a file that does not belong: {unknown[0]!r:.80}")
    for name in FOLDER_FILES:
        path = folder / name
        if name not in digests:
            if name == WEIGHTS_FILE and not path.exists():
                continue
            raise _damaged(folder, name, f"it is not named in {MANIFEST_FILE}")
        if path.is_symlink() or not path.is_file():
            raise _damaged(folder, name, "a link" if path.is_symlink() else "no such file")
        if (found := digest_of_file(path)) != digests[name]:
            raise _damaged(folder, name, f"SHA-256 {found}", expected=f"SHA-256 {digests[name]}")
    return _json(folder, HEAD_FILE)


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, name, f"no JSON: {str(error)[:100]}") from None
    if not isinstance(found, dict):
        raise _damaged(folder, name, "no JSON object")
    return found


def _damaged(folder: Path, name: str, found: str, expected: str = "") -> ProbelineError:
    return ProbelineError(
        str(folder / name),
        "is not the file that `probeline take` wrote",
        expected=expected,
        found=found,
        remedy="take the classifier again, or copy the folder again from where it was whole",
    )
