"""Functions that objects name, and whose modules are imported when they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Later:
    """A function whose module is imported when it is called: `status` must not import SciPy."""

    module: str
    function: str

    def __call__(self, *arguments: Any) -> Any:
        """Call the function itself."""
        return self.resolve()(*arguments)

    def resolve(self) -> Callable[..., Any]:
        """The function itself."""
        found: Callable[..., Any] = getattr(import_module(self.module), self.function)
        return found
