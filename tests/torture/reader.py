"""A kind of file that may be a stranger's, and what reads it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """A sound file, how it is changed, and what reads it from a path."""

    name: str
    file: str
    sound: bytes
    change: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path], object]
