"""Asking the Hugging Face hub: not at all where it can't be reached, and without retry noise."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator

from huggingface_hub import constants
from huggingface_hub.utils import logging as hub_logging

_SECONDS = 10.0
"""For a connection to be made."""


@contextlib.contextmanager
def hub_connection() -> Iterator[None]:
    """In here the hub's client takes what it has, where the hub is out of reach.

    Left alone it asks six times for each file, half a minute in all, and prints each try.
    """
    offline, level = constants.HF_HUB_OFFLINE, hub_logging.get_verbosity()
    constants.HF_HUB_OFFLINE = offline or not _is_reachable(constants.ENDPOINT)
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        hub_logging.set_verbosity(level)


@functools.cache
def _is_reachable(endpoint: str) -> bool:
    """Whether something answers there; asked once in a process. Behind a proxy nobody can tell."""
    if urllib.request.getproxies():
        return True
    parts = urllib.parse.urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True
